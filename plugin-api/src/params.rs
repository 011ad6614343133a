//! Deserializes params and settings into the author's types. An error names the field at fault.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Deserializer;

use crate::abi::Content;
use crate::{BytesRef, Error, content_reader};

/// Reads the params of a call: opaque bytes, or a JSON document, which the host has checked for
/// syntax and UTF-8. The document may be empty.
///
/// Missing params are read as `null`, or as `{}` if `null` does not fit. An empty array that does
/// not fit is also read as `{}`, because PHP writes an empty array of named params as `[]`.
pub(crate) fn read<P: DeserializeOwned>(params: &[u8], content: Content) -> Result<P, Error> {
    if content == Content::Bytes {
        return read_bytes(params);
    }

    let is_missing = params.is_empty();
    let document = if is_missing { "null" } else { as_text(params)? };
    match serde_json::from_str(document) {
        Ok(params) => Ok(params),
        Err(_) if is_missing || is_empty_array(document) => {
            serde_json::from_str("{}").map_err(|_| describe_fault::<P>("{}"))
        }
        Err(_) => Err(describe_fault::<P>(document)),
    }
}

#[cold]
fn read_bytes<P: DeserializeOwned>(params: &[u8]) -> Result<P, Error> {
    content_reader::read(Cow::Borrowed(params)).map_err(|fault| Error::invalid_params("", &fault.to_string()))
}

/// Reads params that are opaque bytes without copying them.
pub(crate) fn borrow_bytes(params: &[u8], content: Content) -> Result<BytesRef<'_>, Error> {
    match content {
        Content::Bytes => Ok(BytesRef(params)),
        Content::Json => Err(Error::invalid_params("", "invalid type: JSON, expected opaque bytes")),
    }
}

/// Checks that a call has no params: they are missing, `null`, or an empty array or object.
pub(crate) fn expect_none(params: &[u8], content: Content) -> Result<(), Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields, expecting = "no params")]
    struct NoParams {}

    if content == Content::Json && params.trim_ascii() == b"null" {
        return Ok(());
    }
    read::<NoParams>(params, content).map(|NoParams {}| ())
}

/// Checks the UTF-8 of the whole document, which costs less than checking every string in it.
fn as_text(document: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(document).map_err(|_| Error::invalid_params("", "not UTF-8"))
}

fn is_empty_array(document: &str) -> bool {
    let inside = document.trim_ascii().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Parses the document again and tracks the path. It is slower, so it runs only after a failure.
fn describe_fault<P: DeserializeOwned>(document: &str) -> Error {
    let (field, reason) = find_fault::<P>(document);
    Error::invalid_params(&field, &reason)
}

/// Returns the path of the field at fault, empty for the whole document, and the reason.
fn find_fault<P: DeserializeOwned>(document: &str) -> (String, String) {
    let mut json = Deserializer::from_str(document);
    let Err(fault) = serde_path_to_error::deserialize::<_, P>(&mut json) else {
        return (String::new(), "the value does not have the expected type".to_owned());
    };

    let path = fault.path().to_string();
    let path = if path == "." { String::new() } else { path };
    let reason = without_position(&fault.inner().to_string());

    // For a missing, unknown or duplicate field, the path ends above the field, and serde's text
    // names it.
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

/// Removes the line and column that serde_json appends. The client does not know the lines of the
/// document.
fn without_position(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(reason, _)| reason).to_owned()
}

/// Reads the settings of the plugin.
pub(crate) fn read_settings<T: DeserializeOwned>(settings: &[u8]) -> Result<T, Error> {
    let document = if settings.is_empty() { "{}" } else { as_text(settings)? };
    serde_json::from_str(document).map_err(|_| {
        let (field, reason) = find_fault::<T>(document);
        let at = if field.is_empty() { String::new() } else { format!("{field}: ") };
        Error::internal(format!("settings: {at}{reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Params};

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Place {
        #[allow(dead_code, reason = "only deserialized for its errors")]
        zip: u32,
    }

    #[derive(serde::Deserialize, Debug)]
    struct Person {
        #[allow(dead_code, reason = "only deserialized for its errors")]
        name: String,
        #[allow(dead_code, reason = "only deserialized for its errors")]
        place: Option<Place>,
    }

    fn read_json<P: DeserializeOwned>(params: &[u8]) -> Result<P, Error> {
        read(params, Content::Json)
    }

    fn fault(document: &str) -> (String, String) {
        let error = read_json::<Person>(document.as_bytes()).unwrap_err();
        let data: serde_json::Value = serde_json::from_str(error.data_json().unwrap()).unwrap();
        (data["field"].as_str().unwrap().to_owned(), data["reason"].as_str().unwrap().to_owned())
    }

    #[test]
    fn names_the_field_at_fault() {
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
    fn accepts_missing_params_if_no_field_is_needed() {
        assert!(read_json::<()>(b"").is_ok());
        assert!(read_json::<Option<u32>>(b"").is_ok());
        assert!(read_json::<serde_json::Map<String, serde_json::Value>>(b" [ ] ").unwrap().is_empty());
        assert!(read_json::<Vec<u32>>(b"[]").unwrap().is_empty());
    }

    #[test]
    fn expects_no_params_or_empty_ones() {
        for none in ["", "null", " null\n", "[]", "[ ]", "{}", "{ }"] {
            assert!(expect_none(none.as_bytes(), Content::Json).is_ok(), "{none:?}");
        }
        for (params, field) in [(r#"{"a":1}"#, "a"), ("[1]", ""), ("0", ""), ("\"null\"", ""), ("false", "")]
        {
            let error = expect_none(params.as_bytes(), Content::Json).unwrap_err();
            assert_eq!(error.code(), crate::INVALID_PARAMS, "{params}");
            let data: serde_json::Value = serde_json::from_str(error.data_json().unwrap()).unwrap();
            assert_eq!(data["field"], field, "{params}: {data}");
        }
        let error = expect_none(b"7", Content::Json).unwrap_err();
        assert_eq!(error.message(), "invalid params: invalid type: integer `7`, expected no params");
    }

    #[test]
    fn refuses_bytes_for_json_and_json_for_bytes() {
        for refused in [
            read::<Option<u32>>(b"null", Content::Bytes).map(|_| ()),
            expect_none(b"null", Content::Bytes),
            expect_none(b"", Content::Bytes),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.code(), crate::INVALID_PARAMS);
            assert_eq!(error.message(), "invalid params: invalid type: opaque bytes, expected JSON");
        }
        for refused in [
            read_json::<Bytes>(b"").map(|_| ()),
            read_json::<Bytes>(b"null").map(|_| ()),
            read_json::<Bytes>(b"[1]").map(|_| ()),
            borrow_bytes(b"[1]", Content::Json).map(|_| ()),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.code(), crate::INVALID_PARAMS);
            assert_eq!(error.message(), "invalid params: invalid type: JSON, expected opaque bytes");
        }
    }

    #[test]
    fn reads_params_of_both_kinds() {
        type Both = Params<Person>;
        assert!(matches!(read::<Both>(br#"{"name":"a"}"#, Content::Json), Ok(Params::Json(_))));
        assert!(matches!(read::<Both>(b"{", Content::Bytes), Ok(Params::Bytes(bytes)) if *bytes == *b"{"));
        let error = read::<Both>(b"[]", Content::Json).unwrap_err();
        assert!(error.message().contains("missing field `name`"), "{error:?}");
    }
}
