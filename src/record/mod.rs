//! The run on disk.
