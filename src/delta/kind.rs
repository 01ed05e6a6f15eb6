//! What a delta does to its parent's lines, whatever format it is written in.

use serde::Serialize;
use similar::DiffOp;

use super::text::{Text, changes};

/// How the child's lines differ from the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Lines added at one place.
    Insertion,
    /// Lines removed at one place.
    Deletion,
    /// Lines in the place of others, at one place.
    Replacement,
    /// Changes with unchanged lines between them.
    Several,
}

/// None where the lines are the same.
///
/// ```
/// use eliteloop::delta::kind::{Kind, kind};
/// assert_eq!(kind("a\nb\n", "a\nc\nb\n"), Some(Kind::Insertion));
/// assert_eq!(kind("a\nb\n", "a\n"), Some(Kind::Deletion));
/// assert_eq!(kind("a\nb\n", "a\nc\nd\n"), Some(Kind::Replacement));
/// assert_eq!(kind("a\nb\nc\n", "x\nb\n"), Some(Kind::Several));
/// assert_eq!(kind("a\n", "a\n"), None);
/// ```
#[must_use]
pub fn kind(parent: &str, child: &str) -> Option<Kind> {
    let (old, new) = (Text::new(parent), Text::new(child));
    let steps = changes(&old.lines, &new.lines);
    let mut changed = steps.iter().filter(|step| !matches!(step, DiffOp::Equal { .. }));
    let first = changed.next()?;
    Some(match first {
        _ if changed.next().is_some() => Kind::Several,
        DiffOp::Insert { .. } => Kind::Insertion,
        DiffOp::Delete { .. } => Kind::Deletion,
        DiffOp::Replace { .. } | DiffOp::Equal { .. } => Kind::Replacement,
    })
}
