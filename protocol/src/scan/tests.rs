//! Compares the scanner with serde_json: one document, changed at every place in every relevant
//! way.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

/// Collects the members that serde_json, the reference here, reads.
struct Collector<'a>(Vec<(String, &'a str)>);

impl<'a> Visitor<'a> for Collector<'a> {
    type Value = Vec<(String, &'a str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            self.0.push((name, value.get()));
        }
        Ok(self.0)
    }
}

fn read_with_serde(text: &str) -> Option<Vec<(String, &str)>> {
    let mut document = serde_json::Deserializer::from_str(text);
    let members = document.deserialize_map(Collector(Vec::new())).ok()?;
    document.end().ok().map(|()| members)
}

fn scan(text: &str) -> Option<Vec<(String, &str)>> {
    let mut found = Vec::new();
    scan_members(text, |name, value| {
        let value = value.json().unwrap();
        assert_eq!(value.has_backslash(), value.get().contains('\\'));
        found.push((String::from_utf8(name.to_vec()).unwrap(), value.get()));
    })?;
    Some(found)
}

/// A document that contains every kind of token the scanner distinguishes, next to every other.
const SAMPLE: &str =
    r#"{ "id":"7f", "a" : [-0,1.5e+3,[],[{}],{"b":[true,{"":false}]}],"é":"\"\u00eF\n12345678", "x":null}"#;

/// The characters that are inserted into the sample.
const INSERTED: &str = "{}[],:\"\\ \n\t\u{1f}\u{c}\u{7f}é\u{feff}0127.eE+-abfnrtuUz/";

/// Returns every variant of the sample with one change: each character removed, replaced by each of
/// [`INSERTED`], or preceded by each of them; the sample cut off there; or one of them appended.
fn changed_samples() -> impl Iterator<Item = String> {
    let places = SAMPLE.char_indices().step_by(if cfg!(miri) { 37 } else { 1 });
    let appended = INSERTED.chars().map(|new| format!("{SAMPLE}{new}"));
    appended.chain(places.flat_map(|(at, old)| {
        let (front, back) = (&SAMPLE[..at], &SAMPLE[at + old.len_utf8()..]);
        let replaced = INSERTED.chars().map(move |new| format!("{front}{new}{back}"));
        let preceded = INSERTED.chars().map(move |new| format!("{front}{new}{old}{back}"));
        [format!("{front}{back}"), front.to_owned()].into_iter().chain(replaced).chain(preceded)
    }))
}

fn count_backslashes(members: &[(String, &str)]) -> usize {
    members.iter().map(|(_, value)| value.matches('\\').count()).sum()
}

#[test]
fn reads_every_changed_sample_like_serde_json() {
    let mut read = 0;
    let mut not_read = 0;
    for text in changed_samples() {
        let reference = read_with_serde(&text);
        // The scanner leaves names with an escape, and nothing else, to serde_json.
        let has_escaped_name =
            reference.as_ref().is_some_and(|members| text.matches("\\").count() > count_backslashes(members));
        let expected = if has_escaped_name { None } else { reference };
        assert_eq!(scan(&text), expected, "{text}");
        if expected.is_some() { read += 1 } else { not_read += 1 }
    }
    assert!(cfg!(miri) || (read > 1_000 && not_read > 1_000), "{read} read, {not_read} not read");
}

#[test]
fn reads_the_notations_that_clients_use() {
    let strings =
        ["", "a", "1234567", "12345678", "123456789", r"\/\\\b\f\n\r\t", r#"caf\u00E9 \"x\""#, "日本"];
    for string in strings {
        let text = format!(
            "{{\"id\" : \"{string}\", \"n\":[-0,0.25,1E-2,12e+3,9],\"o\":{{\"a\":{{}},\"b\":[ ]}},\r\n\t\"w\":[true,\
             false,null] }} "
        );
        assert!(scan(&text).is_some(), "{text}");
        assert_eq!(scan(&text), read_with_serde(&text));
    }
    assert_eq!(scan(" { } "), Some(Vec::new()));
}

#[test]
fn gives_up_on_escaped_names_and_on_nesting_over_its_limit() {
    let nested = |levels: usize| format!("{{\"p\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(scan(&nested(LEVELS as usize)).is_some());
    assert!(scan(&nested(LEVELS as usize + 1)).is_none());
    assert!(scan(r#"{"\u0069d":7}"#).is_none(), "decoding the name would need memory");
}
