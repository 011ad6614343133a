//! Converts the settings of a plugin from TOML to JSON, in which they reach the plugin.

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::section::Section;
use super::wording::shortened;

/// The deepest nesting of settings: half of what serde_json parses by default (128). Settings cross
/// to the plugin as JSON text.
const DEPTH_MAX: usize = 64;

/// Reads a table as a JSON object; `None` if there is no such table.
pub(super) fn read(section: &Section<'_>, key: &'static str) -> Option<Value> {
    Some(object(section, section.table(key)?, DEPTH_MAX - 1))
}

fn object(section: &Section<'_>, table: &DeTable<'_>, depth: usize) -> Value {
    let entries = table
        .iter()
        .filter_map(|(key, value)| Some((key.get_ref().to_string(), json(section, value, depth)?)));
    Value::Object(entries.collect())
}

/// Converts a value that may contain `depth` more levels. A value that JSON cannot represent is a
/// fault, and left out.
fn json(section: &Section<'_>, value: &Spanned<DeValue<'_>>, depth: usize) -> Option<Value> {
    let fault = |problem: String, remedy: &str| {
        section.fault(value.span().start, problem, remedy.to_owned());
        None
    };

    match value.get_ref() {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Integer(written) => match integer(written) {
            Some(number) => Some(Value::Number(number)),
            None => fault(
                format!("{} does not fit into 64 bits", shortened(&written.to_string())),
                "write a smaller number, or a string",
            ),
        },
        DeValue::Float(written) => match written.as_str().parse::<f64>().ok().and_then(Number::from_f64) {
            Some(number) => Some(Value::Number(number)),
            None => {
                let number = shortened(written.as_str());
                let problem =
                    format!("{number} cannot be represented in JSON, the format of plugin settings");
                fault(problem, "write a finite number, or a string")
            }
        },
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Datetime(written) => Some(Value::String(written.to_string())),
        DeValue::Array(_) | DeValue::Table(_) if depth == 0 => fault(
            format!("settings are nested more than {DEPTH_MAX} levels deep"),
            "flatten them, or put them into a file that the plugin reads",
        ),
        DeValue::Array(items) => {
            Some(Value::Array(items.iter().filter_map(|item| json(section, item, depth - 1)).collect()))
        }
        DeValue::Table(table) => Some(object(section, table, depth - 1)),
    }
}

fn integer(written: &DeInteger<'_>) -> Option<Number> {
    let signed = i64::from_str_radix(written.as_str(), written.radix()).ok().map(Number::from);
    signed.or_else(|| u64::from_str_radix(written.as_str(), written.radix()).ok().map(Number::from))
}
