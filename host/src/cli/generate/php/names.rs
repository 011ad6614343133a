//! From names of a contract to identifiers of PHP, without collisions.

use std::collections::BTreeSet;

use jackfield_contract::words::{ascii, camel_case, is_type_name, pascal_case};

/// The longest identifier, so that the file of a class has a name that file systems accept.
const IDENTIFIER_MAX: usize = 100;

/// Words that no class may have as its name, and that mean a type in a doc comment.
const RESERVED: &[&str] = &[
    "abstract",
    "and",
    "array",
    "as",
    "bool",
    "boolean",
    "break",
    "callable",
    "case",
    "catch",
    "class",
    "clone",
    "closure",
    "const",
    "continue",
    "declare",
    "default",
    "die",
    "do",
    "double",
    "echo",
    "else",
    "elseif",
    "empty",
    "enddeclare",
    "endfor",
    "endforeach",
    "endif",
    "endswitch",
    "endwhile",
    "enum",
    "eval",
    "exit",
    "extends",
    "false",
    "final",
    "finally",
    "float",
    "fn",
    "for",
    "foreach",
    "function",
    "global",
    "goto",
    "if",
    "implements",
    "include",
    "instanceof",
    "insteadof",
    "int",
    "integer",
    "interface",
    "isset",
    "iterable",
    "list",
    "match",
    "mixed",
    "namespace",
    "never",
    "new",
    "null",
    "number",
    "numeric",
    "object",
    "or",
    "parent",
    "print",
    "private",
    "protected",
    "public",
    "readonly",
    "require",
    "resource",
    "return",
    "scalar",
    "self",
    "static",
    "string",
    "switch",
    "this",
    "throw",
    "trait",
    "true",
    "try",
    "unset",
    "use",
    "var",
    "void",
    "while",
    "xor",
    "yield",
];

/// Identifiers of one scope. A name that is taken gets the first free number from 2 on.
#[derive(Debug, Default)]
pub(super) struct NameSet {
    taken: BTreeSet<String>,
}

impl NameSet {
    /// Returns a name for a class or a type alias: none of PHP's words, and different from the
    /// others also where case does not count, as in file names on some systems.
    pub(super) fn class(&mut self, name: &str) -> String {
        let is_reserved = RESERVED.contains(&&*name.to_ascii_lowercase());
        self.unique(if is_reserved { format!("{name}_") } else { name.to_owned() }, str::to_ascii_lowercase)
    }

    /// Returns a name for a method. Any word will do, and case does not count.
    pub(super) fn method(&mut self, name: &str) -> String {
        self.unique(name.to_owned(), str::to_ascii_lowercase)
    }

    /// Returns a name for a variable or for a case of an enumeration, where case counts.
    pub(super) fn variable(&mut self, name: &str) -> String {
        let is_reserved = name == "this" || name.eq_ignore_ascii_case("class");
        self.unique(if is_reserved { format!("{name}_") } else { name.to_owned() }, str::to_owned)
    }

    /// Keeps a name from being used.
    pub(super) fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_ascii_lowercase());
    }

    fn unique(&mut self, name: String, key: impl Fn(&str) -> String) -> String {
        let mut candidate = name.clone();
        let mut number = 2;
        while !self.taken.insert(key(&candidate)) {
            candidate = format!("{name}{number}");
            number += 1;
        }
        candidate
    }
}

/// Returns `text` as an identifier such as `StatusUpdate`; `fallback` if it has no letters and
/// digits of ASCII. The name of a type stays as its author wrote it.
pub(super) fn pascal(text: &str, fallback: &str) -> String {
    let mut name = if is_type_name(text) { text.to_owned() } else { pascal_case(&ascii(text)) };
    name.truncate(IDENTIFIER_MAX);

    match name.chars().next() {
        None => fallback.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name,
    }
}

/// Returns `text` as an identifier such as `statusUpdate`; `fallback` as for [`pascal`].
pub(super) fn camel(text: &str, fallback: &str) -> String {
    let mut name = camel_case(&ascii(text));
    if name.is_empty() {
        return fallback.to_owned();
    }
    name.truncate(IDENTIFIER_MAX);
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Returns the name of the variable for a member of params: the name of the member where PHP
/// accepts it.
pub(super) fn variable(member: &str) -> String {
    let is_identifier = is_identifier(member) && member.len() <= IDENTIFIER_MAX;
    if is_identifier { member.to_owned() } else { camel(member, "value") }
}

/// Returns whether `text` is an identifier of ASCII characters.
pub(super) fn is_identifier(text: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_start) && text.chars().all(|c| is_start(c) || c.is_ascii_digit())
}

/// Reads a namespace, such as `App\Jackfield`. A backslash before or after it does not count.
///
/// # Errors
///
/// It is no namespace of PHP.
pub(in crate::cli::generate) fn parse_namespace(text: &str) -> Result<String, String> {
    let namespace = text.trim_matches('\\');
    let is_valid = namespace.split('\\').all(is_identifier);

    // `namespace\Name` means something else, and the classes of the client are in `Jackfield`.
    let first = namespace.split('\\').next().unwrap_or_default();
    if !is_valid || first.eq_ignore_ascii_case("namespace") {
        return Err("not a namespace of PHP, such as App\\Jackfield".to_owned());
    }
    if namespace.eq_ignore_ascii_case("Jackfield") {
        return Err(
            "the namespace of the client itself; choose another one, such as App\\Jackfield".to_owned()
        );
    }
    Ok(namespace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_identifiers_of_names_with_separators_digits_and_foreign_letters() {
        let names = ["status.update", "status_update", "statusUpdate", "2fa.enable", "HTTP.get", "größe"];
        let camels: Vec<_> = names.iter().map(|name| camel(name, "value")).collect();
        assert_eq!(camels, ["statusUpdate", "statusUpdate", "statusUpdate", "_2faEnable", "httpGet", "grE"]);

        assert_eq!(
            ["device", "HTTPServer", "OK"].map(|name| pascal(name, "X")),
            ["Device", "HTTPServer", "Ok"]
        );
        assert_eq!(pascal("", "Empty"), "Empty");
        assert_eq!(pascal("…", "Value"), "Value");
        assert_eq!(pascal(&"a".repeat(300), "Value").len(), IDENTIFIER_MAX);
    }

    #[test]
    fn keeps_names_apart_and_away_from_words_of_php() {
        let mut names = NameSet::default();
        let classes: Vec<_> = ["List", "Device", "DEVICE", "Device2"].map(|name| names.class(name)).into();
        assert_eq!(classes, ["List_", "Device", "DEVICE2", "Device22"]);

        let mut names = NameSet::default();
        names.reserve("with");
        assert_eq!(["with", "list", "List"].map(|name| names.method(name)), ["with2", "list", "List2"]);

        let mut names = NameSet::default();
        assert_eq!(["this", "a", "A", "a"].map(|name| names.variable(name)), ["this_", "a", "A", "a2"]);
    }

    #[test]
    fn accepts_namespaces_only() {
        assert_eq!(parse_namespace("\\App\\Jackfield\\").as_deref(), Ok("App\\Jackfield"));
        for invalid in ["", "App\\\\X", "App Jackfield", "1App", "App;echo 1", "namespace\\App", "jackfield"]
        {
            assert!(parse_namespace(invalid).is_err(), "{invalid}");
        }
    }
}
