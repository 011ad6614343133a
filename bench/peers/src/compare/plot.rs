//! Line plots as one SVG: a panel for each, a logarithmic axis to the right, nought at the bottom.

use std::fmt::Write as _;

use super::spread::{digits, grouped};

/// Of one panel, in pixels.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
/// Around the axes: for numbers and words.
const MARGIN: f64 = 48.0;
/// That a number below the axis takes; where the next would overlap it, there is none.
const LABEL: f64 = 46.0;

/// One panel.
pub(super) struct Panel {
    pub(super) title: String,
    /// What is counted to the right.
    pub(super) across: String,
    /// What is counted upwards.
    pub(super) up: String,
    /// From left to right: where, and how much.
    pub(super) points: Vec<(f64, f64)>,
}

/// All panels, two in a row.
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
        let _ = writeln!(text, "<g transform=\"translate({x} {y})\">");
        draw(panel, &mut text);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

fn draw(panel: &Panel, text: &mut String) {
    let (left, right, top, bottom) = (MARGIN, WIDTH - MARGIN / 2.0, MARGIN * 0.7, HEIGHT - MARGIN);
    // The highest point has a quarter of its height above it: a flat line must look flat, not like a roof.
    let most = panel.points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max) * 1.25;
    let logs = || panel.points.iter().map(|point| point.0.max(1.0).ln());
    let (first, last) = (logs().fold(f64::MAX, f64::min), logs().fold(f64::MIN, f64::max));
    let place = |(across, up): (f64, f64)| {
        let share = if last > first { (across.max(1.0).ln() - first) / (last - first) } else { 0.5 };
        (left + share * (right - left), bottom - up / most * (bottom - top))
    };
    let _ = writeln!(text, "<text x=\"{left}\" y=\"16\" font-size=\"13\">{}</text>", panel.title);
    let _ = writeln!(text, "<text x=\"{left}\" y=\"{}\" fill=\"#555\">{}</text>", top - 4.0, panel.up);
    let _ = writeln!(
        text,
        "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
        HEIGHT - 10.0,
        panel.across
    );
    for line in 0..=4 {
        let value = most * f64::from(line) / 4.0;
        let y = place((1.0, value)).1;
        let _ = writeln!(text, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 4.0,
            y + 4.0,
            digits(value)
        );
    }
    let (mut path, mut free) = (String::new(), f64::MIN);
    for (at, point) in panel.points.iter().enumerate() {
        let (x, y) = place(*point);
        let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f5fa8\"/>");
        if x >= free {
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 14.0,
                grouped(point.0)
            );
            free = x + LABEL;
        }
    }
    let _ = writeln!(text, "<path d=\"{path}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.5\"/>");
}

#[cfg(test)]
mod tests {
    use super::{Panel, svg};

    #[test]
    fn the_least_is_at_the_left_and_nought_at_the_bottom() {
        let points = vec![(1.0, 1.0), (10.0, 1.0), (100.0, 1.0)];
        let panel = Panel { title: "t".into(), across: "a".into(), up: "u".into(), points };
        let text = svg(&[panel]);
        assert!(text.contains("M48.0 64.1L222.0 64.1L396.0 64.1"), "{text}");
    }
}
