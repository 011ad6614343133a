//! Params and settings into the author's types; what does not fit is told by the name of the field.

use serde::de::DeserializeOwned;
use serde_json::Deserializer;

use crate::Error;

/// Reads a call's params. `params` is a JSON document that the host has checked for syntax and UTF-8, or empty.
///
/// Left out, they are read as `null`, and as `{}` if that does not fit. An empty array is read as `{}` where an
/// array does not fit: PHP writes an empty array of named params as `[]`.
pub(crate) fn read<P: DeserializeOwned>(params: &[u8]) -> Result<P, Error> {
    let absent = params.is_empty();
    let document = if absent { "null" } else { text(params)? };
    match serde_json::from_str(document) {
        Ok(params) => Ok(params),
        Err(_) if absent || is_empty_array(document) => {
            serde_json::from_str("{}").map_err(|_| explain::<P>("{}"))
        }
        Err(_) => Err(explain::<P>(document)),
    }
}

/// Looked at as a whole once more, which costs less than every string in it by itself.
fn text(document: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(document).map_err(|_| Error::invalid_params("", "they are not UTF-8"))
}

fn is_empty_array(document: &str) -> bool {
    let inside = document.trim_ascii().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Reads it once more, slower, with an eye on where it is: only a failure pays for that.
fn explain<P: DeserializeOwned>(document: &str) -> Error {
    let (field, reason) = fault_in::<P>(document);
    Error::invalid_params(&field, &reason)
}

fn fault_in<P: DeserializeOwned>(document: &str) -> (String, String) {
    let mut json = Deserializer::from_str(document);
    let Err(fault) = serde_path_to_error::deserialize::<_, P>(&mut json) else {
        return (String::new(), "they do not fit".to_owned());
    };
    let path = fault.path().to_string();
    let reason = without_place(&fault.inner().to_string());
    let path = if path == "." { String::new() } else { path };
    // serde names a missing, unknown or doubled field in its text, and the path stops above it.
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| reason.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    let field = match named {
        Some(field) if path.is_empty() || path == field || path.ends_with(&format!(".{field}")) => {
            if path.is_empty() { field.to_owned() } else { path }
        }
        Some(field) => format!("{path}.{field}"),
        None => path,
    };
    (field, reason)
}

/// serde_json ends its texts with a line and column of a document that the client never laid out.
fn without_place(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(reason, _)| reason).to_owned()
}

/// Reads the plugin's settings.
pub(crate) fn read_settings<T: DeserializeOwned>(settings: &[u8]) -> Result<T, Error> {
    let document = if settings.is_empty() { "{}" } else { text(settings)? };
    serde_json::from_str(document).map_err(|_| {
        let (field, reason) = fault_in::<T>(document);
        let at = if field.is_empty() { String::new() } else { format!("{field}: ") };
        Error::internal(format!("settings: {at}{reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Place {
        #[allow(dead_code, reason = "only read for its errors")]
        zip: u32,
    }

    #[derive(serde::Deserialize, Debug)]
    struct Person {
        #[allow(dead_code, reason = "only read for its errors")]
        name: String,
        #[allow(dead_code, reason = "only read for its errors")]
        place: Option<Place>,
    }

    fn fault(document: &str) -> (String, String) {
        let error = read::<Person>(document.as_bytes()).unwrap_err();
        let data: serde_json::Value = serde_json::from_str(error.data_json().unwrap()).unwrap();
        (data["field"].as_str().unwrap().to_owned(), data["reason"].as_str().unwrap().to_owned())
    }

    #[test]
    fn the_field_at_fault_is_named() {
        assert_eq!(fault("{}").0, "name");
        assert_eq!(fault("").0, "name");
        assert_eq!(fault("[]").0, "name");
        assert_eq!(
            fault(r#"{"name":5}"#),
            ("name".into(), "invalid type: integer `5`, expected a string".into())
        );
        assert_eq!(fault(r#"{"name":"a","name":"b"}"#).0, "name");
        assert_eq!(fault(r#"{"name":"a","place":{}}"#).0, "place.zip");
        assert_eq!(fault(r#"{"name":"a","place":{"zip":-1}}"#).0, "place.zip");
        assert_eq!(fault(r#"{"name":"a","place":{"zip":1,"x":2}}"#).0, "place.x");
        assert_eq!(fault("7").0, "");
    }

    #[test]
    fn params_may_be_left_out_where_nothing_is_needed() {
        assert!(read::<()>(b"").is_ok());
        assert!(read::<Option<u32>>(b"").is_ok());
        assert!(read::<serde_json::Map<String, serde_json::Value>>(b" [ ] ").unwrap().is_empty());
        assert!(read::<Vec<u32>>(b"[]").unwrap().is_empty());
    }
}
