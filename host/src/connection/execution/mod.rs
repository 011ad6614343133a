//! The execution of admitted requests: [`RequestPipeline::execute`] runs one wherever its method
//! runs.
//!
//! - An `inline` method runs on this thread and writes its result into the output of the turn.
//! - An `async` method that is always ready at its first poll is polled on this thread. If its
//!   future is not ready, the async thread of its generation continues with it.
//! - Everything else becomes a call in flight. It is submitted to a thread of its generation,
//!   together with the other calls of the turn, or waits in the sync queue until it may.
//!
//! [`RequestPipeline::execute`]: super::pipeline::RequestPipeline::execute

mod admitted;
mod execute;
mod local;
mod submission;

pub(super) use self::admitted::{AdmittedRequest, CallLimits};
