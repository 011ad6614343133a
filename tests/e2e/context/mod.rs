//! The context of a request: deadline, cancellation, timing, bytes, and the hello that agrees on
//! them.

mod bytes_cost;
mod cancel_floods;
mod cancel_kinds;
mod cancellation;
mod client_deadlines;
mod deadline;
mod end_notice;
mod hello;
mod hostile_frames;
mod hostile_hellos;
mod hostile_members;
mod inheritance;
mod nested;
mod restarts;
mod timing;
