//! Plugins in worker processes.

mod sandbox;
