//! The generated files: they are as expected, they compile, and their types read and write JSON.
//!
//! The expected files are compiled into this binary. `JACKFIELD_UPDATE=1` writes them again.

#![allow(clippy::unwrap_used, reason = "all of this is tests: what cannot go on ends by panicking")]

mod contracts;
mod expected;
mod properties;
mod types;

mod shop {
    include!("shop.generated");
}

mod hostile {
    include!("hostile.generated");
}
