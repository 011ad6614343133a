//! Contracts: what the methods of plugins say about themselves.

mod descriptions;
