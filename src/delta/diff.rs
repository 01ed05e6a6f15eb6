//! Unified diff.
//!
//! A hunk starts with a line `@@..`, whose numbers are not read. Its context and removed lines, taken together, must match the
//! parent at exactly one place after the hunk before. A `---` and a `+++` line may stand before the first hunk.

use std::collections::HashMap;
use std::ops::Range;

use similar::DiffOp;

use super::text::{Text, changes, delta_lines};
use super::{Failure, Rules};

/// The format.
pub(super) struct Diff;

impl Rules for Diff {
    fn request(&self) -> &'static str {
        "Change this network. Answer with a unified diff."
    }

    fn longest(&self) -> usize {
        320
    }

    fn apply(&self, parent: &str, delta: &str) -> Result<String, Failure> {
        apply(parent, delta)
    }

    fn write(&self, parent: &str, child: &str) -> Option<String> {
        write(parent, child)
    }

    fn given<'a>(&self, line: &'a str) -> Option<&'a str> {
        line.strip_prefix('+')
    }
}

#[derive(Default)]
struct Hunk<'a> {
    /// Context and removed lines.
    old: Vec<&'a str>,
    /// Context and added lines.
    new: Vec<&'a str>,
}

fn apply(parent: &str, delta: &str) -> Result<String, Failure> {
    let text = Text::new(parent);
    let mut names = Names::default();
    let lines = names.of(&text.lines);
    let mut result: Vec<&str> = Vec::new();
    let mut done = 0;
    for (i, hunk) in parse(delta)?.iter().enumerate() {
        let old = names.of(&hunk.old);
        let start = match places(&lines, done, &old) {
            (1, start) => start,
            (0, _) => return Err(Failure::ContextNotFound { hunk: i + 1 }),
            (places, _) => return Err(Failure::Ambiguous { hunk: i + 1, places }),
        };
        result.extend(&text.lines[done..start]);
        result.extend(&hunk.new);
        done = start + old.len();
    }
    result.extend(&text.lines[done..]);
    Ok(text.join(&result))
}

fn parse(delta: &str) -> Result<Vec<Hunk<'_>>, Failure> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for (i, line) in delta_lines(delta).enumerate() {
        if line.starts_with("@@") {
            hunks.push(Hunk::default());
            continue;
        }
        let Some(hunk) = hunks.last_mut() else {
            if (i == 0 && line.starts_with("---")) || (i <= 1 && line.starts_with("+++")) {
                continue;
            }
            return Err(Failure::Malformed { line: i + 1 });
        };
        let text = line.get(1..).unwrap_or_default();
        match line.as_bytes().first() {
            // An empty line is an empty context line whose blank got lost.
            None | Some(b' ') => {
                hunk.old.push(text);
                hunk.new.push(text);
            }
            Some(b'-') => hunk.old.push(text),
            Some(b'+') => hunk.new.push(text),
            Some(_) => return Err(Failure::Malformed { line: i + 1 }),
        }
    }
    if hunks.is_empty() { Err(Failure::Nothing) } else { Ok(hunks) }
}

/// Equal lines have equal numbers, so that searching does not compare text.
#[derive(Default)]
struct Names<'a>(HashMap<&'a str, usize>);

impl<'a> Names<'a> {
    fn of(&mut self, lines: &[&'a str]) -> Vec<usize> {
        lines
            .iter()
            .map(|&line| {
                let next = self.0.len();
                *self.0.entry(line).or_insert(next)
            })
            .collect()
    }
}

/// At how many places at or after `from` the lines `old` stand, and the last such place.
fn places(lines: &[usize], from: usize, old: &[usize]) -> (usize, usize) {
    let ends = lines.len() + 1;
    let found = (from..ends.saturating_sub(old.len())).filter(|&start| lines[start..].starts_with(old));
    found.fold((0, from), |(count, _), start| (count + 1, start))
}

fn write(parent: &str, child: &str) -> Option<String> {
    let (old, new) = (Text::new(parent), Text::new(child));
    let lines = Names::default().of(&old.lines);
    let ops = changes(&old.lines, &new.lines);
    let changes: Vec<Range<usize>> = ops.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })).map(DiffOp::old_range).collect();
    if changes.is_empty() {
        return None;
    }
    // Each change starts with one line of context; an ambiguous hunk gets more until it is the only match.
    let mut context = vec![1; changes.len()];
    let hunks = loop {
        let hunks = merged(&changes, &context, lines.len());
        let mut done = 0;
        let ambiguous = hunks.iter().position(|(_, range)| {
            let count = places(&lines, done, &lines[range.clone()]).0;
            done = range.end;
            count > 1
        });
        let Some(at) = ambiguous else { break hunks };
        // A hunk that starts where the one before ends and reaches the end of the file is the only match.
        for k in hunks[at].0.clone() {
            context[k] += 1;
        }
    };
    let mut delta = String::new();
    for (_, range) in hunks {
        delta.push_str("@@\n");
        for op in &ops {
            let (_, op_old, op_new) = op.as_tag_tuple();
            let (from, to) = (op_old.start.max(range.start), op_old.end.min(range.end));
            if let DiffOp::Equal { .. } = op {
                push(&mut delta, ' ', old.lines.get(from..to).unwrap_or_default());
            } else if op_old.start >= range.start && op_old.end <= range.end {
                push(&mut delta, '-', &old.lines[op_old]);
                push(&mut delta, '+', &new.lines[op_new]);
            }
        }
    }
    Some(delta)
}

/// The hunks with their context: which changes each holds and which lines of the parent it covers.
fn merged(changes: &[Range<usize>], context: &[usize], lines: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let mut hunks: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for (k, change) in changes.iter().enumerate() {
        let range = change.start.saturating_sub(context[k])..(change.end + context[k]).min(lines);
        match hunks.last_mut() {
            Some((members, covered)) if range.start <= covered.end => {
                members.end = k + 1;
                *covered = covered.start.min(range.start)..covered.end.max(range.end);
            }
            _ => hunks.push((k..k + 1, range)),
        }
    }
    hunks
}

fn push(delta: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        delta.push(mark);
        delta.push_str(line);
        delta.push('\n');
    }
}
