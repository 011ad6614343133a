//! One name, one type: a reader who sees a type's name knows which one it is.

use std::collections::BTreeMap;

use super::assert_at_most;
use super::tree::{code, rust_files_below};

/// The crates' source directories.
const CRATES: [&str; 5] =
    ["host/src", "plugin-api/src", "protocol/src", "clients/rust/src", "clients/rust-build/src"];

const KEYWORDS: [&str; 4] = ["struct", "enum", "trait", "union"];

#[test]
fn public_type_names_occur_once_in_a_crate() {
    let mut repeated = Vec::new();
    for directory in CRATES {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in rust_files_below(directory).iter().filter(|file| !file.path.contains("/tests")) {
            for (index, line) in code(&file.text).lines().enumerate() {
                if let Some(name) = public_type(line) {
                    places.entry(name.to_owned()).or_default().push(format!("{}:{}", file.path, index + 1));
                }
            }
        }
        let several = places.into_iter().filter(|(_, places)| places.len() > 1);
        repeated.extend(several.map(|(name, places)| format!("{name}: {}", places.join(", "))));
    }
    assert_at_most(0, &repeated, "a public type name is defined once in a crate");
}

/// Returns the name of the type that `line` defines for more than its own file.
fn public_type(line: &str) -> Option<&str> {
    let after_pub = line.trim_start().strip_prefix("pub")?;
    let after_visibility = match after_pub.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => after_pub,
    };
    let mut words = after_visibility.split_whitespace();
    if !KEYWORDS.contains(&words.next()?) {
        return None;
    }
    words.next().map(|name| name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(name))
}
