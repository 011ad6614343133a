//! A complete call of a method, as a command line that can be pasted into a shell.

use std::path::Path;

use jackfield_contract::{MethodContract, Parameters, Shape};
use serde_json::Value;

use super::example_value::example_value;
use super::shown_text::{json_line, shown_line};

/// A call that is shown.
#[derive(Debug, PartialEq)]
pub(super) struct ExampleCall {
    /// The arguments of the call after the program: words of a shell.
    pub(super) arguments: String,
    /// The result; missing if the author showed none.
    pub(super) result: Option<String>,
}

/// Returns the calls that the author of the method shows and that fit. If there are none, returns
/// one with params that fit the schema; `None` if there is no schema either.
pub(super) fn example_calls(method: &MethodContract) -> Option<Vec<ExampleCall>> {
    let name = shell_word(&shown_line(&method.name));
    // Params that are null and params that are missing are the same for a method.
    let with_params = |params: Option<&Value>| match params {
        Some(params) if !params.is_null() => format!("call {name} {}", shell_word(&json_line(params))),
        _ => format!("call {name}"),
    };

    let fitting: Vec<_> =
        method.examples.iter().filter(|example| method.fault_of(example).is_none()).collect();
    if !fitting.is_empty() {
        let calls = fitting.into_iter().map(|example| ExampleCall {
            arguments: with_params(example.params.as_ref()),
            result: example.result.as_ref().map(json_line),
        });
        return Some(calls.collect());
    }

    let arguments = match &method.params {
        Parameters::Unknown => return None,
        Parameters::None => with_params(None),
        Parameters::Schema(schema) if schema.resolve(&schema.root).shape == Shape::Bytes => {
            format!("call {name} --bytes FILE")
        }
        Parameters::Schema(schema) => {
            let all = example_value(schema, true);
            let fits = schema.faults(&all, 1).is_empty();
            with_params(Some(&if fits { all } else { example_value(schema, false) }))
        }
    };
    Some(vec![ExampleCall { arguments, result: None }])
}

/// Returns the options that lead to the same host, to be put behind the arguments of a call.
pub(super) fn host_options(socket: Option<&Path>, config: Option<&Path>) -> String {
    let option = |name: &str, path: Option<&Path>| {
        path.map_or_else(String::new, |path| format!(" {name} {}", shell_word(&path.to_string_lossy())))
    };
    option("--config", config) + &option("--socket", socket)
}

/// Returns `text` as one word of a POSIX shell.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use jackfield_contract::{Example, Schema};
    use serde_json::json;

    use super::*;

    fn method(params: Parameters, examples: Vec<Example>) -> MethodContract {
        MethodContract { params, examples, ..MethodContract::unknown("device.set") }
    }

    fn schema(document: Value) -> Parameters {
        Parameters::Schema(Schema::from_value(document).unwrap())
    }

    #[track_caller]
    fn assert_call(method: &MethodContract, arguments: &str) {
        assert_eq!(example_calls(method).unwrap()[0].arguments, arguments);
    }

    #[test]
    fn prefers_the_examples_of_the_author() {
        let example = Example { params: Some(json!({ "name": "it's" })), result: Some(json!([1])) };
        let wrong = Example { params: Some(json!(7)), result: None };
        let method = method(schema(json!({ "type": "object" })), vec![wrong, example]);

        assert_call(&method, r#"call device.set '{"name":"it'\''s"}'"#);
        assert_eq!(example_calls(&method).unwrap()[0].result.as_deref(), Some("[1]"));
    }

    #[test]
    fn makes_an_example_of_the_schema() {
        assert_call(&method(schema(json!({ "type": "integer" })), vec![]), "call device.set 1");
        assert_call(&method(schema(json!(true)), vec![]), "call device.set");
        assert_call(&method(Parameters::None, vec![]), "call device.set");
        let bytes = json!({ "contentMediaType": "application/octet-stream" });
        assert_call(&method(schema(bytes), vec![]), "call device.set --bytes FILE");
        assert_eq!(example_calls(&method(Parameters::Unknown, vec![])), None);
    }

    #[test]
    fn leaves_out_optional_members_that_do_not_fit() {
        let properties =
            json!({ "a": { "type": "integer" }, "b": { "type": "string", "pattern": "^[0-9]$" } });
        let object = json!({ "type": "object", "properties": properties, "required": ["a"] });

        assert_call(&method(schema(object), vec![]), r#"call device.set '{"a":1}'"#);
    }

    #[test]
    fn quotes_words_for_a_shell() {
        assert_eq!(["a.b", "", "$(x)", "a'b"].map(shell_word), ["a.b", "''", "'$(x)'", r"'a'\''b'"]);
        assert_eq!(host_options(Some(Path::new("/a b")), None), " --socket '/a b'");
    }
}
