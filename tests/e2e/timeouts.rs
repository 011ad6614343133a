//! Deadlines: who is answered when, and what becomes of the late.
