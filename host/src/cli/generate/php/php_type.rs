//! Types of PHP: those of its signatures, and the finer ones of its doc comments.

/// The longest type in one line of a doc comment.
const LINE_MAX: usize = 80;

/// A type, as a signature and as a doc comment write it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PhpType {
    /// The members of the union in a signature; none stands for `mixed`.
    natives: Vec<String>,
    docs: Vec<DocType>,
}

/// A type in a doc comment, as PHPStan and Psalm read it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DocType {
    /// A name, or a literal.
    Name(String),
    /// An array with these members: key, whether it may be missing, type.
    Shape {
        members: Vec<(String, bool, DocType)>,
        is_open: bool,
    },
    /// An array whose items are alike, such as `list<…>`: the text before them and their type.
    Items(&'static str, Box<DocType>),
    /// A list whose items have types of their own.
    Tuple(Vec<DocType>),
    Union(Vec<DocType>),
}

impl PhpType {
    pub(super) fn new(native: &str, doc: DocType) -> Self {
        Self { natives: vec![native.to_owned()], docs: vec![doc] }
    }

    /// Returns a type that a signature writes as a doc comment does.
    pub(super) fn plain(native: &str) -> Self {
        Self::new(native, DocType::Name(native.to_owned()))
    }

    pub(super) fn mixed() -> Self {
        Self { natives: Vec::new(), docs: vec![DocType::Name("mixed".to_owned())] }
    }

    pub(super) fn null() -> Self {
        Self::plain("null")
    }

    /// Returns the type of values that have one of these types.
    pub(super) fn union(members: impl IntoIterator<Item = Self>) -> Self {
        let mut union = Self { natives: Vec::new(), docs: Vec::new() };
        for member in members {
            if member.is_mixed() {
                return Self::mixed();
            }
            extend_unique(&mut union.natives, member.natives);
            extend_unique(&mut union.docs, member.docs);
        }
        union
    }

    pub(super) fn or_null(self) -> Self {
        Self::union([self, Self::null()])
    }

    pub(super) fn is_mixed(&self) -> bool {
        self.natives.is_empty()
    }

    pub(super) fn is_null(&self) -> bool {
        self.natives == ["null"]
    }

    pub(super) fn admits_null(&self) -> bool {
        self.is_mixed() || self.natives.iter().any(|native| native == "null")
    }

    /// Returns the type for a signature. PHP 8.1 has no `null` alone.
    pub(super) fn native(&self) -> String {
        let others: Vec<_> = self.natives.iter().filter(|native| *native != "null").cloned().collect();
        match (others.len(), self.admits_null()) {
            (0, _) => "mixed".to_owned(),
            (1, true) => format!("?{}", others[0]),
            (_, true) => format!("{}|null", others.join("|")),
            (_, false) => others.join("|"),
        }
    }

    /// Returns the type for a doc comment.
    pub(super) fn doc(&self) -> DocType {
        match &*self.docs {
            [single] => single.clone(),
            several => {
                let is_null = |doc: &&DocType| **doc == DocType::Name("null".to_owned());
                let others = several.iter().filter(|doc| !is_null(doc));
                DocType::Union(others.chain(several.iter().filter(is_null)).cloned().collect())
            }
        }
    }

    /// Returns the same type under a name in doc comments.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { natives: self.natives.clone(), docs: vec![DocType::Name(name.to_owned())] }
    }
}

impl DocType {
    /// Returns whether the type is a single word.
    pub(super) fn is_name(&self) -> bool {
        matches!(self, Self::Name(name) if !name.starts_with('\''))
    }

    /// Writes the type: in one line, or its array shapes with one line per member if it is long.
    pub(super) fn write(&self) -> String {
        let line = self.line(None);
        if line.chars().count() > LINE_MAX { self.line(Some(0)) } else { line }
    }

    /// Writes the type. With an indentation, the members of array shapes get lines of their own;
    /// only inside of braces do both tools accept line breaks.
    fn line(&self, indent: Option<usize>) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Items(before, items) => format!("{before}{}>", items.line(indent)),
            Self::Tuple(items) => {
                let items: Vec<_> = items.iter().map(|item| item.line(indent)).collect();
                format!("array{{{}}}", items.join(", "))
            }
            Self::Union(members) => {
                let members: Vec<_> = members.iter().map(|member| member.line(indent)).collect();
                members.join("|")
            }
            Self::Shape { members, is_open } => {
                let inner = indent.map(|indent| indent + 4);
                let lines = members.iter().map(|(key, is_optional, doc)| {
                    format!("{key}{}: {}", if *is_optional { "?" } else { "" }, doc.line(inner))
                });
                let lines: Vec<_> = lines.chain(is_open.then(|| "...".to_owned())).collect();
                match (indent, inner) {
                    (Some(outer), Some(inner)) if !lines.is_empty() => {
                        let separator = format!(",\n{}", " ".repeat(inner));
                        let (before, after) = (" ".repeat(inner), " ".repeat(outer));
                        format!("array{{\n{before}{}\n{after}}}", lines.join(&separator))
                    }
                    _ => format!("array{{{}}}", lines.join(", ")),
                }
            }
        }
    }
}

fn extend_unique<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_unions_for_signatures_and_comments() {
        let both = PhpType::union([PhpType::null(), PhpType::plain("int"), PhpType::plain("int")]);
        assert_eq!((both.native(), both.doc().write()), ("?int".to_owned(), "int|null".to_owned()));

        let three = PhpType::union([both, PhpType::plain("string")]);
        assert_eq!(three.native(), "int|string|null");
        assert_eq!(PhpType::union([three, PhpType::mixed()]).native(), "mixed");
        assert_eq!(PhpType::null().native(), "mixed");
    }

    #[test]
    fn breaks_long_array_shapes_inside_of_their_braces() {
        let member = |key: &str| (key.to_owned(), false, DocType::Name("string".to_owned()));
        let short = DocType::Shape { members: vec![member("a")], is_open: true };
        assert_eq!(short.write(), "array{a: string, ...}");

        let long = DocType::Shape { members: vec![member(&"a".repeat(50)), member("b")], is_open: false };
        let list = DocType::Items("list<", Box::new(DocType::Union(vec![long, short])));
        let expected = format!(
            "list<array{{\n    {}: string,\n    b: string\n}}|array{{\n    a: string,\n    ...\n}}>",
            "a".repeat(50)
        );
        assert_eq!(list.write(), expected);
    }
}
