//! Requests as JSON: what is read, what is refused, and how ids come back.
