//! `jackfield describe --diff`: whether callers of one contract can go on with another one.

use std::path::Path;
use std::process::ExitCode;

use jackfield::ProbeEntry;
use jackfield::log::Counted;
use jackfield_contract::openrpc::DescribedContract;
use jackfield_contract::{Comparison, Contract, Finding, Verdict, compare, is_method_of_host};
use serde_json::{Value, json};

use crate::cli::command_error::CommandError;
use crate::cli::contract_source::{is_socket, read_path};
use crate::cli::exit_code::FAILURE;
use crate::cli::shown_text::shown_line;

/// Returns the findings with the verdict, and the exit code: a failure if callers may break.
pub(super) fn diff(
    old: &Path,
    new: &Path,
    as_json: bool,
    config: Option<&Path>,
    entry: &ProbeEntry,
) -> Result<(String, ExitCode), CommandError> {
    let are_same_kind = is_socket(old) == is_socket(new);
    let (old, new) = (read_path(old, config, entry)?, read_path(new, config, entry)?);

    // No plugin file has the methods of the host itself, but the document of a host has them.
    let are_alike = are_same_kind && has_own_methods(&old.contract) == has_own_methods(&new.contract);
    let plain = |described: DescribedContract| match are_alike {
        true => described.contract,
        false => without_own_methods(&described.contract),
    };
    let comparison = compare(&plain(old), &plain(new));
    let code = match comparison.verdict() {
        Verdict::Incompatible => ExitCode::from(FAILURE),
        Verdict::Compatible | Verdict::Unknown => ExitCode::SUCCESS,
    };
    Ok((if as_json { json_of(&comparison) } else { text_of(&comparison) }, code))
}

fn has_own_methods(contract: &Contract) -> bool {
    contract.methods().iter().any(|method| is_method_of_host(&method.name))
}

fn without_own_methods(contract: &Contract) -> Contract {
    let methods = contract.methods().iter().filter(|method| !is_method_of_host(&method.name));
    Contract::new(methods.cloned().collect())
}

fn text_of(comparison: &Comparison) -> String {
    let Comparison { breaking, unknown } = comparison;
    let line = |kind: &str, finding: &Finding| format!("{kind}: {}\n", shown_line(&finding.to_string()));
    let mut text: String = breaking.iter().map(|finding| line("breaking", finding)).collect();
    text.extend(unknown.iter().map(|finding| line("unknown", finding)));

    text + &match comparison.verdict() {
        Verdict::Compatible => "compatible: callers of the old contract can go on\n".to_owned(),
        Verdict::Unknown => {
            let places = Counted(unknown.len(), "place");
            format!("unknown: nothing breaks for certain; {places} cannot be compared\n")
        }
        Verdict::Incompatible => {
            format!("incompatible: {} callers\n", breaks(breaking.len()))
        }
    }
}

fn breaks(changes: usize) -> String {
    match changes {
        1 => "1 change breaks".to_owned(),
        changes => format!("{changes} changes break"),
    }
}

fn json_of(comparison: &Comparison) -> String {
    let verdict = match comparison.verdict() {
        Verdict::Compatible => "compatible",
        Verdict::Incompatible => "incompatible",
        Verdict::Unknown => "unknown",
    };
    let all = |findings: &[Finding]| -> Vec<Value> {
        let findings = findings.iter();
        findings.map(|Finding { method, path, change }| json!({ "method": method, "path": path, "change": change })).collect()
    };
    let (breaking, unknown) = (all(&comparison.breaking), all(&comparison.unknown));
    format!("{}\n", json!({ "verdict": verdict, "breaking": breaking, "unknown": unknown }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(method: &str, path: &str) -> Finding {
        Finding {
            method: method.to_owned(),
            path: path.to_owned(),
            change: "is \u{1b}required now".to_owned(),
        }
    }

    #[test]
    fn prints_each_finding_and_the_verdict() {
        let breaking =
            Comparison { breaking: vec![finding("a.b", "params.id")], unknown: vec![finding("c", "")] };
        let unknown = Comparison { breaking: vec![], ..breaking.clone() };

        let lines = "breaking: a.b: params.id: is \\u{1b}required now\nunknown: c: is \\u{1b}required now\n";
        assert_eq!(text_of(&breaking), format!("{lines}incompatible: 1 change breaks callers\n"));
        assert!(
            text_of(&unknown).ends_with("unknown: nothing breaks for certain; 1 place cannot be compared\n")
        );
        assert!(text_of(&Comparison::default()).starts_with("compatible: "));
        assert!(json_of(&breaking).starts_with(r#"{"breaking":[{"change":"is \u001brequired now""#));
    }
}
