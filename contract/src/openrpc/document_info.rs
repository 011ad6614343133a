//! The head of an OpenRPC document.

/// The head of a document.
#[derive(Debug, Clone)]
pub struct DocumentInfo<'a> {
    /// The name of what is described, such as `jackfield` or the name of a plugin.
    pub title: &'a str,
    /// Its version.
    pub version: &'a str,
}
