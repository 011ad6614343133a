//! Contracts as values: methods with their schemas, facts and examples.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Schema;

/// The methods of a plugin, sorted by name: their params, results and facts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contract {
    methods: Vec<MethodContract>,
}

/// The params, the result and the facts of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodContract {
    /// The full name, as in requests.
    pub name: String,
    /// The statements of its author.
    pub facts: MethodFacts,
    /// Its params.
    pub params: Parameters,
    /// The schema of its result; `None` if it is not known.
    pub result: Option<Schema>,
    /// Calls that its author shows.
    pub examples: Vec<Example>,
}

/// The params of a method.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(clippy::large_enum_variant, reason = "most methods have a schema, and there are few methods")]
pub enum Parameters {
    /// Nothing is known about them.
    #[default]
    Unknown,
    /// The method takes none.
    None,
    /// They fit this schema. If it also admits `null`, they may be missing.
    Schema(Schema),
}

/// The statements of the author of a method, apart from its types.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MethodFacts {
    /// The first paragraph of its doc comment, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The further paragraphs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether running the same request twice is harmless.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// The reason why it should not be used any more, and what replaces it. It may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<String>,
    /// The errors of its own that it may return.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<DeclaredError>,
}

/// An error that a method may return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredError {
    /// The code in the reply.
    pub code: i64,
    /// Its meaning.
    pub message: String,
}

/// One call of a method, as an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The params; missing if the call has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// The result; missing if the example shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

impl Contract {
    /// Makes a contract. If two methods have the same name, the first one counts.
    #[must_use]
    pub fn new(mut methods: Vec<MethodContract>) -> Self {
        methods.sort_by(|left, right| left.name.cmp(&right.name));
        methods.dedup_by(|later, earlier| later.name == earlier.name);
        Self { methods }
    }

    /// Makes the contract of a plugin that describes nothing: only the names are known.
    #[must_use]
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(names.into_iter().map(MethodContract::unknown).collect())
    }

    /// Returns the methods, sorted by name.
    #[must_use]
    pub fn methods(&self) -> &[MethodContract] {
        &self.methods
    }

    /// Returns the method with this name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&MethodContract> {
        let index = self.methods.binary_search_by(|method| method.name.as_str().cmp(name));
        index.ok().and_then(|index| self.methods.get(index))
    }
}

impl MethodContract {
    /// Makes the contract of a method of which only the name is known.
    #[must_use]
    pub fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            facts: MethodFacts::default(),
            params: Parameters::Unknown,
            result: None,
            examples: Vec::new(),
        }
    }
}

/// Returns whether a method is one of the host itself: `system.*`, `rpc.*` or `admin.*`. No plugin
/// file has them, but the document of a host does.
#[must_use]
pub fn is_method_of_host(name: &str) -> bool {
    matches!(name.split('.').next(), Some("system" | "rpc" | "admin"))
}
