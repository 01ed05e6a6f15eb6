//! One test a bug, named for it.

use eliteloop::delta::settings::Format;
use eliteloop::delta::{apply, write};

#[test]
fn an_insertion_among_repeated_blank_lines_is_written_where_it_belongs() {
    let (parent, child) = ("a\na\n  \na\n\n\na\n", "a\na\n\n\nb\n\na\n");
    let delta = write(Format::Diff, parent, child).expect("a diff can say every change");
    assert_eq!(apply(Format::Diff, parent, &delta).as_deref(), Ok(child));
}
