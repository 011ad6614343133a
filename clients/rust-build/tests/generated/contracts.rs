//! Contracts for tests, and the files that are generated for them.

use std::fs;
use std::path::{Path, PathBuf};

use jackfield_client_build::{Error, Generator};
use jackfield_contract::openrpc::{self, DocumentInfo};
use jackfield_contract::{Contract, ContractReader, DescriptionPart};
use serde_json::{Map, Value};

/// Returns the directory of these tests.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated")
}

/// Reads a contract: for each method, the documents that a plugin writes.
pub(crate) fn contract(document: &Map<String, Value>) -> Contract {
    let mut reader = ContractReader::new(document.keys().map(String::as_str));
    for (method, parts) in document.values().enumerate() {
        let named = [
            ("facts", DescriptionPart::Facts),
            ("params", DescriptionPart::Params),
            ("result", DescriptionPart::Result),
        ];
        for (name, part) in named {
            if let Some(text) = parts.get(name) {
                reader.add(method, part, text.to_string().as_bytes()).unwrap();
            }
        }
    }
    reader.finish()
}

/// Reads the contract of a file in `contracts`.
pub(crate) fn read(name: &str) -> Contract {
    let path = directory().join("contracts").join(name);
    contract(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

/// A directory that is removed at the end of a test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("jackfield-client-build-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Returns the file that is generated for the OpenRPC document of a contract.
pub(crate) fn generate(contract: &Contract, name: &str) -> Result<String, Error> {
    let scratch = Scratch::new(name);
    let document = openrpc::write(&DocumentInfo { title: "test", version: "1" }, contract);
    let path = scratch.0.join("contract.json");
    fs::write(&path, document.to_string()).unwrap();
    Generator::new().document(path).source()
}
