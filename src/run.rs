//! A run that is open: settings, store, the LLM, the novelty filter, the data and the workers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{Policy, RunConfig};
use crate::delta::starts;
use crate::error::{AtPath, Error, Result};
use crate::llm::Llm;
use crate::novelty::Filter;
use crate::proxy::{Pool, dataset};
use crate::record::folder::{self, Folder};
use crate::record::{NetworkId, NetworkRow, Stage, Store};

pub struct Run {
    pub config: RunConfig,
    pub folder: Folder,
    pub store: Store,
    /// None where the policy needs none.
    pub llm: Option<Llm>,
    pub filter: Filter,
    pub pool: Pool,
    /// Set by Ctrl-C: the step in progress ends, what is done is stored.
    pub stop: Arc<AtomicBool>,
}

impl Run {
    /// Starts a run in a new folder. Everything that can be wrong with the settings is found before the folder is made.
    pub fn create(path: &Path, config: RunConfig, stop: Arc<AtomicBool>) -> Result<Self> {
        let llm = open_llm(&config)?;
        let pool = open_pool(&config)?;
        let starts = start_sources(&config)?;
        let folder = Folder::create(path, &config)?;
        let store = Store::create(&folder.store())?;
        store.transaction(|s| {
            s.set_meta("program", env!("CARGO_PKG_VERSION"))?;
            s.set_meta("dataset", pool.split_hash())?;
            if let Some(llm) = &llm {
                s.set_meta("model", &llm.identity.sha256)?;
                s.set_meta("model_name", &llm.identity.name)?;
                s.set_meta("chat_template", llm.identity.chat_template.as_deref().unwrap_or("none"))?;
            }
            s.set_starts(&starts)
        })?;
        let filter = Filter::new(&config.novelty, config.seed);
        Ok(Self { config, folder, store, llm, filter, pool, stop })
    }

    /// Opens a run that was stopped or killed, as it was after the last thing stored.
    pub fn resume(path: &Path, stop: Arc<AtomicBool>) -> Result<Self> {
        let config = folder::settings(path)?;
        let folder = Folder::open(path)?;
        let store = Store::open(&folder.store())?;
        let mut llm = open_llm(&config)?;
        let pool = open_pool(&config)?;
        same(&store, "dataset", pool.split_hash(), "the data set")?;
        if let Some(llm) = &mut llm {
            same(&store, "model", &llm.identity.sha256, "the model file")?;
            if let Some(last) = store.cycles()?.last() {
                llm.load_checkpoint(&folder.checkpoint(last.cycle), &last.adapter_hash)?;
            }
        }
        let mut filter = Filter::new(&config.novelty, config.seed);
        for network in accepted(&store)? {
            filter.admit(network.id.to_string(), filter.fingerprint(&network.graph)?);
        }
        Ok(Self { config, folder, store, llm, filter, pool, stop })
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The first cycle that is not closed; cycles count from 1, and 0 is the training of the start networks.
    pub fn next_cycle(&self) -> Result<u64> {
        Ok(self.store.cycles()?.last().map_or(0, |c| c.cycle + 1))
    }
}

/// Networks that a new candidate is compared with: the start networks and all that passed the filter before.
fn accepted(store: &Store) -> Result<Vec<NetworkRow>> {
    let passed: std::collections::HashSet<NetworkId> =
        store.candidates()?.iter().filter(|c| c.stage >= Some(Stage::Novel)).map(crate::record::Candidate::id).collect();
    let known = store.networks()?.into_iter();
    Ok(known.filter(|n| matches!(n.id, NetworkId::Start(_)) || passed.contains(&n.id)).collect())
}

fn open_llm(config: &RunConfig) -> Result<Option<Llm>> {
    match config.policy {
        Policy::Random => Ok(None),
        Policy::Llm | Policy::Frozen => Llm::open(&config.llm, &config.lora, config.seed).map(Some),
    }
}

fn open_pool(config: &RunConfig) -> Result<Pool> {
    let dataset = dataset::load(&config.proxy.dataset)?;
    Pool::new(&dataset, &config.proxy, config.seed)
}

fn start_sources(config: &RunConfig) -> Result<Vec<(String, String)>> {
    if config.parents.start.is_empty() {
        return Ok(starts::starts().iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect());
    }
    let mut sources = Vec::new();
    for path in &config.parents.start {
        let bytes = std::fs::read(path).at("read the start network", path)?;
        let source = String::from_utf8(bytes).map_err(|e| Error::input(format!("{} is not UTF-8", path.display())).caused_by(e))?;
        let name = path.file_stem().map_or_else(|| "start".into(), |s| s.to_string_lossy().into_owned());
        if sources.iter().any(|(other, _)| *other == name) {
            return Err(Error::input(format!("two start networks are called '{name}'")).hint("a start network is named by its file; rename one"));
        }
        sources.push((name, source));
    }
    Ok(sources)
}

fn same(store: &Store, key: &str, found: &str, what: &str) -> Result<()> {
    let stored = store.meta(key)?.unwrap_or_default();
    if stored == found {
        return Ok(());
    }
    Err(Error::input(format!("{what} is not the one this run began with (SHA-256 {found}, then {stored})"))
        .hint("put the original back: a run that goes on with other inputs would not be the same run"))
}
