//! Deadlines, cancellations, timings, and the hello that agrees on them.

mod cancellation;
mod deadline;
mod end_notice;
mod hello;
mod inheritance;
mod nested;
mod timing;
