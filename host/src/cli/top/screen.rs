//! What the live screen shows, drawn from what is known and nothing else.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, Widget};

use super::Sample;
use crate::cli::stats_types::{HostRates, MethodRates, SlowRequest};
use crate::cli::table::{cell, count, length, micros};

/// By what the methods are sorted.
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
    /// The next one, as the key goes through them.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Failures,
            Self::Failures => Self::Length,
            Self::Length => Self::InFlight,
            Self::InFlight => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    fn word(self) -> &'static str {
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

/// Everything that is on the screen.
#[derive(Default)]
pub(super) struct Screen {
    pub(super) look: Sample,
    pub(super) pace: HostRates,
    pub(super) sort: SortOrder,
    pub(super) paused: bool,
    /// Why nothing new is shown, if there is a reason.
    pub(super) trouble: Option<String>,
}

/// A rate in three digits or so.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate to be read")]
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { count(rate.max(0.0) as u64) }
}

fn titled(title: &str) -> Block<'static> {
    Block::default().borders(Borders::TOP).title(format!(" {title} "))
}

fn head(cells: &[&'static str]) -> Row<'static> {
    Row::new(cells.to_vec()).style(Style::default().add_modifier(Modifier::DIM))
}

impl Screen {
    fn summary(&self) -> Vec<Line<'static>> {
        let (figures, pace) = (&self.look.figures, &self.pace);
        let up = length(Duration::from_millis(figures.uptime_ms));
        let first = format!(
            "jackfield {} · process {} · up {up} · {} connections · {} in flight ({} async)",
            figures.version, figures.pid, figures.connections, figures.in_flight, figures.async_in_flight
        );
        let second = format!(
            "{} requests/s · {} failed/s · {}B/s in · {}B/s out · {}B buffered",
            rate(pace.requests_per_second),
            rate(pace.failed_per_second),
            rate(pace.bytes_in_per_second),
            rate(pace.bytes_out_per_second),
            count(figures.buffered_bytes)
        );
        vec![Line::raw(first), Line::raw(second)]
    }

    fn methods(&self) -> Table<'static> {
        let mut methods = self.pace.methods.clone();
        self.sort.sort(&mut methods);
        let row = |method: MethodRates| {
            let failing = method.failed_per_second > 0.0;
            let cells = [
                method.name,
                rate(method.requests_per_second),
                rate(method.failed_per_second),
                method.in_flight.to_string(),
                cell(method.p50_us.map(micros)),
                cell(method.p99_us.map(micros)),
            ];
            let style = if failing { Style::default().fg(Color::Red) } else { Style::default() };
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
            .block(titled(&format!("methods by {}", self.sort.word())))
    }

    fn callers(&self) -> Table<'static> {
        let row = |caller: &crate::cli::stats_types::ConnectionRow| {
            Row::new([
                cell(caller.uid),
                cell(caller.pid),
                caller.connections.to_string(),
                caller.in_flight.to_string(),
            ])
        };
        let widths = [8, 8, 6, 9].map(Constraint::Length);
        Table::new(self.look.figures.callers.iter().map(row), widths)
            .header(head(&["UID", "PID", "CONNS", "IN FLIGHT"]))
            .block(titled("callers"))
    }

    fn plugins(&self) -> Table<'static> {
        let row = |plugin: &crate::cli::stats_types::PluginRow| {
            let sound = matches!(plugin.state.as_str(), "serving" | "probation");
            let style = if sound { Style::default() } else { Style::default().fg(Color::Red) };
            let more = match (plugin.draining, plugin.retained) {
                (0, 0) => String::new(),
                (draining, retained) => format!("{draining} draining, {retained} retained"),
            };
            let cells = [plugin.name.clone(), plugin.state.clone(), cell(plugin.generation), more];
            Row::new(cells).style(style)
        };
        let widths = [Constraint::Fill(2), Constraint::Length(9), Constraint::Length(4), Constraint::Fill(2)];
        Table::new(self.look.figures.plugins.iter().map(row), widths)
            .header(head(&["PLUGIN", "STATE", "GEN", ""]))
            .block(titled("plugins"))
    }

    fn failed(&self) -> Table<'static> {
        let now = self.look.figures.at_ms;
        let row = |entry: &SlowRequest| {
            Row::new(
                [
                    length(Duration::from_millis(now.saturating_sub(entry.at_ms))),
                    entry.outcome.clone(),
                    entry.method.clone(),
                    micros(entry.queued_us + entry.ran_us),
                    cell(entry.uid),
                    cell(entry.pid),
                    entry.id.clone(),
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
        Table::new(self.look.failed.iter().map(row), widths)
            .header(head(&["AGO", "OUTCOME", "METHOD", "TOOK", "UID", "PID", "ID"]))
            .block(titled("failed lately"))
    }

    fn last_line(&self) -> Line<'static> {
        let keys = "q ends · p pauses · s sorts";
        match (&self.trouble, self.paused) {
            (Some(trouble), _) => Line::styled(trouble.clone(), Style::default().fg(Color::Red)),
            (None, true) => Line::raw(format!("paused · {keys}")),
            (None, false) => Line::raw(keys),
        }
    }
}

impl Widget for &Screen {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [summary, methods, middle, failed, last] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Fill(3),
            Constraint::Fill(2),
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
        Widget::render(self.failed(), failed, buffer);
        self.last_line().render(last, buffer);
    }
}
