//! The documents and the project, checked against each other.

mod consistency;
