//! PHP classes of a contract. This is a function of values: it reads and writes no files.
//!
//! - A class has the methods whose names have the same first segment. It is in the given namespace,
//!   its enumerations and exceptions in a namespace of its own below.
//! - Names of classes are written in full or relative to the namespace, without `use`: no class can
//!   have the name of another one that way.
//! - The text of a contract is in string literals and doc comments only, which it cannot end
//!   ([`text`]); names are reduced to identifiers of ASCII ([`names`]).

mod class_file;
mod conversion;
mod method;
mod names;
mod parameters;
mod php_type;
#[cfg(test)]
mod tests;
mod text;
mod type_reader;

use jackfield_contract::{Contract, is_method_of_host};

use super::generated_file::GeneratedFile;
use class_file::ClassPlan;
use names::{NameSet, pascal};

pub(super) use names::parse_namespace;

/// Returns the files of the classes of a contract, the same ones for the same contract.
///
/// Methods of the host itself have no classes, so that the classes do not depend on its version.
pub(super) fn generate(contract: &Contract, namespace: &str) -> Vec<GeneratedFile> {
    let mut plans: Vec<ClassPlan<'_>> = Vec::new();
    let mut names = NameSet::default();

    for method in contract.methods() {
        if is_method_of_host(&method.name) {
            continue;
        }
        let prefix = method.name.split('.').next().unwrap_or_default();
        if let Some(plan) = plans.iter_mut().find(|plan| plan.prefix == prefix) {
            plan.methods.push(method);
        } else {
            let name = names.class(&pascal(prefix, "Methods"));
            plans.push(ClassPlan { prefix, name, methods: vec![method] });
        }
    }

    let classes: Vec<_> = plans.iter().map(|plan| plan.name.clone()).collect();
    let mut files = Vec::new();
    for plan in &plans {
        plan.write(namespace, &classes, &mut files);
    }
    files
}
