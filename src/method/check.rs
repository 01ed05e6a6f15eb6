//! What recomputing a claim gave, for whoever reads it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::base::error::Result;
use crate::config::differences;
use crate::record::{Store, chain, folder};

/// What recomputing a claim gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It was recomputed and holds.
    Ok,
    /// Something differs from what is stored.
    Wrong,
    /// Nothing speaks against it, but not all of it could be recomputed here.
    NotRecomputed,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Wrong => "WRONG",
            Self::NotRecomputed => "not recomputed",
        })
    }
}

/// One claim of the run and what recomputing it gave.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is claimed, in a word or two: `chain`, `settings`, ..
    pub name: &'static str,
    /// Whether it holds.
    pub finding: Finding,
    /// How much was recomputed, the first thing that differs, or why it was not recomputed.
    pub detail: String,
}

impl Check {
    /// Of the first thing that is wrong, or else what is right.
    pub(crate) fn new(name: &'static str, wrong: Option<String>, right: String) -> Self {
        let finding = if wrong.is_some() { Finding::Wrong } else { Finding::Ok };
        Self { name, finding, detail: wrong.unwrap_or(right) }
    }

    pub(crate) fn not_recomputed(name: &'static str, why: String) -> Self {
        Self { name, finding: Finding::NotRecomputed, detail: why }
    }
}

/// What is asked of a verification.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Only what takes no computing: the chain of hashes, and whether all is there.
    pub quick: bool,
    /// How many trainings are done again.
    pub train: Train,
    /// The last link of the chain, or its beginning, as it was printed when the run ended.
    pub head: Option<String>,
}

/// How many trainings a verification does again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Train {
    /// None.
    #[default]
    Nothing,
    /// So many, drawn.
    Some(usize),
    /// Every one.
    All,
}

/// Fewer digits of a hash are soon found by trying.
const FEWEST: usize = 16;

/// A run or an audit, as it is held against its chain.
pub struct Sealed<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) store: &'a Store,
    /// The last closed cycle.
    pub(crate) last: u64,
    /// The settings as they are in the folder and as they were when it began, as TOML, without what may change.
    pub(crate) settings: [String; 2],
    /// Which files of checkpoints (cycle, name) are there by the settings.
    pub(crate) must: &'a dyn Fn(u64, &str) -> bool,
}

impl Sealed<'_> {
    /// Holds rows, settings and the files of checkpoints against the chain of hashes.
    ///
    /// # Errors
    /// Those of the store and the disk.
    pub(crate) fn checks(&self, asked: &Asked) -> Result<Vec<Check>> {
        let Self { folder, store, last, settings: [now, began], must } = self;
        let finished = store.meta("finished")?.is_some();
        let head = chain::head(store)?.unwrap_or_default();
        let mut broken = chain::broken(store, *last, finished)?;
        if let Some(wanted) = &asked.head
            && (wanted.len() < FEWEST || !head.starts_with(wanted.trim()))
        {
            broken =
                broken.or_else(|| Some(format!("its last link is {head}, not the {wanted} that was given (at least {FEWEST} digits)")));
        }
        let differ = differences(began, now);
        let differ = (!differ.is_empty()).then(|| format!("run.toml has other settings than it began with: {}", differ.join(", ")));
        let kept = chain::checkpoints(store, folder, *last, must)?;
        let thinned = if kept.thinned == 0 { String::new() } else { format!(", {} checkpoints removed by the settings", kept.thinned) };
        Ok(vec![
            Check::new("chain", broken, format!("{} links hashed again, the last one {head}", last + 1)),
            Check::new("settings", differ, "run.toml says what it began with".into()),
            Check::new("checkpoint files", kept.wrong, format!("{} files as they were written{thinned}", kept.files)),
        ])
    }
}

/// The settings a record began with, as TOML; none of a store that was tampered with.
///
/// # Errors
/// Those of the store.
pub fn settings_it_began_with(store: &Store) -> Result<String> {
    Ok(store.meta(folder::SETTINGS)?.unwrap_or_default())
}
