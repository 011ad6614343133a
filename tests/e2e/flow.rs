//! The flow of a request: where it goes, in which order replies come, and how connections end.

mod endings;
mod lines;
mod many;
mod order;
mod routes;
