//! The host inside another program.
