//! A typed plugin function behind a stable ABI.
//!
//! Params and result cross as JSON bytes, as in any plugin. The function is not loaded from a file,
//! but the call goes through the table of `extern "C"` functions of abi_stable all the same.
#![allow(non_local_definitions, reason = "the code that sabi_trait writes")]

use std::hint::black_box;

use abi_stable::sabi_trait;
use abi_stable::sabi_trait::prelude::TD_Opaque;
use abi_stable::std_types::{RBox, RSlice, RVec};

use crate::device::{Device, UpdateParams};

/// A method of a plugin.
#[sabi_trait]
pub trait Method: Send + Sync {
    /// Appends the result as JSON, and returns false if the params are invalid.
    fn call(&self, params: RSlice<'_, u8>, result: &mut RVec<u8>) -> bool;
}

pub(crate) type BoxedMethod = Method_TO<'static, RBox<()>>;

struct Update(Device);

impl Method for Update {
    fn call(&self, params: RSlice<'_, u8>, result: &mut RVec<u8>) -> bool {
        let Ok(params) = serde_json::from_slice::<UpdateParams>(params.as_slice()) else { return false };
        let Some(updated) = self.0.update(params) else { return false };
        serde_json::to_writer(result, &updated).is_ok()
    }
}

/// Returns the method. `black_box` keeps the compiler from calling it directly.
pub(crate) fn update_method() -> BoxedMethod {
    black_box(Method_TO::from_value(Update(Device::new()), TD_Opaque))
}
