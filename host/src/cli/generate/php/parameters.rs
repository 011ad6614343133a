//! The parameters of a method of PHP, and how they become the params of a request.

use jackfield_contract::{MethodContract, Node, ObjectShape, Parameters, Schema, Shape};

use super::conversion::{ENCODE, convert};
use super::names::{NameSet, pascal, variable};
use super::php_type::PhpType;
use super::text::quote;
use super::type_reader::{ClassTypes, Direction, TypeReader};

/// The longest array of params in one line.
const LINE_MAX: usize = 100;

/// One parameter of a method.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) ty: PhpType,
    /// The value of a call that passes none.
    pub(super) default: Option<&'static str>,
    /// The text about it.
    pub(super) remark: String,
}

/// The parameters of a method, and the expression that makes the params of a request of them.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) parameters: Vec<Parameter>,
    /// The expression; `None` if the request has no params.
    pub(super) params: Option<String>,
}

/// Reads the params of a method: a parameter for each member of an object, one for anything else.
pub(super) fn read_signature(method: &MethodContract, types: &mut ClassTypes) -> Signature {
    let schema = match &method.params {
        Parameters::None => return Signature { parameters: Vec::new(), params: None },
        Parameters::Unknown => return whole(PhpType::mixed(), Some("null"), "$params".to_owned(), ""),
        Parameters::Schema(schema) => schema,
    };

    let root = schema.resolve(&schema.root);
    match &root.shape {
        Shape::Null => Signature { parameters: Vec::new(), params: None },
        Shape::Object(shape) if has_named_members(shape) => by_name(schema, shape, types),
        shape => {
            let hint = pascal(&method.name, "Method") + "Params";
            let ty = TypeReader::new(types, schema, Direction::Params).root(&hint);
            let default = match shape {
                _ if ty.admits_null() => Some("null"),
                Shape::Object(_) => Some("[]"),
                _ => None,
            };
            let value = convert(schema, &schema.root, "$params");
            whole(ty, default, value, schema.root.description.as_deref().unwrap_or_default())
        }
    }
}

/// Returns whether an object has members that are known, and no others of a certain type.
fn has_named_members(shape: &ObjectShape) -> bool {
    let is_closed = shape.additional.shape == Shape::Never;
    match shape.properties.is_empty() {
        true => is_closed,
        false => is_closed || shape.additional.shape == Shape::Any,
    }
}

fn whole(ty: PhpType, default: Option<&'static str>, value: String, remark: &str) -> Signature {
    let parameter = Parameter { name: "params".to_owned(), ty, default, remark: remark.to_owned() };
    Signature { parameters: vec![parameter], params: Some(value) }
}

fn by_name(schema: &Schema, shape: &ObjectShape, types: &mut ClassTypes) -> Signature {
    let mut reader = TypeReader::new(types, schema, Direction::Params);
    let mut names = NameSet::default();
    let mut parameters = Vec::new();
    let (mut required, mut optional) = (Vec::new(), Vec::new());

    let mut members: Vec<&str> = Vec::new();
    let by_need = shape.properties.iter().filter(|property| property.is_required);
    for property in by_need.chain(shape.properties.iter().filter(|property| !property.is_required)) {
        if members.contains(&&*property.name) {
            continue;
        }
        members.push(&property.name);

        let name = names.variable(&variable(&property.name));
        let ty = reader.node(&property.node, &pascal(&property.name, "Value"));
        let value = convert(schema, &property.node, &format!("${name}"));
        let list = if property.is_required { &mut required } else { &mut optional };
        list.push(format!("{} => {value}", quote(&property.name)));
        parameters.push(Parameter {
            name,
            ty: if property.is_required { ty } else { ty.or_null() },
            default: (!property.is_required).then_some("null"),
            remark: remark(&property.node),
        });
    }

    Signature { parameters, params: Some(array_of_members(&members, &required, &optional)) }
}

/// Returns the array with the members. Optional ones that are null are not in it.
fn array_of_members(names: &[&str], required: &[String], optional: &[String]) -> String {
    let write = |is_line: bool| {
        let present = || format!("{ENCODE}::present({})", array(optional, is_line));
        match (required.is_empty(), optional.is_empty()) {
            (_, true) => array(required, is_line),
            (true, false) => present(),
            (false, false) => format!("{} + {}", array(required, is_line), present()),
        }
    };
    let line = write(true);
    let members = if line.len() <= LINE_MAX { line } else { write(false) };

    // PHP turns such keys into integers, and an array with the keys 0, 1, … is a list.
    let is_number = |name: &&str| name.chars().all(|c| c.is_ascii_digit());
    if names.iter().any(is_number) { format!("{ENCODE}::object({members})") } else { members }
}

fn array(members: &[String], is_line: bool) -> String {
    if is_line {
        return format!("[{}]", members.join(", "));
    }
    let lines: String = members.iter().map(|member| format!("    {member},\n")).collect();
    format!("[\n{lines}]")
}

fn remark(node: &Node) -> String {
    let description = node.description.clone().unwrap_or_default();
    let default = node.default.as_ref().filter(|default| !default.is_null());
    let default = default.map(ToString::to_string).filter(|default| default.len() <= 60);

    let mut sentences = vec![description];
    sentences.extend(default.map(|default| format!("Default: {default}.")));
    sentences.extend(node.deprecated.then(|| "Deprecated.".to_owned()));
    sentences.join(" ").trim().to_owned()
}
