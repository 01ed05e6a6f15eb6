//! A table of the user's own: a JSON file with the slots and the words of its space, and of every cell its accuracies.
//!
//! ```json
//! {
//!   "slots": ["A", "B"],
//!   "words": ["none", "skip", "conv"],
//!   "cells": {
//!     "none none": [0.100, 0.103],
//!     "none skip": [0.412, 0.420],
//!     ..
//!   }
//! }
//! ```
//!
//! A cell is its words in the order of the slots. Each of the `words ^ slots` cells is there once, with one accuracy or more, from 0 to 1, one
//! a training seed. What [`Space::of`] says of slots and words holds; an LLM needs each as one token of its tokenizer, with a space before it
//! (of the slots only where it writes deltas).

use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::cell::Cell;
use super::space::Space;
use super::table::{Entry, Table};
use crate::base::error::{Error, Result};
use crate::base::files::read_file;
use crate::base::hash::sha256;

/// Bytes of a file at most: three accuracies each of as many cells as a space may have, and room to spare.
const MOST_BYTES: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    slots: Vec<String>,
    words: Vec<String>,
    #[serde(deserialize_with = "pairs")]
    cells: Vec<(String, Vec<f64>)>,
}

/// The pairs of an object as they stand there: a map would keep one of two cells of the same name and say nothing.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<(String, Vec<f64>)>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, Vec<f64>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of cells and their accuracies")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Self::Value, M::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    from.deserialize_map(Pairs)
}

/// Whether a setting names such a file.
pub(crate) fn is_named(dataset: &str) -> bool {
    Path::new(dataset).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// Reads the file of that name, from the folder where the program was started.
///
/// # Errors
/// When it is not there, or see [`read`].
pub(crate) fn load(path: &Path) -> Result<Table> {
    if !path.exists() {
        return Err(Error::input(format!("there is no table {}", path.display()))
            .hint("the path is taken from where eliteloop is started: put the file there, or start eliteloop where the path leads to it"));
    }
    let bytes = read_file(path, "read the table", MOST_BYTES)?;
    read(&bytes).map_err(|e| {
        let hint = e.hint_text().unwrap_or(r#"a table is {"slots": [..], "words": [..], "cells": {"WORD WORD ..": [accuracy, ..], ..}}"#);
        Error::input(format!("{}: {e}", path.display())).hint(hint)
    })
}

/// Reads a table from the bytes of its file.
///
/// # Errors
/// When it is no JSON of this shape, [`Space::of`] refuses its slots and words, a cell is missing, there twice or none of the space, or an
/// accuracy is none.
pub fn read(bytes: &[u8]) -> Result<Table> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|e| Error::input("not a table of cells").caused_by(e))?;
    let space = Space::of(stored.slots, stored.words)?;
    let mut entries: Vec<Option<Entry>> = vec![None; space.cells()];
    for (text, accuracy) in stored.cells {
        let cell = Cell::parse(space, &text)?;
        if accuracy.is_empty() {
            return Err(Error::input(format!("cell '{cell}' has no accuracy")));
        }
        if let Some(wrong) = accuracy.iter().find(|a| !(0.0..=1.0).contains(*a)) {
            let error = Error::input(format!("cell '{cell}': {wrong} is no accuracy from 0 to 1"));
            let percent = *wrong > 1.0 && *wrong <= 100.0;
            return Err(if percent { error.hint(format!("accuracies are shares of 1: {}", wrong / 100.0)) } else { error });
        }
        if entries[cell.index()].replace(Entry { accuracy, costs: None }).is_some() {
            return Err(Error::input(format!("cell '{cell}' is there twice")));
        }
    }
    if let Some(first) = entries.iter().position(Option::is_none) {
        let missing = entries.iter().filter(|e| e.is_none()).count();
        let cell = Cell::at(space, first);
        return Err(Error::input(format!("{missing} of {} cells are missing, the first is '{cell}'", space.cells())));
    }
    Ok(Table::of(space, entries.into_iter().flatten().collect(), sha256(bytes)))
}
