//! Limits that hold: each refusal is an answer, and memory does not grow with what is only announced.
