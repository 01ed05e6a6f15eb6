//! What came of work that Ctrl-C may end early.

/// Work that was done, or stopped before that: nothing of it is then kept, and `resume` does it again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done<T> {
    /// Ended early: nothing of it is kept.
    Stopped,
    /// Done, with what it gave.
    Finished(T),
}
