//! What is fuzzed: one function for each way in which bytes from outside reach the project. Each takes any bytes, and
//! panics if what is made of them is wrong.

mod codec;
mod configuration;
mod elf;
mod envelope;
mod lines;
mod manifest;
mod pieces;
pub mod seeds;

pub use codec::codec;
pub use configuration::configuration;
pub use elf::{elf, remove_file};
pub use envelope::envelope;
pub use lines::lines;
pub use manifest::manifest;

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// All of them, by the names of their binaries.
pub const TARGETS: [(&str, Target); 6] = [
    ("codec", codec),
    ("configuration", configuration),
    ("elf", elf),
    ("envelope", envelope),
    ("lines", lines),
    ("manifest", manifest),
];
