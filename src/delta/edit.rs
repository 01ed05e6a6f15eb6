//! Numbered edits, the format that small models write best.
//!
//! The parent is shown with its lines numbered from 1 and their indentation left out. An edit is a header line and the
//! lines below it, up to the next header:
//!
//! | header | meaning |
//! |---|---|
//! | `5` | lines given replace line 5; none given: it is deleted |
//! | `5-8` | the same for lines 5 to 8 |
//! | `5+` | lines given stand after line 5; `0+`: at the top |
//!
//! Edits are in ascending order and do not overlap. The writer of a delta does not see indentation, so it is implied: the first
//! line given that is not blank stands at the indentation of the first line replaced, or, for an insertion, at the deeper one of
//! the two neighbours (blank lines skipped). The other lines keep their indentation relative to that first line. Blank
//! lines are taken as they are.

use std::fmt::Write as _;

use similar::DiffOp;

use super::text::{Text, changes, delta_lines, indentation, is_blank};
use super::{Failure, MAX_BYTES, Rules};

/// The format.
pub(super) struct Edit;

impl Rules for Edit {
    fn request(&self) -> &'static str {
        "Change this network. Answer with numbered edits: 5 or 5-8 and the new lines, 5+ and lines to insert."
    }

    fn longest(&self) -> usize {
        160
    }

    fn show(&self, parent: &str) -> String {
        show(parent)
    }

    fn apply(&self, parent: &str, delta: &str) -> Result<String, Failure> {
        apply(parent, delta)
    }

    fn write(&self, parent: &str, child: &str) -> Option<String> {
        write(parent, child)
    }
}

/// The parent's lines `start..end` (from 0) make way for `given`.
struct Step<'a> {
    start: usize,
    end: usize,
    given: Vec<&'a str>,
    /// Line of the delta, from 1, that holds the header.
    line: usize,
}

fn show(parent: &str) -> String {
    let mut shown = String::new();
    for (i, line) in Text::new(parent).lines.iter().enumerate() {
        let _ = match line.trim() {
            "" => writeln!(shown, "{}", i + 1),
            text => writeln!(shown, "{} {text}", i + 1),
        };
    }
    shown
}

fn apply(parent: &str, delta: &str) -> Result<String, Failure> {
    let text = Text::new(parent);
    let levels = Levels::new(&text.lines);
    let mut result: Vec<String> = Vec::new();
    let mut size = 0;
    let mut done = 0;
    for edit in parse(delta, text.lines.len())? {
        if edit.start < done {
            return Err(Failure::OutOfOrder { line: edit.line });
        }
        result.extend(text.lines[done..edit.start].iter().map(|&line| line.to_owned()));
        let base = levels.base(edit.start, edit.end);
        let first = edit.given.iter().find(|line| !is_blank(line)).map_or("", |line| indentation(line));
        for (i, line) in edit.given.iter().enumerate() {
            let line = if is_blank(line) {
                (*line).to_owned()
            } else {
                place(line, first, base).ok_or(Failure::Malformed { line: edit.line + 1 + i })?
            };
            size += line.len();
            if size > MAX_BYTES {
                return Err(Failure::TooLong);
            }
            result.push(line);
        }
        done = edit.end;
    }
    result.extend(text.lines[done..].iter().map(|&line| line.to_owned()));
    Ok(text.join(&result))
}

fn parse(delta: &str, lines: usize) -> Result<Vec<Step<'_>>, Failure> {
    let mut edits: Vec<Step> = Vec::new();
    for (i, text) in delta_lines(delta).enumerate() {
        let line = i + 1;
        if let Some((start, end)) = header(text) {
            if start > end || end > lines {
                return Err(Failure::OutOfRange { line });
            }
            edits.push(Step { start, end, given: Vec::new(), line });
        } else {
            edits.last_mut().ok_or(Failure::Malformed { line })?.given.push(text);
        }
    }
    Ok(edits)
}

/// The lines `start..end` (from 0) that a header speaks of; start > end where it is a header but no such lines can be.
fn header(line: &str) -> Option<(usize, usize)> {
    // Only a number too large for the type does not parse, and no parent has such a line.
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().unwrap_or(usize::MAX))
    };
    if let Some(after) = line.strip_suffix('+') {
        return number(after).map(|after| (after, after));
    }
    let (first, last) = line.split_once('-').unwrap_or((line, line));
    let (first, last) = (number(first)?, number(last)?);
    Some(if first == 0 || last < first { (1, 0) } else { (first - 1, last) })
}

/// `line` with `first` (the indentation of the first line given) exchanged for `base`; deeper and shallower lines follow.
fn place(line: &str, first: &str, base: &str) -> Option<String> {
    let own = indentation(line);
    let code = &line[own.len()..];
    if let Some(deeper) = own.strip_prefix(first) {
        return Some(format!("{base}{deeper}{code}"));
    }
    let shallower = first.strip_prefix(own)?;
    Some(format!("{}{code}", base.strip_suffix(shallower)?))
}

/// Indentation of the parent's lines and of their neighbours.
pub(super) struct Levels<'a> {
    lines: &'a [&'a str],
    /// For each position, the nearest line before it that is not blank, and at or after it.
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
}

impl<'a> Levels<'a> {
    pub(super) fn new(lines: &'a [&'a str]) -> Self {
        let n = lines.len();
        let (mut before, mut after) = (vec![None; n + 1], vec![None; n + 1]);
        for i in 0..n {
            before[i + 1] = if is_blank(lines[i]) { before[i] } else { Some(i) };
            let j = n - 1 - i;
            after[j] = if is_blank(lines[j]) { after[j + 1] } else { Some(j) };
        }
        Self { lines, before, after }
    }

    /// Where the first line given stands when lines `start..end` are replaced (none of them: an insertion).
    pub(super) fn base(&self, start: usize, end: usize) -> &'a str {
        let level = |line: Option<usize>| line.map_or("", |i| indentation(self.lines[i]));
        match self.after[start] {
            Some(first) if first < end => indentation(self.lines[first]),
            next => {
                let (above, below) = (level(self.before[start]), level(next));
                if below.len() > above.len() { below } else { above }
            }
        }
    }
}

fn write(parent: &str, child: &str) -> Option<String> {
    let (old, new) = (Text::new(parent), Text::new(child));
    let levels = Levels::new(&old.lines);
    let mut delta = String::new();
    let mut done = 0;
    for op in changes(&old.lines, &new.lines) {
        let (_, range, given) = op.as_tag_tuple();
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let (mut start, mut given) = (range.start, given);
        // Where the implied indentation is not the right one, the line above is given again, which sets it.
        while !stands_at(&new.lines[given.clone()], levels.base(start, range.end)) {
            (start, given.start) = (start.checked_sub(1).filter(|&s| s >= done)?, given.start.checked_sub(1)?);
        }
        done = range.end;
        let _ = match (range.end - start, start) {
            (0, after) => writeln!(delta, "{after}+"),
            (1, line) => writeln!(delta, "{}", line + 1),
            (_, first) => writeln!(delta, "{}-{}", first + 1, range.end),
        };
        let given = &new.lines[given];
        let least = given.iter().filter(|line| !is_blank(line)).map(|line| indentation(line)).min_by_key(|own| own.len()).unwrap_or("");
        for line in given {
            let _ = writeln!(delta, "{}", line.strip_prefix(least).unwrap_or(line));
        }
    }
    Some(delta)
}

fn stands_at(given: &[&str], base: &str) -> bool {
    given.iter().find(|line| !is_blank(line)).is_none_or(|line| indentation(line) == base)
}
