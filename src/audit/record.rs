//! An audit on disk: `audit.toml`, one line of JSON a closed cycle in `cycles.jsonl`, times apart from it in `seconds.jsonl`,
//! and the adapter after the last cycle.
//!
//! Everything but the times is the same, byte for byte, whether the audit was interrupted or not.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::Proposal;
use super::exact::{Measures, Update};
use super::settings::AuditConfig;
use crate::error::{AtPath, Error, Result};
use crate::files::write_whole;
use crate::oracle::Cell;
use crate::record::folder::lock;

/// One thing the policy proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Of a delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Cell>,
    /// A cell, or what was written instead.
    pub text: String,
    /// Under the model as it is; None where the policy has no probabilities.
    pub log_p: Option<f64>,
    /// Under what it was drawn from: the model under its mask.
    pub log_q: Option<f64>,
    /// In percent, from one training seed; None for what is no cell, or is refused because it was queried before.
    pub quality: Option<f64>,
}

impl Sample {
    pub fn cell(&self) -> Option<Cell> {
        self.text.parse().ok()
    }

    pub fn proposal(&self) -> Option<Proposal> {
        Some(Proposal { parent: self.parent, cell: self.cell()? })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Elite {
    /// Of a delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Cell>,
    pub cell: Cell,
    pub quality: f64,
    pub held_out: bool,
}

impl Elite {
    pub fn proposal(&self) -> Proposal {
        Proposal { parent: self.parent, cell: self.cell }
    }
}

/// Losses are the mean over the elites of `-log q`, in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    pub examples: usize,
    /// As logged at sampling; None where an elite was not sampled in this cycle.
    pub logged: Option<f64>,
    pub loss_before: f64,
    pub loss_after: f64,
    pub held_out_before: Option<f64>,
    pub held_out_after: Option<f64>,
    /// (loss, gradient norm) of each optimiser step.
    pub steps: Vec<(f64, f64)>,
}

/// Of the cycles where it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    /// Of the distribution that the cycle sampled from.
    pub before: Measures,
    pub after: Measures,
    /// None where there was no update.
    pub update: Option<Update>,
}

/// Where the search stands after a cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Distinct cells queried.
    pub distinct: usize,
    /// The distinct cells queried when the best cell of the space was.
    pub best_found_at: Option<usize>,
    /// Mean accuracy over the training seeds of the cell with the highest queried accuracy, and the highest such mean queried.
    pub incumbent: f64,
    pub highest: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// From 1.
    pub cycle: u64,
    pub samples: Vec<Sample>,
    /// The quality of the worst elite.
    pub gamma: Option<f64>,
    pub elites: Vec<Elite>,
    pub tuning: Option<Tuning>,
    pub exact: Option<Exact>,
    pub search: Search,
    pub adapter_sha256: Option<String>,
}

/// What an audit began with; a resumed one must find the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub program: String,
    pub table_sha256: String,
    pub model: Option<String>,
    pub model_sha256: Option<String>,
    /// The fixed accuracy whose probability of being reached is C.
    pub gamma_star: f64,
    /// Of the adapter before the first cycle.
    pub adapter_sha256: Option<String>,
}

/// Wall seconds of one cycle; cycle 0 is the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    pub cycle: u64,
    pub sample: f64,
    pub tune: f64,
    pub audit: f64,
}

/// The folder of an audit, locked against a second writer for as long as this lives.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub fn create(path: &Path, config: &AuditConfig) -> Result<Self> {
        if path.is_file() || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::input(format!("{} exists already", path.display()))
                .hint("give --out a new folder, or go on with this audit: eliteloop audit --resume DIR"));
        }
        std::fs::create_dir_all(path).at("make the folder", path)?;
        let lock = lock(path)?;
        let head = format!("# Settings of this audit as resolved by eliteloop {}.\n", env!("CARGO_PKG_VERSION"));
        write_whole(&path.join(SETTINGS), (head + &config.to_toml()).as_bytes())?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    pub fn open(path: &Path) -> Result<Self> {
        settings(path)?;
        Ok(Self { path: path.into(), _lock: lock(path)? })
    }

    /// Folder of the adapter that came out of `cycle`; 0 is before the first.
    pub fn checkpoint(&self, cycle: u64) -> PathBuf {
        self.path.join(format!("cycle-{cycle:04}"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn put_inputs(&self, inputs: &Inputs) -> Result<()> {
        write_whole(&self.path.join(INPUTS), (serde_json::to_string_pretty(inputs)? + "\n").as_bytes())
    }

    pub fn put_cycles(&self, cycles: &[Cycle], seconds: &[Seconds]) -> Result<()> {
        write_whole(&self.path.join(SECONDS), lines(seconds)?.as_bytes())?;
        write_whole(&self.path.join(CYCLES), lines(cycles)?.as_bytes())
    }
}

const SETTINGS: &str = "audit.toml";
const INPUTS: &str = "inputs.json";
const CYCLES: &str = "cycles.jsonl";
const SECONDS: &str = "seconds.jsonl";

/// Whether an audit lies in this folder.
pub fn is_audit(folder: &Path) -> bool {
    folder.join(SETTINGS).is_file()
}

pub fn no_audit(path: &Path) -> Error {
    Error::input(format!("there is no audit in {}", path.display())).hint("give the folder that `eliteloop audit --out DIR` made")
}

pub fn settings(audit: &Path) -> Result<AuditConfig> {
    if !is_audit(audit) {
        return Err(no_audit(audit));
    }
    let path = audit.join(SETTINGS);
    AuditConfig::from_toml(&std::fs::read_to_string(&path).at("read the settings", &path)?, &path.display().to_string())
}

/// None where the audit was killed before its first cycle began.
pub fn inputs(audit: &Path) -> Result<Option<Inputs>> {
    let path = audit.join(INPUTS);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).at("read", &path)?;
    serde_json::from_str(&text).map(Some).map_err(|e| Error::input(format!("{} is damaged", path.display())).caused_by(e))
}

/// The closed cycles in order.
pub fn cycles(audit: &Path) -> Result<Vec<Cycle>> {
    read_lines(&audit.join(CYCLES))
}

pub fn seconds(audit: &Path) -> Result<Vec<Seconds>> {
    read_lines(&audit.join(SECONDS))
}

fn lines<T: Serialize>(rows: &[T]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text += &serde_json::to_string(row)?;
        text.push('\n');
    }
    Ok(text)
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).at("read", path)?;
    let row = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| Error::input(format!("{}, line {}: damaged", path.display(), number + 1)).caused_by(e))
    };
    text.lines().enumerate().map(row).collect()
}
