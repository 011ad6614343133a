//! The contents of the live screen, as a widget.

use std::time::Duration;

use jackfield::admin::{CallerStats, PluginState, PluginStats, SlowRequest};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, Widget};

use super::Sample;
use crate::cli::rates::{HostRates, MethodRates};
use crate::cli::stats::plugin_state;
use crate::cli::table::{format_cell, format_count, format_duration, format_micros};
use crate::cli::workers::{WORKER_HEAD, with_decision, worker_row};

/// Upper bound for the lines about workers, with their title and head.
const MAX_WORKER_LINES: u16 = 7;

/// The order of the methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SortOrder {
    /// The most requests first.
    #[default]
    Rate,
    /// The most failures first.
    Failures,
    /// The slowest first.
    Length,
    /// The most in flight first.
    InFlight,
    Name,
}

impl SortOrder {
    /// Returns the order that the sort key selects next.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Failures,
            Self::Failures => Self::Length,
            Self::Length => Self::InFlight,
            Self::InFlight => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Rate => "requests",
            Self::Failures => "failures",
            Self::Length => "p99",
            Self::InFlight => "in flight",
            Self::Name => "name",
        }
    }

    fn sort(self, methods: &mut [MethodRates]) {
        methods.sort_by(|one, other| {
            let order = match self {
                Self::Rate => other.requests_per_second.total_cmp(&one.requests_per_second),
                Self::Failures => other.failed_per_second.total_cmp(&one.failed_per_second),
                Self::Length => other.p99_us.cmp(&one.p99_us),
                Self::InFlight => other.in_flight.cmp(&one.in_flight),
                Self::Name => std::cmp::Ordering::Equal,
            };
            order.then_with(|| one.name.cmp(&other.name))
        });
    }
}

/// The state of the screen.
#[derive(Default)]
pub(super) struct Screen {
    pub(super) sample: Sample,
    pub(super) rates: HostRates,
    pub(super) sort: SortOrder,
    pub(super) is_paused: bool,

    /// Why the last sample failed, if it did.
    pub(super) error: Option<String>,
}

/// Returns a rate with about three digits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate that is shown is small and not negative"
)]
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format_count(rate.max(0.0) as u64) }
}

fn titled(title: &str) -> Block<'static> {
    Block::default().borders(Borders::TOP).title(format!(" {title} "))
}

fn head(cells: &[&'static str]) -> Row<'static> {
    Row::new(cells.to_vec()).style(Style::default().add_modifier(Modifier::DIM))
}

impl Screen {
    fn summary(&self) -> Vec<Line<'static>> {
        let stats = &self.sample.stats;
        let rates = &self.rates;
        let uptime = format_duration(Duration::from_millis(stats.uptime_ms));
        let first = format!(
            "jackfield {} · process {} · up {uptime} · {} connections · {} in flight ({} async)",
            stats.version, stats.pid, stats.connections, stats.in_flight, stats.async_in_flight
        );
        let second = format!(
            "{} requests/s · {} failed/s · {}B/s in · {}B/s out · {}B buffered",
            rate(rates.requests_per_second),
            rate(rates.failed_per_second),
            rate(rates.bytes_in_per_second),
            rate(rates.bytes_out_per_second),
            format_count(stats.buffered_bytes)
        );
        vec![Line::raw(first), Line::raw(second)]
    }

    fn methods(&self) -> Table<'static> {
        let mut methods = self.rates.methods.clone();
        self.sort.sort(&mut methods);
        let row = |method: MethodRates| {
            let is_failing = method.failed_per_second > 0.0;
            let cells = [
                method.name,
                rate(method.requests_per_second),
                rate(method.failed_per_second),
                method.in_flight.to_string(),
                format_cell(method.p50_us.map(format_micros)),
                format_cell(method.p99_us.map(format_micros)),
            ];
            let style = if is_failing { Style::default().fg(Color::Red) } else { Style::default() };
            Row::new(cells).style(style)
        };

        let widths = [
            Constraint::Fill(1),
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Length(9),
            Constraint::Length(7),
            Constraint::Length(7),
        ];
        Table::new(methods.into_iter().map(row), widths)
            .header(head(&["METHOD", "REQ/S", "FAILED/S", "IN FLIGHT", "P50", "P99"]))
            .block(titled(&format!("methods by {}", self.sort.label())))
    }

    fn callers(&self) -> Table<'static> {
        let row = |caller: &CallerStats| {
            Row::new([
                format_cell(caller.uid),
                format_cell(caller.pid),
                caller.connections.to_string(),
                caller.in_flight.to_string(),
            ])
        };
        let widths = [8, 8, 6, 9].map(Constraint::Length);
        Table::new(self.sample.stats.callers.iter().map(row), widths)
            .header(head(&["UID", "PID", "CONNS", "IN FLIGHT"]))
            .block(titled("callers"))
    }

    fn plugins(&self) -> Table<'static> {
        let row = |plugin: &PluginStats| {
            // Threads that a call keeps: those of the plugin, and those of the connections.
            let stuck = plugin.lost_threads + plugin.held_threads;
            let is_sound =
                matches!(plugin.state, PluginState::Serving | PluginState::Probation) && stuck == 0;
            let style = if is_sound { Style::default() } else { Style::default().fg(Color::Red) };
            let counts = [(plugin.retained, "retained"), (plugin.draining, "draining")];
            let retired: Vec<_> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, state)| format!("{count} {state}"))
                .collect();

            let cells = [
                plugin.name.clone(),
                plugin_state(plugin),
                format_cell(plugin.generation),
                stuck.to_string(),
                retired.join(", "),
            ];
            Row::new(cells).style(style)
        };
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(11),
            Constraint::Length(4),
            Constraint::Length(5),
            Constraint::Fill(1),
        ];
        Table::new(self.sample.stats.plugins.iter().map(row), widths)
            .header(head(&["PLUGIN", "STATE", "GEN", "STUCK", "RETIRED"]))
            .block(titled("plugins"))
    }

    /// Returns the plugins that run in workers, and the lines that they need.
    fn workers(&self) -> (Table<'static>, u16) {
        let row = |plugin: &PluginStats| {
            let name = with_decision(&plugin.name, plugin.isolated_by.as_deref());
            Some(Row::new(worker_row(&name, plugin.worker.as_ref()?)))
        };
        let rows: Vec<_> = self.sample.stats.plugins.iter().filter_map(row).collect();
        let count = u16::try_from(rows.len()).unwrap_or(u16::MAX);

        let widths = [
            Constraint::Fill(1),
            Constraint::Length(10),
            Constraint::Length(8),
            Constraint::Length(9),
            Constraint::Fill(1),
            Constraint::Fill(2),
        ];
        let table = Table::new(rows, widths).header(head(&WORKER_HEAD)).block(titled("workers"));
        (table, if count == 0 { 0 } else { (count + 2).min(MAX_WORKER_LINES) })
    }

    fn failed(&self) -> Table<'static> {
        let now = self.sample.stats.at_ms;
        let row = |request: &SlowRequest| {
            Row::new(
                [
                    format_duration(Duration::from_millis(now.saturating_sub(request.at_ms))),
                    request.outcome.clone(),
                    request.method.clone(),
                    format_micros(request.queued_us + request.ran_us),
                    format_cell(request.uid),
                    format_cell(request.pid),
                    request.id.clone(),
                ]
                .map(Cell::from),
            )
        };

        let widths = [
            Constraint::Length(6),
            Constraint::Length(18),
            Constraint::Fill(2),
            Constraint::Length(7),
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Fill(1),
        ];
        Table::new(self.sample.failed.iter().map(row), widths)
            .header(head(&["AGO", "OUTCOME", "METHOD", "TOOK", "UID", "PID", "ID"]))
            .block(titled("failed lately"))
    }

    fn last_line(&self) -> Line<'static> {
        let keys = "q ends · p pauses · s sorts";
        match (&self.error, self.is_paused) {
            (Some(error), _) => Line::styled(error.clone(), Style::default().fg(Color::Red)),
            (None, true) => Line::raw(format!("paused · {keys}")),
            (None, false) => Line::raw(keys),
        }
    }
}

impl Widget for &Screen {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (workers, worker_lines) = self.workers();
        let [summary, methods, middle, worker_area, failed, last] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Fill(3),
            Constraint::Fill(2),
            Constraint::Length(worker_lines),
            Constraint::Fill(2),
            Constraint::Length(1),
        ])
        .areas(area);
        let [plugins, callers] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(36)]).spacing(1).areas(middle);

        Paragraph::new(self.summary()).render(summary, buffer);
        Widget::render(self.methods(), methods, buffer);
        Widget::render(self.plugins(), plugins, buffer);
        Widget::render(self.callers(), callers, buffer);
        Widget::render(workers, worker_area, buffer);
        Widget::render(self.failed(), failed, buffer);
        self.last_line().render(last, buffer);
    }
}
