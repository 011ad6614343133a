//! Whether two schemas that are not modelled are the same.

use std::collections::HashSet;

use serde_json::Value;

use super::steps::Steps;
use crate::modelled_keywords as keywords;
use crate::schema::{Node, Schema};

/// The steps that the comparison of one definition takes.
const DEFINITION_STEPS: usize = 100;

/// Returns whether both demand the same in the same words, definitions included.
pub(super) fn is_same(left: (&Schema, &Node), right: (&Schema, &Node), steps: &Steps) -> bool {
    let (Some(a), Some(b)) = (&left.1.unmodelled, &right.1.unmodelled) else { return false };
    if a != b {
        return false;
    }

    let mut seen = HashSet::new();
    let mut open = vec![a];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
        let reference = value.get("$ref").and_then(Value::as_str);
        let Some(reference) = reference.filter(|reference| seen.insert(*reference)) else { continue };

        let pointer = reference.trim_start_matches('#');
        let targets = (left.0.document.pointer(pointer), right.0.document.pointer(pointer));
        let (Some(target), Some(other)) = targets else { return false };
        let has_steps = steps.take(DEFINITION_STEPS);
        if !has_steps || keywords::without_remarks(target) != keywords::without_remarks(other) {
            return false;
        }
        open.push(target);
    }
    true
}
