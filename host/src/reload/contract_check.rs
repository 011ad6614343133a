//! Checks that callers of the content that serves can go on with new content of its file.

use jackfield_contract::{Comparison, Contract, Finding, Verdict, compare};

use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use super::transaction::Purpose;
use crate::config::{Config, IncompatiblePolicy};
use crate::loader::{LoadError, LoadErrorReason};
use crate::log::printable;

/// The most findings that one message names.
const SHOWN_MAX: usize = 5;

impl PluginOwner {
    /// Compares the contract of new content with that of what serves.
    ///
    /// Only the content of a file is checked. A rollback, changed settings and a changed isolation
    /// are not: refusing them would keep what an operator wants to leave. Nothing serves when the
    /// host starts.
    ///
    /// The thread of the plugin owner compares: the limit of steps is a fraction of a second, even
    /// for schemas that are made to be slow.
    ///
    /// # Errors
    ///
    /// The new content breaks callers, and the configuration refuses that.
    pub(super) fn check_contract(
        &self,
        name: &str,
        purpose: Purpose,
        new: &Contract,
        config: &Config,
    ) -> Result<(), LoadError> {
        let Purpose::LoadFile { allow_incompatible } = purpose else { return Ok(()) };
        let Some(serving) = self.slots.get(name).and_then(PluginSlot::generation) else { return Ok(()) };
        let policy = config.incompatible_policy(name);
        if policy == IncompatiblePolicy::Ignore {
            return Ok(());
        }

        let comparison = compare(&serving.contract, new);
        let generation = serving.identity.number;
        let is_refused = comparison.verdict() == Verdict::Incompatible
            && policy == IncompatiblePolicy::Refuse
            && !allow_incompatible;
        if is_refused {
            return Err(refusal(name, generation, &comparison));
        }

        log_comparison(name, generation, &comparison);
        Ok(())
    }
}

/// Logs what a comparison has found about content that is loaded.
fn log_comparison(name: &str, generation: u64, comparison: &Comparison) {
    match comparison.verdict() {
        Verdict::Compatible => {}
        Verdict::Unknown => {
            let shown = listed(&comparison.unknown);
            tracing::debug!(
                plugin = name,
                "plugin {name}: whether the new content breaks callers of generation {generation} is not known: {shown}"
            );
        }
        Verdict::Incompatible => {
            let shown = listed(&comparison.breaking);
            tracing::warn!(
                plugin = name,
                changes = comparison.breaking.len(),
                "plugin {name}: the new content breaks callers of generation {generation}: {shown}"
            );
        }
    }
}

fn refusal(name: &str, generation: u64, comparison: &Comparison) -> LoadError {
    let shown = listed(&comparison.breaking);
    LoadError::new(
        LoadErrorReason::Incompatible,
        format_args!(
            "it breaks callers of generation {generation} ({shown}); the next start of the host loads it: replace the \
             file, or run \"jackfield plugin reload {name} --allow-incompatible\""
        ),
    )
}

/// Returns the first findings in one line, and the number of the others.
fn listed(findings: &[Finding]) -> String {
    let mut shown: Vec<_> = findings.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if let Some(more) = findings.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    // The names come from the plugin.
    printable(&shown.join("; ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(number: usize) -> Finding {
        Finding {
            method: format!("a.m{number}"),
            path: "params.x".to_owned(),
            change: "is required now".to_owned(),
        }
    }

    #[test]
    fn lists_the_first_findings_and_counts_the_others() {
        let findings: Vec<_> = (1..=SHOWN_MAX + 2).map(finding).collect();
        assert_eq!(listed(&findings[..1]), "a.m1: params.x: is required now");
        assert!(listed(&findings).ends_with("; a.m5: params.x: is required now; 2 more"));
        assert!(!listed(&findings[..SHOWN_MAX]).contains("more"));
    }

    #[test]
    fn names_the_remedy() {
        let comparison = Comparison { breaking: vec![finding(1)], unknown: Vec::new() };
        let refused = refusal("device", 7, &comparison);
        assert_eq!(
            refused.to_string(),
            "incompatible: it breaks callers of generation 7 (a.m1: params.x: is required now); the next start of the host \
             loads it: replace the file, or run \"jackfield plugin reload device --allow-incompatible\""
        );
    }
}
