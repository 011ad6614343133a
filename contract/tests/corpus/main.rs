//! A corpus of edits of Rust types, with the schemas that schemars makes of them.

#![allow(dead_code, missing_docs, reason = "the types exist for their schemas")]

#[path = "../support/mod.rs"]
mod support;

mod breaking;
mod ordinary;

/// One edit: the types before and after it.
macro_rules! edit {
    ($list:ident, $name:literal, params, { $($old:item)* } => { $($new:item)* }) => {
        edit!(@ $list, $name, params_schema, compare_params, { $($old)* } => { $($new)* });
    };
    ($list:ident, $name:literal, result, { $($old:item)* } => { $($new:item)* }) => {
        edit!(@ $list, $name, result_schema, compare_results, { $($old)* } => { $($new)* });
    };
    ($list:ident, $name:literal, both, { $($old:item)* } => { $($new:item)* }) => {
        edit!($list, $name, params, { $($old)* } => { $($new)* });
        edit!($list, $name, result, { $($old)* } => { $($new)* });
    };
    (@ $list:ident, $name:literal, $schema:ident, $compare:ident,
        { $($old:item)* } => { $($new:item)* }) => {
        $list.push(($name, {
            let old = { #[allow(unused_imports)] use super::types::*; $($old)*
                crate::support::$schema::<T>() };
            let new = { #[allow(unused_imports)] use super::types::*; $($new)*
                crate::support::$schema::<T>() };
            crate::support::$compare(&old, &new)
        }));
    };
}
use edit;

/// The names that the types of the corpus use.
mod types {
    pub(crate) use schemars::JsonSchema;
    pub(crate) use serde::{Deserialize, Serialize};
    pub(crate) use serde_json::{Map, Value};
    pub(crate) use std::borrow::Cow;
    pub(crate) use std::collections::{BTreeMap, BTreeSet, HashMap};
    pub(crate) use std::num::NonZeroU32;
    pub(crate) use std::time::Duration;
}
