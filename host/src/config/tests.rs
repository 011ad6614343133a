//! How a file is read, and the exact faults of a faulty one.

mod aliases;
mod faulty;
mod hostile;
mod trace;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;

const FILE: &str = "etc/c.toml";

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, Path::new(FILE))
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults as they are displayed, without the name of the file.
fn faults(text: &str) -> Vec<String> {
    let faults = parse(text).expect_err("the text has faults");
    let lines = faults.to_string();
    lines
        .lines()
        .map(|line| line.strip_prefix("etc/c.toml:").expect("every line names the file").to_owned())
        .collect()
}

/// The default configuration in the root of the repository.
fn shipped() -> (PathBuf, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace");
    let path = root.join("config.toml");
    let text = std::fs::read_to_string(&path).expect("the default configuration can be read");
    (path, text)
}

#[test]
fn reads_an_empty_file_as_the_defaults_relative_to_its_directory() {
    let config = valid("");
    let expected = Config {
        file: Some(PathBuf::from(FILE)),
        listeners: vec![Listener::at("etc/run/jackfield.sock")],
        plugins: PluginsConfig {
            directory: PathBuf::from("etc/plugins"),
            state: Some(PathBuf::from("etc/run/state")),
            crash: CrashConfig { record: Some(PathBuf::from("etc/run/recorder")), ..CrashConfig::default() },
            ..PluginsConfig::default()
        },
        admin: Some(AdminConfig { socket: PathBuf::from("etc/run/jackfield-admin.sock"), allow: None }),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn has_the_documented_defaults() {
    let config = Config::default();
    let listener = &config.listeners[0];
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(listener.socket, Path::new("run/jackfield.sock"));
    assert_eq!((listener.mode, listener.group.as_deref()), (0o660, None));
    assert_eq!((listener.framing, listener.close_after_reply), (Framing::Binary, false));
    assert!(!listener.remote);
    assert_eq!((&listener.line, &listener.allow), (&LineOptions::default(), &None));

    let Limits { frame, connections, in_flight, in_flight_per_connection, buffers } = config.limits;
    assert_eq!((frame, buffers), (16 * 1024 * 1024, 256 * 1024 * 1024));
    assert_eq!((connections, in_flight, in_flight_per_connection), (4096, 16384, 1024));
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!((config.io.threads, config.io.spin.as_micros()), ((cores / 2).max(1), 50));
    let Timeouts { request, frame, write, idle, inline, drain } = config.timeouts;
    assert_eq!(inline.as_millis(), 100);
    assert_eq!([request, frame, write, idle, drain].map(|timeout| timeout.as_secs()), [30, 5, 10, 300, 30]);

    let PluginsConfig {
        directory,
        state,
        auto_route,
        watch,
        retained,
        probe,
        state_transfer,
        trusted_keys,
        incompatible,
        probation,
        crash,
    } = config.plugins;
    assert_eq!(state, None);
    assert_eq!((crash.record, crash.most, crash.window.as_secs()), (None, 3, 600));
    assert_eq!((trusted_keys.len(), incompatible), (0, IncompatiblePolicy::Warn));
    assert_eq!((directory.as_path(), auto_route, watch, retained), (Path::new("plugins"), true, true, 64));
    assert_eq!([probe, state_transfer].map(|timeout| timeout.as_secs()), [10, 1]);
    assert_eq!(probation, ProbationConfig { calls: 100, failures: 10 });

    assert_eq!(
        (config.admin, AdminConfig::default().socket),
        (None, PathBuf::from("run/jackfield-admin.sock"))
    );
    assert_eq!((config.log.level, config.log.format), (Level::Info, Format::Text));
    let TraceConfig { otlp, sample, spans, service, authorization, queue, interval } = config.trace;
    assert_eq!((otlp, sample, spans, authorization), (None, Sample::Parent, false, None));
    assert_eq!((service.as_str(), queue, interval.as_secs()), ("jackfield", 4096, 5));
    let PluginConfig { threads, spare_threads, breaker, queue, replace, settings, .. } =
        PluginConfig::default();
    let BreakerConfig { failures, window, open } = breaker;
    assert_eq!((spare_threads, failures, window.as_secs(), open.as_secs()), (2, 20, 10, 1));
    assert_eq!((threads, queue, settings), (2, 1024, json!({})));
    assert_eq!(replace, ReplacePolicy::StartFirst);
    assert!(config.routes.is_empty() && config.plugin.is_empty() && config.file.is_none());
}

#[test]
fn reads_the_shipped_configuration_as_the_defaults_and_an_example() {
    let (path, _) = shipped();
    let config = Config::load(&path).unwrap_or_else(|faults| panic!("{faults}"));
    let defaults = Config::parse("", &path).expect("an empty file has no faults");
    let place = config.listeners[0].place;
    assert_eq!(config.listeners, [Listener { place, ..defaults.listeners[0].clone() }]);
    assert_eq!(
        (
            &config.limits,
            &config.timeouts,
            &config.plugins,
            &config.log,
            &config.admin,
            &config.metrics,
            &config.trace
        ),
        (
            &defaults.limits,
            &defaults.timeouts,
            &defaults.plugins,
            &defaults.log,
            &defaults.admin,
            &defaults.metrics,
            &defaults.trace
        )
    );
    assert_eq!(config.plugin["device"].settings, json!({ "history": 16 }));
    assert_eq!(config.plugin["journal"].settings, json!({ "directory": "run/journal" }));
    let routes: Vec<_> =
        config.routes.iter().map(|route| (route.method.to_string(), route.plugin.as_str())).collect();
    let expected = [("device.*", "device"), ("journal.*", "journal"), ("hello.*", "hello")];
    assert_eq!(routes, expected.map(|(method, plugin)| (method.to_owned(), plugin)));

    assert_eq!(config.deprecated, []);
}

#[test]
fn reads_every_key() {
    let config = valid(
        r#"
[[listener]]
socket = "/run/x.sock"
mode = "0600"
group = "www-data"
framing = "line"
close_after_reply = true
remote = true
run_unterminated = true
complete_after = "50ms"
method = "system.echo"
allow = { users = ["root", 7], groups = ["root", 0x10] }
[[listener]]
socket = "./y.sock"
[limits]
frame = "4294967295B"
connections = 1
in_flight = 1_000_000
in_flight_per_connection = 1_000_000
buffers = "1024GiB"
[timeouts]
request = "1ms"
frame = "24h"
write = "90s"
idle = "1h"
drain = "250ms"
[io]
threads = 7
spin = "0us"
[plugins]
directory = "/usr/lib/jackfield"
state = "/var/lib/x"
auto_route = false
crash = { record = "/run/x", most = 64, window = "1h" }
[plugin.a-1_B]
threads = 256
queue = 1
settings = { text = "x", list = [1, -2.5, true], when = 2024-05-06T07:08:09Z, big = 18446744073709551615, hex = 0xFF }
[[route]]
method = "a.b"
plugin = "a-1_B"
timeout = "1s"
max_in_flight = 3
enabled = false
allow.groups = ["root"]
[metrics]
listen = "[::1]:0"
[log]
level = "trace"
format = "journald"
"#,
    );
    let first = Listener {
        mode: 0o600,
        group: Some("www-data".to_owned()),
        close_after_reply: true,
        remote: true,
        line: LineOptions {
            run_unterminated: true,
            complete_after: Some(Duration::from_millis(50)),
            method: Some("system.echo".to_owned()),
        },
        allow: Some(Arc::new(Allow::new([0, 7], [0, 16]))),
        place: Place { line: 2, column: 1 },
        ..Listener::at("/run/x.sock").framing(Framing::Line)
    };
    let second = Listener { place: Place { line: 13, column: 1 }, ..Listener::at("etc/./y.sock") };
    assert_eq!(config.listeners, [first, second]);

    let limits = Limits {
        frame: u32::MAX,
        connections: 1,
        in_flight: 1_000_000,
        in_flight_per_connection: 1_000_000,
        buffers: 1 << 40,
    };
    assert_eq!(config.limits, limits);
    let timeouts = Timeouts {
        request: Duration::from_millis(1),
        frame: Duration::from_secs(86_400),
        write: Duration::from_secs(90),
        idle: Duration::from_secs(3600),
        drain: Duration::from_millis(250),
        ..Timeouts::default()
    };
    assert_eq!(config.timeouts, timeouts);

    assert_eq!(config.io, Io { threads: 7, spin: Duration::ZERO });
    assert_eq!(
        config.plugins,
        PluginsConfig {
            directory: "/usr/lib/jackfield".into(),
            state: Some("/var/lib/x".into()),
            auto_route: false,
            crash: CrashConfig {
                record: Some("/run/x".into()),
                most: 64,
                window: Duration::from_secs(3600),
                action: CrashAction::Quarantine,
            },
            ..PluginsConfig::default()
        }
    );
    let settings = json!({
        "text": "x", "list": [1, -2.5, true], "when": "2024-05-06T07:08:09Z", "big": u64::MAX, "hex": 255
    });
    let plugin = PluginConfig {
        threads: 256,
        queue: 1,
        settings,
        place: Place { line: 35, column: 1 },
        ..PluginConfig::default()
    };
    assert_eq!(config.plugin, [("a-1_B".to_owned(), plugin)].into());
    let route = Route {
        timeout: Some(Duration::from_secs(1)),
        max_in_flight: Some(3),
        enabled: false,
        allow: Some(Arc::new(Allow::new([], [0]))),
        place: Place { line: 39, column: 1 },
        ..Route::to(Pattern::Exact("a.b".to_owned()), "a-1_B")
    };
    assert_eq!(config.routes, [route]);

    assert_eq!(config.metrics.listen, Some(MetricsEndpoint::Tcp("[::1]:0".parse().unwrap())));
    let unix = valid("[metrics]\nlisten = 'run/m.sock'").metrics;
    assert_eq!(unix.listen, Some(MetricsEndpoint::Unix("etc/run/m.sock".into())));
    assert_eq!(config.log, Log { level: Level::Trace, format: Format::Journald });
}

#[test]
fn adapts_limits_that_are_not_set_to_those_that_are() {
    let config = valid("[limits]\nin_flight = 10\nbuffers = '1MiB'\n");
    assert_eq!(config.limits.in_flight_per_connection, 10);
    assert_eq!(config.limits.frame, 1 << 20);
}

#[test]
fn ignores_a_byte_order_mark_and_carriage_returns() {
    let config = valid("\u{feff}[log]\r\nlevel = \"warn\"\r\n");
    assert_eq!(config.log.level, Level::Warn);
    assert_eq!(faults("\u{feff}é = 1\r\n")[0].split(' ').next(), Some("1:1:"));
}

#[test]
fn matches_a_prefix_only_with_at_least_one_more_segment() {
    let devices: Pattern = "device.*".parse().expect("a prefix");
    assert_eq!(devices, Pattern::Prefix("device".to_owned()));
    assert!(devices.matches("device.status") && devices.matches("device.status.update"));
    assert!(
        !["device", "device.", "devices.x", "device-x", ""].into_iter().any(|method| devices.matches(method))
    );
    let exact: Pattern = "device.status".parse().expect("a name");
    assert!(exact.matches("device.status") && !exact.matches("device.status.update"));
    assert_eq!((devices.to_string().as_str(), exact.name()), ("device.*", "device.status"));
}

#[test]
fn reports_all_faults_in_order() {
    let text = "[log]\nlevel = 'warning'\nhue = 1\n[limits]\nframe = 1024\nconnections\nin_flight = 0\n\
                [timeouts]\nidle = 5m # unquoted\n[[route]]\nmethod = 'a..b'\nplugin = 'x y'\n";
    let expected = [
        "2:9: log.level \"warning\" is not valid; did you mean \"warn\"? \
         write one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        "3:1: unknown key \"hue\" in [log]; the known keys are format, level",
        "5:9: limits.frame is an integer; write a size with its unit, in quotes, such as \"1KiB\"",
        "6:12: invalid TOML: key with no value; write key = value",
        "7:13: limits.in_flight = 0 is out of range; write an integer from 1 to 1000000, without quotes",
        "9:8: invalid TOML: string values must be quoted; write \"5m\", with quotes",
        "11:10: route.method \"a..b\" contains an empty segment; write segments of letters, digits, _ and -, \
         separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\"",
        "12:10: \"x y\" is not a plugin name; write 1 to 64 letters, digits, _ and -",
    ];
    assert_eq!(faults(text), expected);
}
