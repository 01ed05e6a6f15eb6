//! Tables of 64 cells, for audits in which the number of cells is not the point: an exact pass over them costs next to nothing. One has the
//! words of a tiny model's tokenizer, so that an audit of it takes no download and a second.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use eliteloop::base::files::write_whole;
use eliteloop::oracle::{Cell, Space, Table, table_file};

pub const MODEL_WORDS: ([&str; 3], [&str; 4]) = (["A", "B", "C"], ["none", "skip", "one", "three"]);
pub const TINY_WORDS: ([&str; 3], [&str; 4]) = (["F", "x", "ret"], ["self", "for", "nn", "pad"]);

/// Two trainings of each cell: a sum over its slots, a little of its own, and noise. No two cells are alike.
pub fn accuracies(index: usize) -> [f64; 2] {
    let words = [index / 16, index / 4 % 4, index % 4];
    let own = |salt: usize| ((index + 1) as f64 * (0.618_034 + 0.137 * salt as f64)).fract() - 0.5;
    let sum: f64 = words.iter().enumerate().map(|(slot, word)| ((slot * 5 + word * 3) % 7) as f64).sum();
    let truth = 0.6 + 0.015 * sum + 0.03 * own(1);
    [truth + 0.01 * own(2), truth - 0.01 * own(3)]
}

/// The text of a table of these slots and words.
pub fn text(slots: &[&str], words: &[&str]) -> String {
    let cell = |index: usize| [index / 16, index / 4 % 4, index % 4].map(|word| words[word]).join(" ");
    let cells: serde_json::Map<_, _> = (0..64).map(|index| (cell(index), serde_json::json!(accuracies(index)))).collect();
    serde_json::json!({ "slots": slots, "words": words, "cells": cells }).to_string()
}

fn written(name: &str, (slots, words): ([&str; 3], [&str; 4])) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    write_whole(&path, text(&slots, &words).as_bytes()).unwrap();
    path
}

/// The file of the table whose words the default model has.
pub fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| written("cells.json", MODEL_WORDS))
}

pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| table_file::read(&std::fs::read(file()).unwrap()).unwrap())
}

pub fn space() -> &'static Space {
    table().space()
}

pub fn cell(text: &str) -> Cell {
    Cell::parse(space(), text).unwrap()
}

/// The setting of that table.
pub fn dataset() -> &'static str {
    static SETTING: OnceLock<String> = OnceLock::new();
    SETTING.get_or_init(|| format!("dataset={}", file().display()))
}

/// The settings of an audit of a tiny model on a table in its words, warmed up until most of what it writes is a cell.
pub fn of_tiny() -> [&'static str; 5] {
    static SETTINGS: OnceLock<[String; 5]> = OnceLock::new();
    let settings = SETTINGS.get_or_init(|| {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama3");
        let dataset = format!("dataset={}", written("tiny-cells.json", TINY_WORDS).display());
        let [steps, batch, lr] = ["warmup.steps=40", "warmup.batch=16", "warmup.lr=0.01"].map(str::to_owned);
        [dataset, format!("llm.model={}", model.display()), steps, batch, lr]
    });
    settings.each_ref().map(String::as_str)
}
