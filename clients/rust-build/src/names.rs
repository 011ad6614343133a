//! Rust identifiers of the names in a contract.

use std::collections::BTreeSet;

use jackfield_contract::words;

/// Words that are no identifiers, in any edition.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Keywords that cannot be written as raw identifiers either.
const PATH_KEYWORDS: &[&str] = &["crate", "self", "super"];

/// Names that generated code uses as the prelude defines them, or defines itself.
const USED_TYPES: &[&str] = &[
    "Box", "Client", "Default", "Err", "Error", "From", "Into", "None", "Ok", "Option", "Result", "Self",
    "Some", "String", "Vec",
];

/// Names that are taken in one place, such as the fields of a struct.
#[derive(Debug, Default)]
pub(crate) struct NameScope {
    taken: BTreeSet<String>,
}

impl NameScope {
    /// Returns the scope of the types of a module.
    pub(crate) fn of_types() -> Self {
        Self { taken: USED_TYPES.iter().map(|&name| name.to_owned()).collect() }
    }

    /// Returns a scope in which these names are taken.
    pub(crate) fn with(names: &[&str]) -> Self {
        Self { taken: names.iter().map(|&name| name.to_owned()).collect() }
    }

    /// Takes a name, with a number after `separator` if it is taken already.
    pub(crate) fn take(&mut self, name: &str, separator: &str) -> String {
        let stem = if separator.is_empty() { name } else { name.trim_end_matches(separator) };
        let numbered = (2_u64..).map(|number| format!("{stem}{separator}{number}"));
        let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
        let free = candidates.find(|candidate| !self.taken.contains(candidate));
        let free = free.unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }

    /// Makes a name available again.
    pub(crate) fn release(&mut self, name: &str) {
        self.taken.remove(name);
    }
}

/// Returns the name of a module, function or field, such as `status_update`, or `fallback` if there
/// is nothing to make it of. Keywords are not escaped.
pub(crate) fn snake_case(name: &str, fallback: &str) -> String {
    let snake = words::snake_case(&words::ascii(name));
    match snake.chars().next() {
        None => fallback.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{snake}"),
        Some(_) if PATH_KEYWORDS.contains(&snake.as_str()) => format!("{snake}_"),
        Some(_) => snake,
    }
}

/// Returns the name of a type or variant, such as `StatusUpdate`, or `fallback` if there is nothing
/// to make it of. A name that Rust accepts stays as its author wrote it.
pub(crate) fn pascal_case(name: &str, fallback: &str) -> String {
    if words::is_type_name(name) {
        return name.to_owned();
    }

    let pascal = words::pascal_case(&words::ascii(name));
    match pascal.chars().next() {
        None => fallback.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("V{pascal}"),
        Some(_) => pascal,
    }
}

/// Returns the identifier for a name, which is raw if the name is a keyword.
pub(crate) fn identifier(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_identifiers_of_any_name() {
        for (name, snake, pascal) in [
            ("device.status", "device_status", "DeviceStatus"),
            ("type", "type", "Type"),
            ("self", "self_", "Self"),
            ("2.0", "_2_0", "V20"),
            ("größe", "gr_e", "GrE"),
            ("状態", "none", "None"),
            ("IPv4", "i_pv4", "IPv4"),
            ("OK", "ok", "Ok"),
            ("a\"b\n", "a_b", "AB"),
        ] {
            assert_eq!(snake_case(name, "none"), snake);
            assert_eq!(pascal_case(name, "None"), pascal);
        }
        assert_eq!(identifier("type"), "r#type");
    }

    #[test]
    fn numbers_names_that_are_taken() {
        let mut scope = NameScope::of_types();
        assert_eq!(scope.take("Status", ""), "Status");
        assert_eq!(scope.take("Status", ""), "Status2");
        assert_eq!(scope.take("Error", ""), "Error2");

        scope.release("Status");
        assert_eq!(scope.take("Status", ""), "Status");
    }
}
