//! Names of methods that somebody typed.

use jackfield_contract::Contract;

use super::command_error::CommandError;
use super::shown_text::shown_line;

/// The least similarity of a name that is suggested.
const SIMILAR: f64 = 0.8;

/// Returns the fault that there is no such method, with the name that was probably meant.
pub(super) fn no_method(contract: &Contract, name: &str) -> CommandError {
    let names =
        contract.methods().iter().map(|method| (strsim::jaro_winkler(name, &method.name), &method.name));
    let nearest = names.max_by(|left, right| left.0.total_cmp(&right.0));

    let nearest = nearest.filter(|(similarity, _)| *similarity >= SIMILAR).map(|(_, name)| shown_line(name));
    CommandError::NoMethod { name: name.to_owned(), nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name() {
        let contract = Contract::of_names(["device.list", "system.ping"]);
        let message = |name| no_method(&contract, name).to_string();

        assert!(message("device.lost").ends_with("is \"device.list\" meant?"));
        assert!(!message("xyz").contains("meant"));
    }
}
