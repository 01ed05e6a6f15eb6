//! Fuzz targets, by what a user or a stranger may hand to the program. Each takes any bytes: they are read or refused, never a panic, an
//! overflow, memory that the bytes merely ask for, or a hang; and what is accepted keeps its promise. `scripts/fuzz` runs them.

#![no_main]

mod deltas;
mod models;
mod pictures;
mod records;
mod settings;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A target: panics where something is wrong.
type Target = fn(&[u8]);

/// By the name that `ELITELOOP_FUZZ` gives; each has a corpus of that name.
const TARGETS: [(&str, Target); 15] = [
    ("gguf", models::gguf),
    ("folder", models::folder),
    ("adapter", models::adapter),
    ("tokenizer", models::tokenizer),
    ("template", models::template),
    ("settings", settings::of_a_run),
    ("audit", settings::of_an_audit),
    ("study", settings::study),
    ("delta", deltas::delta),
    ("measured", deltas::measured),
    ("source", sources::source),
    ("graph", sources::graph),
    ("picture", pictures::picture),
    ("images", pictures::images),
    ("store", records::store),
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("ELITELOOP_FUZZ").unwrap_or_default();
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("ELITELOOP_FUZZ is '{name}', not one of {}", names.join(", "))).1
    });
    chosen(bytes);
});

/// An empty folder of this process, in memory where the system has such.
fn scratch() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        tempfile::Builder::new().prefix("eliteloop-fuzz-").tempdir_in(place).expect("a folder of its own").keep()
    })
}

/// These bytes as a file of that name.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch().join(name);
    std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
    std::fs::write(&path, bytes).expect("a file can be written");
    path
}

/// What stands between the files of one input.
const CUT: &[u8] = b"\n%%%%\n";

/// The input as so many files: those that it lacks are empty.
fn files<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(bytes);
    std::array::from_fn(|place| {
        let own = rest.take().unwrap_or_default();
        match own.windows(CUT.len()).position(|at| at == CUT) {
            Some(cut) if place + 1 < N => {
                rest = Some(&own[cut + CUT.len()..]);
                &own[..cut]
            }
            _ => own,
        }
    })
}
