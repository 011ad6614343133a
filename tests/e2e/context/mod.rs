//! What travels with a request: deadline, cancellation, timing, and the hello that agrees on them.

mod cancellation;
mod deadline;
mod end_notice;
mod hello;
mod timing;
