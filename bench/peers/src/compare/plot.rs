//! Line plots as one SVG, one panel each, with a logarithmic x-axis and a y-axis from zero.

use std::fmt::Write as _;

use super::spread::{digits, grouped};

/// Size of a panel in pixels.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;

/// Space around the axes for labels, in pixels.
const MARGIN: f64 = 48.0;

/// Width of a label of the x-axis in pixels. A label that would overlap the previous one is
/// omitted.
const LABEL: f64 = 46.0;

/// Lines of the grid, besides the x-axis.
const GRID_LINES: u32 = 4;

/// The height of the y-axis by the highest point, so that a flat line looks flat.
const HEADROOM: f64 = 1.25;

const LEFT: f64 = MARGIN;
const RIGHT: f64 = WIDTH - MARGIN / 2.0;
const TOP: f64 = MARGIN * 0.7;
const BOTTOM: f64 = HEIGHT - MARGIN;

/// One panel.
pub(super) struct Panel {
    pub(super) title: String,
    /// Label of the x-axis.
    pub(super) across: String,
    /// Label of the y-axis.
    pub(super) up: String,
    /// The points as x and y, from left to right.
    pub(super) points: Vec<(f64, f64)>,
}

/// Maps the values of a panel to pixels.
struct Scale {
    first: f64,
    last: f64,
    most: f64,
}

impl Scale {
    fn of(points: &[(f64, f64)]) -> Self {
        let logs = || points.iter().map(|point| point.0.max(1.0).ln());
        let highest = points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
        Self {
            first: logs().fold(f64::MAX, f64::min),
            last: logs().fold(f64::MIN, f64::max),
            most: highest * HEADROOM,
        }
    }

    fn x(&self, value: f64) -> f64 {
        let share = if self.last > self.first {
            (value.max(1.0).ln() - self.first) / (self.last - self.first)
        } else {
            0.5
        };
        LEFT + share * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - value / self.most * (BOTTOM - TOP)
    }
}

/// Returns all panels as SVG, two in a row.
pub(super) fn svg(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(2) as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * WIDTH,
        rows * HEIGHT
    );
    for (at, panel) in panels.iter().enumerate() {
        let (x, y) = ((at % 2) as f64 * WIDTH, (at / 2) as f64 * HEIGHT);
        let scale = Scale::of(&panel.points);

        let _ = writeln!(text, "<g transform=\"translate({x} {y})\">");
        draw_labels(panel, &mut text);
        draw_grid(&scale, &mut text);
        draw_line(panel, &scale, &mut text);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

fn draw_labels(panel: &Panel, text: &mut String) {
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"16\" font-size=\"13\">{}</text>", panel.title);
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{}\" fill=\"#555\">{}</text>", TOP - 4.0, panel.up);
    let _ = writeln!(
        text,
        "<text x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
        HEIGHT - 10.0,
        panel.across
    );
}

fn draw_grid(scale: &Scale, text: &mut String) {
    for line in 0..=GRID_LINES {
        let value = scale.most * f64::from(line) / f64::from(GRID_LINES);
        let y = scale.y(value);
        let _ = writeln!(text, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            y + 4.0,
            digits(value)
        );
    }
}

/// Draws the points, their labels below the x-axis, and the line between them.
fn draw_line(panel: &Panel, scale: &Scale, text: &mut String) {
    let mut path = String::new();
    let mut free_from = f64::MIN;
    for (at, (across, up)) in panel.points.iter().enumerate() {
        let x = scale.x(*across);
        let y = scale.y(*up);
        let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f5fa8\"/>");

        if x >= free_from {
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 14.0,
                grouped(*across)
            );
            free_from = x + LABEL;
        }
    }
    let _ = writeln!(text, "<path d=\"{path}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.5\"/>");
}

#[cfg(test)]
mod tests {
    use super::{Panel, svg};

    #[test]
    fn draws_the_least_x_at_the_left_and_zero_at_the_bottom() {
        let points = vec![(1.0, 1.0), (10.0, 1.0), (100.0, 1.0)];
        let panel = Panel { title: "t".into(), across: "a".into(), up: "u".into(), points };
        let text = svg(&[panel]);
        // The axis has a length of 158.4 pixels from 192.0 upwards, and the points are at 1 / 1.25
        // of it.
        assert!(text.contains("M48 192.0H396"), "{text}");
        assert!(text.contains("M48.0 65.3L222.0 65.3L396.0 65.3"), "{text}");
    }
}
