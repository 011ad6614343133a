//! A parser of the Prometheus text format that accepts nothing beyond its specification.

use std::collections::{BTreeMap, BTreeSet};

use super::http::get;

pub(crate) type Labels = BTreeMap<String, String>;

/// A parsed page.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scrape {
    /// The type of each metric family.
    pub(crate) families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    /// Scrapes a host.
    #[track_caller]
    pub(crate) fn of(address: &str) -> Self {
        let response = get(address, "/metrics");
        assert_eq!(response.status, 200, "{response:?}");
        Self::parse(&response.body).unwrap_or_else(|fault| panic!("{fault}\n{}", response.body))
    }

    /// Parses a page, which must comply with the format in every detail.
    pub(crate) fn parse(page: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        let mut helped = BTreeSet::new();
        let mut family: Option<(String, String)> = None;
        let lines = page.strip_suffix('\n').ok_or("the last line has no end")?;
        for line in lines.split('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').ok_or(format!("no text: {line}"))?;
                if !helped.insert(name.to_owned()) {
                    return Err(format!("two HELP lines: {name}"));
                }
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or(format!("no type: {line}"))?;
                if !helped.contains(name) || !["counter", "gauge", "histogram"].contains(&kind) {
                    return Err(format!("no help, or no type: {line}"));
                }
                if (kind == "counter") != name.ends_with("_total") {
                    return Err(format!("counters end in _total, and nothing else does: {line}"));
                }
                if scrape.families.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(format!("a family in two parts: {name}"));
                }
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                let (name, labels, value) = sample(line)?;
                let (family, kind) = family.as_ref().ok_or(format!("of no family: {line}"))?;
                let suffix = name.strip_prefix(family.as_str()).ok_or(format!("not of {family}: {line}"))?;
                let fits = match kind.as_str() {
                    "histogram" => match suffix {
                        "_bucket" => labels.contains_key("le"),
                        "_sum" | "_count" => true,
                        _ => false,
                    },
                    _ => suffix.is_empty(),
                };
                if !fits {
                    return Err(format!("no sample of a {kind}: {line}"));
                }
                if scrape.samples.insert((name, labels), value).is_some() {
                    return Err(format!("twice: {line}"));
                }
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    fn check_histograms(&self) -> Result<(), String> {
        for (family, _) in self.families.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (labels, value) in self.all(&format!("{family}_bucket")) {
                let mut labels = labels.clone();
                let end = labels.remove("le").unwrap();
                series.entry(labels).or_default().push((number(&end)?, value));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                let last = buckets.last().unwrap();
                let count = self.samples.get(&(format!("{family}_count"), labels.clone()));
                if last.0 != f64::INFINITY || count != Some(&last.1) {
                    return Err(format!("{family}{labels:?}: {count:?}, and the buckets end in {last:?}"));
                }
                if !buckets.is_sorted_by(|one, next| one.1 <= next.1) {
                    return Err(format!("{family}{labels:?}: buckets that decrease"));
                }
                if !self.samples.contains_key(&(format!("{family}_sum"), labels.clone())) {
                    return Err(format!("{family}{labels:?}: no sum"));
                }
            }
        }
        Ok(())
    }

    /// Returns every sample of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        self.samples
            .iter()
            .filter(move |((have, _), _)| have == name)
            .map(|((_, labels), value)| (labels, *value))
    }

    /// Returns every sample.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (&str, &Labels, f64)> {
        self.samples.iter().map(|((name, labels), value)| (name.as_str(), labels, *value))
    }

    /// Returns one sample, or 0 if it is missing, as before the first increment of a counter.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let labels = labels.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect();
        let value = self.samples.get(&(name.to_owned(), labels)).copied().unwrap_or(0.0);
        count(value)
    }

    /// Returns a copy in which one sample is higher by one. Tests plant faults with it.
    pub(crate) fn with_one_more(&self, name: &str, labels: &Labels) -> Self {
        let mut other = self.clone();
        *other.samples.get_mut(&(name.to_owned(), labels.clone())).expect("the sample exists") += 1.0;
        other
    }

    /// Returns the sum of all samples of that name.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.all(name).map(|(_, value)| count(value)).sum()
    }
}

/// Returns a value that must be a whole number.
#[track_caller]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked in the line above")]
pub(crate) fn count(value: f64) -> u64 {
    assert!((0.0..9e15).contains(&value) && value.fract() == 0.0, "{value} is no count");
    value as u64
}

fn number(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match text {
        "+Inf" => Ok(f64::INFINITY),
        _ if plain => text.parse().map_err(|_| format!("no number: {text:?}")),
        _ => Err(format!("no number: {text:?}")),
    }
}

fn is_name(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase());
    first && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let at = line.find(['{', ' ']).ok_or(format!("no sample: {line}"))?;
    let (name, mut rest) = line.split_at(at);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or(format!("no label: {line}"))?;
            let (text, after) = quoted(after).ok_or(format!("no label's value: {line}"))?;
            if !is_name(label) || labels.insert(label.to_owned(), text).is_some() {
                return Err(format!("label {label:?}: {line}"));
            }
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',').ok_or(format!("no comma: {line}"))?;
        }
    }
    let value = rest.strip_prefix(' ').ok_or(format!("no space: {line}"))?;
    if !is_name(name) {
        return Err(format!("name {name:?}: {line}"));
    }
    Ok((name.to_owned(), labels, number(value)?))
}

/// Returns the text up to the closing quote, and the rest behind that quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        value.push(match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            },
            c => c,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# HELP a_total words\n# TYPE a_total counter\n";

    #[test]
    fn parses_a_valid_page() {
        let page =
            format!("{HEAD}a_total{{x=\"1\",y=\"\\\"\\\\\\n\"}} 3\n# HELP g g\n# TYPE g gauge\ng 0.5\n");
        let scrape = Scrape::parse(&page).unwrap();
        assert_eq!(scrape.value("a_total", &[("x", "1"), ("y", "\"\\\n")]), 3);
        assert_eq!(scrape.all("g").next().unwrap().1, 0.5);
    }

    #[test]
    fn rejects_invalid_pages() {
        let histogram = "# HELP h h\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n";
        for page in [
            format!("{HEAD}a_total 1"),
            "a_total 1\n".to_owned(),
            format!("{HEAD}b_total 1\n"),
            format!("{HEAD}a_total 1\na_total 2\n"),
            format!("{HEAD}{HEAD}"),
            format!("{HEAD}a_total{{x=1}} 1\n"),
            format!("{HEAD}a_total{{x=\"1\",}} 1\n"),
            format!("{HEAD}a_total{{x=\"\\t\"}} 1\n"),
            format!("{HEAD}a_total  1\n"),
            format!("{HEAD}a_total 1 1700000000\n"),
            format!("{HEAD}a_total x\n"),
            format!("{HEAD}\n"),
            "# TYPE g gauge\ng 1\n".to_owned(),
            "# HELP a a\n# TYPE a counter\na 1\n".to_owned(),
            format!("{histogram}h_sum 1\nh_count 2\n"),
            format!("{histogram}h_bucket{{le=\"+Inf\"}} 3\nh_sum 1\nh_count 2\n"),
            format!("{histogram}h_bucket{{le=\"+Inf\"}} 1\nh_sum 1\nh_count 1\n"),
            format!("{histogram}h_bucket{{le=\"+Inf\"}} 3\nh_count 3\n"),
        ] {
            assert!(Scrape::parse(&page).is_err(), "{page}");
        }
    }
}
