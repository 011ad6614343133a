//! The documents and the project, compared with each other.

mod consistency;
