//! Tests that draw the screen without a terminal and read it line by line.

use jackfield::admin::HostStats;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;

use super::Sample;
use super::screen::{Screen, SortOrder};
use crate::cli::rates::HostRates;

fn stats(uptime_ms: u64, requests: u64, failed: u64) -> HostStats {
    let method = |name: &str, accepted: u64, failed: u64, in_flight: u64, nanoseconds: u64| {
        serde_json::json!({
            "name": name, "accepted": accepted, "ok": accepted - failed, "failed": failed,
            "in_flight": in_flight, "lengths": [[nanoseconds, accepted]],
        })
    };
    let plugin = |name: &str, state: &str, draining: u64| {
        serde_json::json!({
            "name": name, "generation": 7, "version": "0.1.0", "state": state, "draining": draining,
            "retained": 0, "lost_threads": 0, "loaded": 1, "refused": 0, "rolled_back": 0,
        })
    };

    let stats = serde_json::json!({
        "version": "0.1.0", "pid": 42, "at_ms": 1_000_000 + uptime_ms, "uptime_ms": uptime_ms,
        "connections": 3, "in_flight": 5, "async_in_flight": 2, "buffered_bytes": 65536,
        "limits": { "connections": 4096, "in_flight": 16384, "buffers": 268_435_456u64 },
        "counts": { "requests": 2 * requests, "errors": failed, "bytes_in": 100 * requests, "bytes_out": 0 },
        "outcomes": {}, "rejected": {},
        "methods": [
            method("device.report", requests / 2, failed, 5, 2_500_000),
            method("hello.greet", requests, 0, 0, 14_000),
        ],
        "callers": [{ "uid": 33, "gid": 33, "pid": 1234, "connections": 2, "in_flight": 5 }],
        "more_callers": 0,
        "plugins": [plugin("device", "unhealthy", 1), plugin("hello", "serving", 0)],
    });
    serde_json::from_value(stats).unwrap()
}

fn screen() -> Screen {
    let now = stats(63_000, 2200, 30);
    let failed = serde_json::json!([{
        "at_ms": 1_060_000, "conn": 9, "id": "a-7", "method": "device.report", "plugin": "device",
        "generation": 7, "uid": 33, "pid": 1234, "queued_us": 200, "ran_us": 1300,
        "outcome": "deadline_exceeded",
    }]);
    Screen {
        rates: HostRates::between(&stats(61_000, 200, 10), &now),
        sample: Sample { stats: now, failed: serde_json::from_value(failed).unwrap() },
        ..Screen::default()
    }
}

fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    screen.render(area, &mut buffer);
    let line = |row| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>();
    (0..height).map(|row| line(row).trim_end().to_owned()).collect()
}

#[test]
fn shows_totals_methods_plugins_callers_and_failures() {
    let lines = drawn(&screen(), 80, 20);
    let rule =
        |title: &str, width: usize| format!(" {title} {}", "─".repeat(width - title.chars().count() - 2));
    let expected = [
        "jackfield 0.1.0 · process 42 · up 63s · 3 connections · 5 in flight (2 async)".to_owned(),
        "2.0k requests/s · 10 failed/s · 100kB/s in · 0B/s out · 65kB buffered".to_owned(),
        rule("methods by requests", 80),
        "METHOD                               REQ/S    FAILED/S IN FLIGHT P50     P99".to_owned(),
        "hello.greet                          1.0k     0        0         14us    14us".to_owned(),
        "device.report                        500      10       5         2.5ms   2.5ms".to_owned(),
    ];
    assert_eq!(lines[..6], expected, "{lines:#?}");
    assert_eq!(lines[19], "q ends · p pauses · s sorts");
    let at = |text: &str| lines.iter().position(|line| line.contains(text));
    let row = |text: &str| at(text).map(|at| lines[at].split_whitespace().collect::<Vec<_>>());
    assert!(row("unhealthy").is_some_and(|cells| cells[..3] == ["device", "unhealthy", "7"]), "{lines:#?}");
    assert!(row("unhealthy").is_some_and(|cells| cells.ends_with(&["33", "1234", "2", "5"])), "{lines:#?}");
    assert_eq!(
        row("deadline_exceeded"),
        Some(vec!["3.0s", "deadline_exceeded", "device.report", "1.5ms", "33", "1234", "a-7"])
    );
}

#[test]
fn shows_stuck_threads_and_retained_and_quarantined_plugins() {
    let mut screen = screen();
    let [device, hello] = &mut screen.sample.stats.plugins[..] else { panic!("two plugins") };
    (device.lost_threads, device.held_threads, device.retained) = (2, 1, 4);
    hello.quarantined = true;

    let lines = drawn(&screen, 120, 20);

    let row = |name: &str| {
        let plugins = lines.iter().skip_while(|line| !line.contains("PLUGIN"));
        let line = plugins.into_iter().find(|line| line.starts_with(name)).expect("a row of the plugin");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = ["device", "unhealthy", "7", "3", "4", "retained,", "1", "draining"];
    assert_eq!(row("device")[..8], expected, "{lines:#?}");
    assert_eq!(row("hello")[..4], ["hello", "quarantined", "7", "0"], "{lines:#?}");
}

#[test]
fn shows_the_workers_of_plugins_that_have_any() {
    let mut screen = screen();
    assert!(!drawn(&screen, 120, 30).iter().any(|line| line.contains("WORKERS OF")));
    let workers = serde_json::json!({
        "processes": [{ "pid": 77, "resident_bytes": 5_200_000, "in_flight": 2 }],
        "restarts": { "crash": 3 }, "last_cause": "signal 11 (SIGSEGV)",
    });
    let device = &mut screen.sample.stats.plugins[0];
    device.worker = Some(serde_json::from_value(workers).unwrap());
    device.isolated_by = Some("host".to_owned());

    let lines = drawn(&screen, 120, 30);

    let at = lines.iter().position(|line| line.starts_with("WORKERS OF")).expect("a head");
    let cells: Vec<_> = lines[at + 1].split_whitespace().collect();
    assert_eq!(
        cells,
        ["device", "(automatic)", "77", "5.2MB", "2", "3", "crash", "signal", "11", "(SIGSEGV)"]
    );
    assert!(lines[at + 2].contains("failed lately"), "{lines:#?}");
}

#[test]
fn sorts_the_methods_by_the_selected_order() {
    let mut screen = screen();
    let mut seen = Vec::new();
    loop {
        let lines = drawn(&screen, 80, 20);
        let title = lines[2].split('─').next().unwrap().trim().to_owned();
        let first = lines[4].split(' ').next().unwrap().to_owned();
        seen.push((title, first));
        screen.sort = screen.sort.next();
        if screen.sort == SortOrder::default() {
            break;
        }
    }
    let expected = [
        ("methods by requests", "hello.greet"),
        ("methods by failures", "device.report"),
        ("methods by p99", "device.report"),
        ("methods by in flight", "device.report"),
        ("methods by name", "device.report"),
    ];
    assert_eq!(seen, expected.map(|(title, first)| (title.to_owned(), first.to_owned())));
}

#[test]
fn shows_a_pause_and_an_error_and_fits_any_size() {
    let mut screen = screen();
    screen.is_paused = true;
    assert!(drawn(&screen, 80, 20)[19].starts_with("paused · "));
    screen.error = Some("no host at run/x.sock".to_owned());
    assert_eq!(drawn(&screen, 80, 20)[19], "no host at run/x.sock");
    for (width, height) in [(1, 1), (3, 2), (20, 5), (500, 200)] {
        drawn(&screen, width, height);
    }
}
