//! One method of a class: its doc comment, its signature and its body.

use std::collections::BTreeMap;

use jackfield_contract::{MethodContract, Node, Schema, Shape};
use jackfield_protocol::is_reserved;

use super::names::pascal;
use super::parameters::{Parameter, Signature, read_signature};
use super::php_type::PhpType;
use super::text::{DocComment, integer, quote};
use super::type_reader::{ClassTypes, Direction, TypeReader};

/// The widest line of code.
const WIDTH: usize = 120;

/// Returns the codes of a method that get an exception of their own, with their messages. Reserved
/// codes belong to the protocol and get none.
pub(super) fn declared_codes(method: &MethodContract) -> impl Iterator<Item = (i64, &str)> {
    let errors = method.facts.errors.iter().filter(|error| !is_reserved(error.code));
    errors.map(|error| (error.code, &*error.message))
}

/// Writes a method. `exceptions` has the classes of the declared errors by code.
pub(super) fn write_method(
    method: &MethodContract,
    name: &str,
    exceptions: &BTreeMap<i64, String>,
    types: &mut ClassTypes,
) -> String {
    let signature = read_signature(method, types);
    let hint = pascal(&method.name, "Method") + "Result";
    let result = match &method.result {
        Some(schema) => TypeReader::new(types, schema, Direction::Result).root(&hint),
        None => PhpType::mixed(),
    };
    let mut thrown: BTreeMap<i64, (&str, &str)> = BTreeMap::new();
    for (code, message) in declared_codes(method) {
        if let Some(class) = exceptions.get(&code) {
            thrown.entry(code).or_insert((class, message));
        }
    }

    let doc = write_doc(method, &signature.parameters, &result, &thrown);
    let native = if result.is_null() { "void".to_owned() } else { result.native() };
    let head = write_head(name, &signature.parameters, &native);
    let body = write_body(method, &signature, &result, &thrown);
    format!("{doc}{head}{body}    }}\n")
}

fn write_doc(
    method: &MethodContract,
    parameters: &[Parameter],
    result: &PhpType,
    thrown: &BTreeMap<i64, (&str, &str)>,
) -> String {
    let mut doc = DocComment::new(4);
    let facts = &method.facts;
    doc.text(facts.summary.as_deref().unwrap_or(&format!("Calls `{}`.", method.name)));
    if let Some(description) = &facts.description {
        doc.text(description);
    }
    describe_result(&mut doc, method.result.as_ref());

    doc.separate();
    for Parameter { name, ty, remark, .. } in parameters {
        doc.tag(&format!("@param {} ${name}", ty.doc().write()), remark);
    }
    doc.separate();
    if !result.is_null() {
        let remark = method.result.as_ref().and_then(|schema| schema.root.description.as_deref());
        doc.tag(&format!("@return {}", result.doc().write()), remark.unwrap_or_default());
        doc.separate();
    }

    for (class, message) in thrown.values() {
        doc.tag(&format!("@throws {class}"), message);
    }
    doc.tag("@throws \\Jackfield\\Exception\\JackfieldException", "if the call failed");
    if let Some(deprecated) = &facts.deprecated {
        doc.separate();
        doc.tag("@deprecated", deprecated);
    }
    doc.finish()
}

/// Lists the described members of a result that is an object.
fn describe_result(doc: &mut DocComment, schema: Option<&Schema>) {
    let Some(schema) = schema else { return };
    let Shape::Object(shape) = &schema.resolve(&schema.root).shape else { return };
    let described = |node: &Node| node.description.as_deref().map(|text| text.replace('\n', " "));
    let lines = shape.properties.iter().filter_map(|property| {
        Some(format!("- `{}`: {}", property.name.replace(['\n', '`'], " "), described(&property.node)?))
    });

    let lines: Vec<_> = lines.collect();
    if !lines.is_empty() {
        doc.text(&format!("Members of the result:\n{}", lines.join("\n")));
    }
}

fn write_head(name: &str, parameters: &[Parameter], result: &str) -> String {
    let parameters: Vec<_> = parameters
        .iter()
        .map(|parameter| {
            let default = parameter.default.map(|default| format!(" = {default}")).unwrap_or_default();
            format!("{} ${}{default}", parameter.ty.native(), parameter.name)
        })
        .collect();

    let line = format!("    public function {name}({}): {result}\n    {{\n", parameters.join(", "));
    if line.find('\n').is_some_and(|width| width <= WIDTH) {
        return line;
    }
    let lines: String = parameters.iter().map(|parameter| format!("        {parameter},\n")).collect();
    format!("    public function {name}(\n{lines}    ): {result} {{\n")
}

fn write_body(
    method: &MethodContract,
    signature: &Signature,
    result: &PhpType,
    thrown: &BTreeMap<i64, (&str, &str)>,
) -> String {
    let call = write_call(method, signature);
    let statements = if result.is_null() {
        format!("{call};\n")
    } else if result.is_mixed() {
        format!("return {call};\n")
    } else {
        format!("/** @var {} $result */\n$result = {call};\n\nreturn $result;\n", result.doc().write())
    };
    if thrown.is_empty() {
        return indent(&statements, 8);
    }

    let arms = thrown
        .iter()
        .map(|(code, (class, _))| format!("                {} => {class}::of($error),\n", integer(*code)));
    format!(
        "        try {{\n{}        }} catch (\\Jackfield\\Exception\\RemoteException $error) {{\n            \
         throw match ($error->getCode()) {{\n{}                default => $error,\n            }};\n        }}\n",
        indent(&statements, 12),
        arms.collect::<String>()
    )
}

fn write_call(method: &MethodContract, signature: &Signature) -> String {
    let params = signature.params.as_deref().unwrap_or("null");
    let params: Vec<_> = params.lines().collect();
    let idempotent = if method.facts.idempotent { "true" } else { "false" };

    format!(
        "$this->client->call(\n    {},\n    {},\n    $this->timeout,\n    {idempotent},\n    \
         $this->traceparent,\n    $this->tracestate,\n    $this->meta,\n)",
        quote(&method.name),
        params.join("\n    ")
    )
}

fn indent(code: &str, columns: usize) -> String {
    let indent = " ".repeat(columns);
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") };
    code.lines().map(line).collect()
}
