//! Properties of the comparison, over pairs of schemas whose compatibility is known.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod edits;
mod instances;
#[path = "../support/mod.rs"]
mod support;
mod types;

use edits::{EDITS, NEUTRAL, OPENING, apply};
use instances::instances;
use jackfield_contract::{Comparison, Schema, Verdict};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use support::{compare_params, compare_results, texts};
use types::{Type, Writer, root_type};

/// Two styles, to write the same type twice.
fn styles() -> impl Strategy<Value = (u64, u64)> {
    (any::<u64>(), any::<u64>())
}

fn expect(comparison: &Comparison, verdict: Verdict, old: &Value, new: &Value) -> Result<(), TestCaseError> {
    prop_assert_eq!(comparison.verdict(), verdict, "{:?}\nold {}\nnew {}", texts(comparison), old, new);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_no_change_where_a_type_is_written_in_another_way(of in root_type(), styles in styles()) {
        let (old, new) = (Writer::write(styles.0, &of), Writer::write(styles.1, &of));
        expect(&compare_params(&old, &new), Verdict::Compatible, &old, &new)?;
        expect(&compare_results(&old, &new), Verdict::Compatible, &old, &new)?;
    }

    #[test]
    fn tells_wider_types_from_narrower_ones(
        of in root_type(), styles in styles(), at in any::<Index>(), (name, edit) in select(EDITS),
    ) {
        let Some(wider) = apply(&of, at.index(1000), edit) else { return Ok(()) };
        prop_assume!(!matches!(wider, Type::Option(_)), "null is missing at the root of params: {}", name);
        let (narrow, wide) = (Writer::write(styles.0, &of), Writer::write(styles.1, &wider));

        expect(&compare_params(&narrow, &wide), Verdict::Compatible, &narrow, &wide)?;
        expect(&compare_params(&wide, &narrow), Verdict::Incompatible, &wide, &narrow)?;
        expect(&compare_results(&wide, &narrow), Verdict::Compatible, &wide, &narrow)?;
        expect(&compare_results(&narrow, &wide), Verdict::Incompatible, &narrow, &wide)?;
    }

    #[test]
    fn knows_which_further_members_matter(
        of in root_type(), styles in styles(), at in any::<Index>(),
        (_, opening) in select(OPENING), (_, neutral) in select(NEUTRAL),
    ) {
        let old = Writer::write(styles.0, &of);
        if let Some(open) = apply(&of, at.index(1000), opening) {
            let new = Writer::write(styles.1, &open);
            expect(&compare_params(&old, &new), Verdict::Compatible, &old, &new)?;
            expect(&compare_params(&new, &old), Verdict::Incompatible, &new, &old)?;
            expect(&compare_results(&new, &old), Verdict::Compatible, &new, &old)?;
        }
        if let Some(more) = apply(&of, at.index(1000), neutral) {
            let new = Writer::write(styles.1, &more);
            for comparison in [compare_params(&old, &new), compare_params(&new, &old),
                compare_results(&old, &new), compare_results(&new, &old)] {
                expect(&comparison, Verdict::Compatible, &old, &new)?;
            }
        }
    }

    /// An independent validator decides: after several edits in both directions.
    #[test]
    fn agrees_with_a_validator(
        of in root_type(), styles in styles(), edits in prop::collection::vec((any::<Index>(), select(EDITS)), 0..3),
        others in prop::collection::vec((any::<Index>(), select(EDITS)), 0..2),
    ) {
        let edited = |edits: Vec<(Index, (&str, edits::Edit))>| edits.into_iter().fold(of.clone(), |of, (at, (_, edit))| {
            apply(&of, at.index(1000), edit).unwrap_or(of)
        });
        let (before, after) = (edited(others), edited(edits));
        prop_assume!(!matches!(before, Type::Option(_)));
        let (old, new) = (Writer::write(styles.0, &before), Writer::write(styles.1, &after));

        // Each value of the first type must be one of the second one, or a finding says that not.
        for (comparison, values, schema) in [
            (compare_params(&old, &new), &before, &new),
            (compare_results(&old, &new), &after, &old),
        ] {
            let validator = jsonschema::draft202012::new(schema).unwrap();
            match comparison.verdict() {
                Verdict::Compatible => for value in instances(values, false) {
                    prop_assert!(validator.is_valid(&value), "{}\nold {}\nnew {}", value, old, new);
                },
                Verdict::Incompatible => {
                    let is_refused = |value: &Value| !validator.is_valid(value);
                    prop_assert!(
                        instances(values, true).iter().any(is_refused),
                        "no witness of {:?}\nold {}\nnew {}", texts(&comparison), old, new
                    );
                }
                Verdict::Unknown => prop_assert!(false, "{:?}\nold {}\nnew {}", texts(&comparison), old, new),
            }
        }
    }

    /// An independent validator decides whether a value has faults.
    #[test]
    fn finds_faults_in_what_a_validator_refuses(
        of in root_type(), styles in styles(), at in any::<Index>(), edit in select(EDITS),
    ) {
        let document = Writer::write(styles.0, &of);
        let schema = Schema::from_value(document.clone()).unwrap();
        let validator = jsonschema::draft202012::new(&document).unwrap();
        let other = apply(&of, at.index(1000), edit.1).unwrap_or_else(|| of.clone());

        for value in instances(&of, true).into_iter().chain(instances(&other, true)) {
            let faults = schema.faults(&value, 20);
            prop_assert_eq!(faults.is_empty(), validator.is_valid(&value), "{} {}: {:?}", document, value, faults);
        }
    }
}

#[test]
fn makes_instances_that_the_validator_admits() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    runner
        .run(&root_type(), |of| {
            let schema = Writer::write(0x1234_5678_9abc_def0, &of);
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            for value in instances(&of, true) {
                prop_assert!(validator.is_valid(&value), "{}: {}", value, schema);
            }
            Ok(())
        })
        .unwrap();
}
