//! The scanner held against serde_json: one document, changed at every place in every way that matters.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

/// Members by serde_json, which is the judge here.
struct Judge<'a>(Vec<(String, &'a str)>);

impl<'a> Visitor<'a> for Judge<'a> {
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

fn by_the_judge(text: &str) -> Option<Vec<(String, &str)>> {
    let mut document = serde_json::Deserializer::from_str(text);
    let members = document.deserialize_map(Judge(Vec::new())).ok()?;
    document.end().ok().map(|()| members)
}

fn here(text: &str) -> Option<Vec<(String, &str)>> {
    let mut found = Vec::new();
    members(text, |name, value| {
        let value = value.json().unwrap();
        assert_eq!(value.has_backslash(), value.get().contains('\\'));
        found.push((String::from_utf8(name.to_vec()).unwrap(), value.get()));
    })?;
    Some(found)
}

/// A document with everything in it that is told apart, next to everything else.
const SAMPLE: &str =
    r#"{ "id":"7f", "a" : [-0,1.5e+3,[],[{}],{"b":[true,{"":false}]}],"é":"\"\u00eF\n12345678", "x":null}"#;

/// What is put into the sample.
const NEW: &str = "{}[],:\"\\ \n\t\u{1f}\u{c}\u{7f}é\u{feff}0127.eE+-abfnrtuUz/";

/// The sample with one change: every character left out, replaced by each that matters, and each put before it.
fn changed() -> impl Iterator<Item = String> {
    let places = SAMPLE.char_indices().step_by(if cfg!(miri) { 37 } else { 1 });
    let appended = NEW.chars().map(|new| format!("{SAMPLE}{new}"));
    appended.chain(places.flat_map(|(at, old)| {
        let (before, behind) = (&SAMPLE[..at], &SAMPLE[at + old.len_utf8()..]);
        let replaced = NEW.chars().map(move |new| format!("{before}{new}{behind}"));
        let put_in = NEW.chars().map(move |new| format!("{before}{new}{old}{behind}"));
        [format!("{before}{behind}"), before.to_owned()].into_iter().chain(replaced).chain(put_in)
    }))
}

#[test]
fn whatever_is_changed_it_is_read_as_the_judge_reads_it() {
    let (mut read, mut not) = (0, 0);
    for text in changed() {
        let judged = by_the_judge(&text);
        // A name with an escape is left to others; everything else is not.
        let is_left =
            judged.as_ref().is_some_and(|members| text.matches("\\").count() > backslashes(members));
        let expected = if is_left { None } else { judged };
        assert_eq!(here(&text), expected, "{text}");
        if expected.is_some() { read += 1 } else { not += 1 }
    }
    assert!(cfg!(miri) || (read > 1_000 && not > 1_000), "{read} were read, {not} were not");
}

fn backslashes(members: &[(String, &str)]) -> usize {
    members.iter().map(|(_, value)| value.matches('\\').count()).sum()
}

#[test]
fn what_clients_write_is_read_here() {
    let strings =
        ["", "a", "1234567", "12345678", "123456789", r"\/\\\b\f\n\r\t", r#"caf\u00E9 \"x\""#, "日本"];
    for string in strings {
        let text = format!(
            "{{\"id\" : \"{string}\", \"n\":[-0,0.25,1E-2,12e+3,9],\"o\":{{\"a\":{{}},\"b\":[ ]}},\r\n\t\"w\":[true,\
             false,null] }} "
        );
        assert!(here(&text).is_some(), "{text}");
        assert_eq!(here(&text), by_the_judge(&text));
    }
    assert_eq!(here(" { } "), Some(Vec::new()));
}

#[test]
fn what_is_deeper_than_is_followed_is_left_to_others() {
    let nested = |levels: usize| format!("{{\"p\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(here(&nested(LEVELS as usize)).is_some());
    assert!(here(&nested(LEVELS as usize + 1)).is_none());
    assert!(here(r#"{"\u0069d":7}"#).is_none(), "a name with an escape needs another one's memory");
}
