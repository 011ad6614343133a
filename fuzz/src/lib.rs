//! Fuzz targets: one function for each way in which bytes from outside reach the project. Each
//! accepts any bytes, and panics if the project handles them wrongly.

mod codec;
mod configuration;
mod contract;
mod elf;
mod envelope;
mod extension;
mod lines;
mod manifest;
mod pieces;
pub mod seeds;
mod worker;

pub use codec::codec;
pub use configuration::configuration;
pub use contract::contract;
pub use elf::{elf, remove_file};
pub use envelope::envelope;
pub use extension::extension;
pub use lines::lines;
pub use manifest::manifest;
pub use worker::worker;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target, with the name of its binary.
pub const TARGETS: [(&str, Target); 9] = [
    ("codec", codec),
    ("configuration", configuration),
    ("contract", contract),
    ("elf", elf),
    ("envelope", envelope),
    ("extension", extension),
    ("lines", lines),
    ("manifest", manifest),
    ("worker", worker),
];
