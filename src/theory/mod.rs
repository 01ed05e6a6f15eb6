//! The six claims: pure functions on records.
