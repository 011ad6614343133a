//! From the documents in which a plugin describes its methods to its contract.

use serde::Deserialize;

use crate::contract::{Contract, DeclaredError, Example, MethodContract, MethodFacts, Parameters};
use crate::{Schema, SchemaFault, plain_text};

/// The most errors of a method, and the most examples. Further ones are ignored.
const LIST_MAX: usize = 100;

/// One document of the description of a method. Each may be missing, which is an empty document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum DescriptionPart {
    /// [`MethodFacts`], and `"params": "none"` for a method that takes no params.
    Facts = 0,
    /// The schema of the params.
    Params = 1,
    /// The schema of the result.
    Result = 2,
    /// A list of [`Example`]s.
    Examples = 3,
}

impl DescriptionPart {
    /// All parts, by number.
    pub const ALL: [Self; 4] = [Self::Facts, Self::Params, Self::Result, Self::Examples];
}

/// The reason why a document is ignored.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionFault {
    /// It is not the expected JSON.
    #[error("the description is invalid: {0}")]
    Invalid(#[from] serde_json::Error),
    /// The schema is not valid.
    #[error("the schema is invalid: {0}")]
    Schema(#[from] SchemaFault),
}

/// Collects the documents of a plugin. An invalid document is ignored, and the others still count.
#[derive(Debug)]
pub struct ContractReader {
    methods: Vec<MethodContract>,
}

/// The facts as a plugin writes them.
#[derive(Deserialize)]
struct Facts {
    #[serde(flatten)]
    facts: MethodFacts,
    #[serde(default)]
    params: Option<String>,
}

impl ContractReader {
    /// Begins with the names of the methods, by number.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { methods: names.into_iter().map(MethodContract::unknown).collect() }
    }

    /// Adds a document about the method number `method`.
    ///
    /// An empty document is ignored, and so is one about a method that does not exist. Of errors
    /// and examples, the first 100 count. A summary, a deprecation and the meaning of an error are
    /// cut at 500 characters, a description at 8,000. Control characters are removed from all of
    /// them.
    ///
    /// # Errors
    ///
    /// The document is not the JSON of its part, or its schema is not valid. The document is then
    /// ignored.
    pub fn add(
        &mut self,
        method: usize,
        part: DescriptionPart,
        document: &[u8],
    ) -> Result<(), DescriptionFault> {
        let Some(method) = self.methods.get_mut(method).filter(|_| !document.is_empty()) else {
            return Ok(());
        };

        match part {
            DescriptionPart::Facts => {
                let Facts { facts, params } = serde_json::from_slice(document)?;
                method.facts = bounded(facts);
                if params.as_deref() == Some("none") {
                    method.params = Parameters::None;
                }
            }
            DescriptionPart::Params => method.params = Parameters::Schema(Schema::parse(document)?),
            DescriptionPart::Result => method.result = Some(Schema::parse(document)?),
            DescriptionPart::Examples => {
                let mut examples: Vec<Example> = serde_json::from_slice(document)?;
                examples.truncate(LIST_MAX);
                method.examples = examples;
            }
        }
        Ok(())
    }

    /// Returns the contract.
    #[must_use]
    pub fn finish(self) -> Contract {
        Contract::new(self.methods)
    }
}

/// Cuts what is long, and removes control characters.
fn bounded(facts: MethodFacts) -> MethodFacts {
    let line = |text: String| plain_text::line(&text);
    let errors = facts.errors.into_iter().take(LIST_MAX);
    MethodFacts {
        summary: facts.summary.map(line),
        description: facts.description.map(|text| plain_text::lines(&text)),
        idempotent: facts.idempotent,
        deprecated: facts.deprecated.map(line),
        errors: errors.map(|error| DeclaredError { message: line(error.message), ..error }).collect(),
    }
}
