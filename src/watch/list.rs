//! Several runs at a glance: those of a study, begun or not, or all below a folder.

use std::path::Path;

use crate::audit;
use crate::base::error::{Error, Result};
use crate::record::{Kind, Store, folder};
use crate::study;

/// A line a run.
pub struct List {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Of a study: it was not begun yet.
    Waits,
    Runs,
    /// It is not finished, and nobody is at it.
    Stopped,
    Finished,
}

impl From<State> for &'static str {
    fn from(state: State) -> Self {
        match state {
            State::Waits => "waits",
            State::Runs => "runs",
            State::Stopped => "stopped",
            State::Finished => "finished",
        }
    }
}

/// How far one run or audit is.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Its policy; of a run of a study that was not begun nothing.
    pub(crate) policy: &'static str,
    pub(crate) closed: u64,
    pub(crate) cycles: u64,
    pub(crate) state: State,
    /// The best quality so far: of a run by the proxy, of an audit the true one.
    pub(crate) best: Option<f64>,
}

impl List {
    /// Reads all runs and audits below a folder: beside each other, or as a study has them.
    ///
    /// # Errors
    /// There are none, or one cannot be read.
    pub fn read(base: &Path) -> Result<Self> {
        let mut rows = Vec::new();
        if study::is_study(base) {
            for (name, cycles) in study::planned(base)? {
                let path = base.join(&name);
                let waits = || Row { name, policy: "", closed: 0, cycles, state: State::Waits, best: None };
                rows.push(if folder::is_begun(&path) { Row::read(base, &path)? } else { waits() });
            }
        } else {
            for path in folder::below(base, folder::OF_STUDY)? {
                rows.push(Row::read(base, &path)?);
            }
        }
        if rows.is_empty() {
            return Err(Error::input(format!("there is no run and no audit in {}", base.display()))
                .hint("give the folder that `eliteloop run --out` or `eliteloop study --out` made"));
        }
        Ok(Self { title: folder::name(base), rows })
    }

    /// Lines of a screen that show all of it.
    pub fn height(&self) -> usize {
        // Borders, heads and keys.
        self.rows.len() + 4
    }
}

impl Row {
    fn read(base: &Path, path: &Path) -> Result<Self> {
        let store = Store::read(&folder::store_path(path))?;
        let closed = store.cycles()?.last().map_or(0, |row| row.cycle);
        let (policy, cycles, best) = match folder::kind(path)? {
            Kind::Run => {
                let config = folder::settings(path)?;
                (config.policy, config.cycles, store.qualities()?.into_values().max_by(f64::total_cmp))
            }
            Kind::Audit => {
                let config = audit::record::settings(path)?;
                let highest = audit::record::cycles(&store)?.last().map(|cycle| cycle.search.highest);
                (config.policy, config.cycles, highest)
            }
        };
        let state = match store.meta("finished")? {
            Some(_) => State::Finished,
            None if folder::is_written(path) => State::Runs,
            None => State::Stopped,
        };
        let name = path.strip_prefix(base).unwrap_or(path).display().to_string();
        Ok(Self { name, policy: policy.name(), closed, cycles, state, best })
    }
}
