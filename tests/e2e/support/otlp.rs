//! A parser of OTLP trace documents in JSON that accepts nothing beyond their specification: known
//! members of the right type, 64-bit integers as strings, ids as hexadecimal digits.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::collector::CollectedSpan;

type Members = Map<String, Value>;

/// Parses a document.
pub(super) fn parse(body: &[u8]) -> Result<Vec<CollectedSpan>, String> {
    let document: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut spans = Vec::new();

    let document = members(&document, &["resourceSpans"])?;
    for resource_spans in array(document, "resourceSpans")? {
        let of_resource = members(resource_spans, &["resource", "scopeSpans", "schemaUrl"])?;
        let resource = members(get(of_resource, "resource")?, &["attributes", "droppedAttributesCount"])?;
        let resource = attributes(resource)?;
        if !resource.get("service.name").is_some_and(Value::is_string) {
            return Err(format!("a resource without service.name: {resource:?}"));
        }

        for scope_spans in array(of_resource, "scopeSpans")? {
            let of_scope = members(scope_spans, &["scope", "spans", "schemaUrl"])?;
            let scope = members(get(of_scope, "scope")?, &["name", "version", "attributes"])?;
            text(scope, "name")?;
            for span in array(of_scope, "spans")? {
                let read = read_span(span, &resource);
                spans.push(read.map_err(|fault| format!("{fault} in {span}"))?);
            }
        }
    }
    Ok(spans)
}

fn read_span(span: &Value, resource: &BTreeMap<String, Value>) -> Result<CollectedSpan, String> {
    let span = members(
        span,
        &[
            "traceId",
            "spanId",
            "traceState",
            "parentSpanId",
            "flags",
            "name",
            "kind",
            "startTimeUnixNano",
            "endTimeUnixNano",
            "attributes",
            "droppedAttributesCount",
            "events",
            "droppedEventsCount",
            "links",
            "droppedLinksCount",
            "status",
        ],
    )?;
    let (start, end) = (nanos(span, "startTimeUnixNano")?, nanos(span, "endTimeUnixNano")?);
    let kind = get(span, "kind")?.as_u64().filter(|kind| (1..=5).contains(kind)).ok_or("kind")?;
    let flags = match span.get("flags") {
        Some(flags) => flags.as_u64().filter(|flags| *flags < 1 << 32).ok_or("flags")?,
        None => 0,
    };
    let name = text(span, "name")?;
    if end < start || name.is_empty() {
        return Err("a span that ends before it starts, or has no name".to_owned());
    }

    let parent_id = span.contains_key("parentSpanId").then(|| id(span, "parentSpanId", 16)).transpose()?;
    let trace_state = span.contains_key("traceState").then(|| text(span, "traceState")).transpose()?;
    Ok(CollectedSpan {
        resource: resource.clone(),
        trace_id: id(span, "traceId", 32)?,
        span_id: id(span, "spanId", 16)?,
        parent_id,
        trace_state,
        name,
        kind,
        flags,
        start,
        end,
        attributes: attributes(span)?,
        events: events(span)?,
        error: error(span)?,
    })
}

fn events(span: &Members) -> Result<Vec<(u64, String)>, String> {
    if !span.contains_key("events") {
        return Ok(Vec::new());
    }
    let event = |event: &Value| {
        let event = members(event, &["timeUnixNano", "name", "attributes", "droppedAttributesCount"])?;
        Ok((nanos(event, "timeUnixNano")?, text(event, "name")?))
    };
    array(span, "events")?.iter().map(event).collect()
}

/// Returns the message of the status if it is an error.
fn error(span: &Members) -> Result<Option<String>, String> {
    let Some(status) = span.get("status") else { return Ok(None) };
    let status = members(status, &["code", "message"])?;
    let message = status.contains_key("message").then(|| text(status, "message")).transpose()?;
    match status.get("code").map(Value::as_u64) {
        None | Some(Some(0 | 1)) => Ok(None),
        Some(Some(2)) => Ok(Some(message.unwrap_or_default())),
        Some(_) => Err("a status code that is not 0 to 2".to_owned()),
    }
}

/// Returns attributes by key, each with its value without the name of its type.
fn attributes(of: &Members) -> Result<BTreeMap<String, Value>, String> {
    let mut read = BTreeMap::new();
    for attribute in of.get("attributes").and_then(Value::as_array).ok_or("attributes is no array")? {
        let attribute = members(attribute, &["key", "value"])?;
        let (key, value) = (text(attribute, "key")?, get(attribute, "value")?);
        let value = value.as_object().filter(|value| value.len() == 1).ok_or("a value has one type")?;
        let (kind, value) = value.iter().next().ok_or("a value has one type")?;

        let value = match (kind.as_str(), value) {
            ("stringValue", Value::String(_)) | ("boolValue", Value::Bool(_)) => value.clone(),
            ("doubleValue", Value::Number(_)) => value.clone(),
            ("intValue", Value::String(digits)) => {
                Value::from(digits.parse::<i64>().map_err(|_| format!("intValue {digits:?}"))?)
            }
            _ => return Err(format!("a value of no known type: {kind} {value}")),
        };
        if key.is_empty() || read.insert(key.clone(), value).is_some() {
            return Err(format!("an attribute without a name, or twice: {key:?}"));
        }
    }
    Ok(read)
}

/// Returns an object that has no other members than these.
fn members<'v>(value: &'v Value, known: &[&str]) -> Result<&'v Members, String> {
    let members = value.as_object().ok_or_else(|| format!("no object: {value}"))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!("an unknown member: {unknown}")),
        None => Ok(members),
    }
}

fn get<'v>(members: &'v Members, name: &str) -> Result<&'v Value, String> {
    members.get(name).ok_or_else(|| format!("no {name}"))
}

fn array<'v>(members: &'v Members, name: &str) -> Result<&'v Vec<Value>, String> {
    let array = get(members, name)?.as_array().ok_or_else(|| format!("{name} is no array"))?;
    if array.is_empty() { Err(format!("{name} is empty")) } else { Ok(array) }
}

fn text(members: &Members, name: &str) -> Result<String, String> {
    let text = get(members, name)?.as_str().ok_or_else(|| format!("{name} is no string"))?;
    Ok(text.to_owned())
}

/// Reads an id, which has this many digits and is not zero.
fn id(members: &Members, name: &str, length: usize) -> Result<String, String> {
    let id = text(members, name)?;
    let is_hex = id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_zero = id.bytes().all(|byte| byte == b'0');
    if is_hex && !is_zero && id.len() == length { Ok(id) } else { Err(format!("{name} is no id: {id:?}")) }
}

/// Reads a time: a string of digits that is a time of these decades.
fn nanos(members: &Members, name: &str) -> Result<u64, String> {
    const YEAR: u64 = 365 * 86_400 * 1_000_000_000;
    let digits = text(members, name)?;
    let nanos = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok());
    nanos
        .flatten()
        .filter(|nanos| (50 * YEAR..150 * YEAR).contains(nanos))
        .ok_or_else(|| format!("{name} is no time in nanoseconds: {digits:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"scope":{"name":"n"},"spans":[{
        "traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"a","kind":2,
        "startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000000002",
        "attributes":[{"key":"i","value":{"intValue":"7"}}],"status":{"code":2,"message":"m"}}]}]}]}"#;

    #[test]
    fn parses_a_valid_document() {
        let spans = parse(VALID.as_bytes()).unwrap();
        assert_eq!((spans.len(), spans[0].name.as_str(), spans[0].kind), (1, "a", 2));
        assert_eq!((&spans[0].attributes["i"], spans[0].error.as_deref()), (&Value::from(7), Some("m")));
    }

    #[test]
    fn rejects_documents_that_the_specification_does_not_allow() {
        for (valid, invalid) in [
            ("\"7\"", "7"),
            ("intValue", "int_value"),
            ("traceId", "trace_id"),
            ("0af7651916", "0AF7651916"),
            ("0af7651916", "0af765191"),
            ("\"kind\":2", "\"kind\":\"SPAN_KIND_SERVER\""),
            ("\"1700000000000000001\"", "1700000000000000001"),
            ("1700000000000000001", "1700000000"),
            ("1700000000000000002", "1600000000000000000"),
            ("\"code\":2", "\"code\":3"),
            ("service.name", "service"),
            ("\"name\":\"a\",", ""),
        ] {
            assert!(VALID.contains(valid), "{valid}");
            assert!(parse(VALID.replace(valid, invalid).as_bytes()).is_err(), "{invalid}");
        }
    }
}
