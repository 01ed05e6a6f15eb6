//! A source as lines that join to the same bytes again, whatever its line ends.

use similar::DiffOp;
use similar::algorithms::{Capture, Replace};

/// Lines without their ends. A text whose every line ends in CR LF keeps CR LF, any other LF; a missing last line end stays missing.
pub(super) struct Text<'a> {
    pub(crate) lines: Vec<&'a str>,
    end: &'static str,
    closed: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let feeds = text.matches('\n').count();
        let end = if feeds > 0 && text.matches("\r\n").count() == feeds { "\r\n" } else { "\n" };
        if text.is_empty() {
            return Self { lines: Vec::new(), end, closed: true };
        }
        let (body, closed) = text.strip_suffix(end).map_or((text, false), |body| (body, true));
        Self { lines: body.split(end).collect(), end, closed }
    }

    /// The text with other lines; line ends as they were.
    pub(crate) fn join<S: AsRef<str>>(&self, lines: &[S]) -> String {
        let mut text = String::new();
        for (i, line) in lines.iter().enumerate() {
            if i > 0 {
                text.push_str(self.end);
            }
            text.push_str(line.as_ref());
        }
        if self.closed && !lines.is_empty() {
            text.push_str(self.end);
        }
        text
    }
}

/// The lines of a delta; both LF and CR LF end one, and the last end may be missing.
pub(super) fn delta_lines(delta: &str) -> impl Iterator<Item = &str> {
    delta.strip_suffix('\n').unwrap_or(delta).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line))
}

pub(super) fn is_blank(line: &str) -> bool {
    line.trim_start().is_empty()
}

/// Leading white space.
pub(super) fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The steps from `old` to `new` (Myers). Taken without `similar`'s compaction, which may move an insertion of repeated
/// lines to where it no longer gives `new`.
pub(crate) fn changes(old: &[&str], new: &[&str]) -> Vec<DiffOp> {
    let mut steps = Replace::new(Capture::new());
    let Ok(()) = similar::algorithms::myers::diff(&mut steps, old, 0..old.len(), new, 0..new.len());
    steps.into_inner().into_ops()
}
