//! The tests of both clients against servers that play a script: what comes back, and what was sent for it.

mod support;

mod behaviour;
