//! The state that a generation has exported.

/// The state of a generation, as it was exported.
pub(super) struct ExportedState {
    /// The version of its layout.
    pub(super) schema: u32,

    pub(super) bytes: Vec<u8>,
}
