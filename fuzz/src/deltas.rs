//! Deltas of every format, and files of measured ones.

use eliteloop::delta::grammar::{Grammar, Lines};
use eliteloop::delta::kind::kind;
use eliteloop::delta::settings::Format;
use eliteloop::delta::{apply, apply_completion, show, write};
use eliteloop::record::deltas;

use super::{file, files};

/// A format, a parent and a delta: it applies or is refused; what the grammar lets pass applies; the delta between two sources gives the second
/// of the first.
pub fn delta(bytes: &[u8]) {
    let Some((format, rest)) = bytes.split_first() else { return };
    let format = [Format::Edit, Format::Diff, Format::Full][usize::from(format % 3)];
    let [parent, delta] = files::<2>(rest);
    let Ok(parent) = std::str::from_utf8(parent) else { return };
    let _ = show(format, parent);
    let applied = apply_completion(format, parent, delta, true);
    let grammar = Grammar::new(format, parent, Lines::Free);
    if let Some(state) = grammar.advance(grammar.start(), delta) {
        assert!(!grammar.ends(state, delta) || applied.is_ok(), "{format:?}: the grammar accepts what does not apply");
    }
    if let Ok(child) = applied {
        let _ = kind(parent, &child);
        if let Some(written) = write(format, parent, &child) {
            assert!(apply(format, parent, &written).as_deref() == Ok(child.as_str()), "{format:?}: a delta that gives another child");
        }
    }
}

/// A file of measured deltas.
pub fn measured(bytes: &[u8]) {
    let Ok(read) = deltas::read(&file("measured.jsonl", bytes)) else { return };
    assert!(read.iter().all(|delta| delta.gain().is_finite()));
    let again = scratch_copy(&read);
    assert!(again.len() == read.len(), "{} deltas came back as {}", read.len(), again.len());
}

fn scratch_copy(read: &[deltas::MeasuredDelta]) -> Vec<deltas::MeasuredDelta> {
    let path = super::scratch().join("again.jsonl");
    deltas::write(&path, read).expect("what was read can be written");
    deltas::read(&path).expect("what was written is read")
}
