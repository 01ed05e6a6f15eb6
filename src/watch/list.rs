//! Several runs at a glance: those of a study, or all below a folder.

use std::path::Path;

use crate::audit;
use crate::base::error::{Error, Result};
use crate::record::{Kind, Store, folder};

/// A line a run.
pub struct List {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// How far one run or audit is.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) policy: &'static str,
    pub(crate) closed: u64,
    pub(crate) cycles: u64,
    pub(crate) finished: bool,
    /// The best quality so far: of a run by the proxy, of an audit the true one.
    pub(crate) best: Option<f64>,
}

impl List {
    /// Reads all runs and audits below a folder: beside each other, or as a study has them.
    ///
    /// # Errors
    /// There are none, or one cannot be read.
    pub fn read(base: &Path) -> Result<Self> {
        let folders = folder::below(base, folder::OF_STUDY)?;
        if folders.is_empty() {
            return Err(Error::input(format!("there is no run and no audit in {}", base.display()))
                .hint("give the folder that `eliteloop run --out` or `eliteloop study --out` made"));
        }
        let rows = folders.iter().map(|path| Row::read(base, path)).collect::<Result<_>>()?;
        Ok(Self { title: folder::name(base), rows })
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
        let name = path.strip_prefix(base).unwrap_or(path).display().to_string();
        Ok(Self { name, policy: policy.name(), closed, cycles, finished: store.meta("finished")?.is_some(), best })
    }
}
