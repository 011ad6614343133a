//! Plugins that panic, fail repeatedly, block or never return, and the effect on everyone else.

mod abandoned_calls;
mod circuit_breaker;
mod error_details;
mod inline_demotion;
mod loader_lock;
mod lost_threads;
mod neighbours;
mod panics;
mod process_state;
mod stalled_threads;
mod thread_ends;
mod thread_locals;
