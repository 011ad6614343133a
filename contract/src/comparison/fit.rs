//! Whether values fit.

/// Whether every value of one schema is one of another, or whether a value is one of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Certainly not.
    No,
    /// It is not decided.
    Unknown,
    /// Certainly.
    Yes,
}

impl Fit {
    pub(super) fn certain(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}
