//! The PHP script that packs the seven bytes by hand, run against the real program.
