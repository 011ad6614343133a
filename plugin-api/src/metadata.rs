//! The metadata that a client sent with its request.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The metadata of a request: names and values that the client chose, in the order in which it sent
/// them. A host accepts at most 16 of them, of 2,048 bytes together.
///
/// ```
/// use jackfield_plugin_api::Context;
///
/// fn tenant(cx: &Context<'_>) -> String {
///     cx.metadata().get("tenant").unwrap_or("default").to_owned()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// Reads the JSON object that the host passes on; the text is empty if there is none.
    pub(crate) fn read(json: &str) -> Self {
        if json.is_empty() { Self::default() } else { serde_json::from_str(json).unwrap_or_default() }
    }

    /// Returns the value of a name, which is compared with upper and lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Returns all names with their values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns whether the client sent none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Metadata, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = members.next_entry()? {
            pairs.push(pair);
        }
        Ok(Metadata(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_the_client() {
        let metadata = Metadata::read(r#"{"z":"1","a":"\"é\u00e9","m":""}"#);
        let pairs: Vec<_> = metadata.iter().collect();
        assert_eq!(pairs, [("z", "1"), ("a", "\"éé"), ("m", "")]);
        assert_eq!((metadata.get("a"), metadata.get("A")), (Some("\"éé"), None));
    }

    #[test]
    fn is_empty_without_metadata() {
        assert!(Metadata::read("").is_empty() && Metadata::read("{}").is_empty());
        assert!(Metadata::read("[1]").is_empty());
    }
}
