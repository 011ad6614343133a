//! The state that a generation has exported.

/// The state of a generation, as it was exported.
pub(crate) struct ExportedState {
    /// The version of its layout.
    pub(crate) schema: u32,

    pub(crate) bytes: Vec<u8>,
}
