//! A run that is open: settings, store, the learner, the novelty filter, the data and the workers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::device::Place;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::base::printer;
use crate::config::RunConfig;
use crate::gates::Stage;
use crate::method::{limits, starts};
use crate::policy::Learner;
use crate::proxy::dataset::{self, Format, Part, Split};
use crate::proxy::pool::Pool;
use crate::proxy::worker::Setup;
use crate::record::folder::{self, Folder};
use crate::record::{Kind, NetworkId, NetworkRow, Store};
use crate::tracer::novelty::Filter;

pub struct Run {
    pub config: RunConfig,
    pub folder: Folder,
    pub store: Store,
    /// None where the policy needs none.
    pub learner: Option<Learner>,
    pub filter: Filter,
    pub proxies: Proxies,
    /// Set by Ctrl-C: the step in progress ends, what is done is stored.
    pub stop: Arc<AtomicBool>,
}

/// The worker processes and the images they train on.
pub struct Proxies {
    pub pool: Pool,
    pub format: Format,
    pub split_hash: String,
    /// What the workers read the images from; gone with the run.
    _images: tempfile::TempPath,
}

impl Proxies {
    fn open(config: &RunConfig) -> Result<Self> {
        let split = draw_split(config)?;
        let images = tempfile::NamedTempFile::new()?.into_temp_path();
        split.save(&images)?;
        let setup = Setup { split: images.to_path_buf(), config: config.proxy.clone() };
        Ok(Self { pool: Pool::new(setup)?, split_hash: split.hash(), format: split.format, _images: images })
    }
}

/// The images of a run: drawn from the training part alone.
pub fn draw_split(config: &RunConfig) -> Result<Split> {
    let dataset = dataset::load(&config.proxy.dataset, &home::data(), Part::Train)?;
    config.proxy.draw(&dataset, config.seed)
}

impl Run {
    /// Starts a run in a new folder. Everything that can be wrong with the settings is found before the folder is made.
    pub fn create(path: &Path, config: RunConfig, stop: Arc<AtomicBool>) -> Result<Self> {
        config.proxy.device.open()?;
        let learner = open_learner(&config)?;
        let proxies = Proxies::open(&config)?;
        let starts = starts::sources(&config, &proxies.format)?;
        proxies.pool.check_memory(&limits::check_limits(&config, &proxies.format)?, &stop)?;
        let folder = Folder::create(path, Kind::Run, &config.to_toml())?;
        let store = Store::create(&folder.store(), Kind::Run)?;
        store.transaction(|s| {
            s.set_meta("program", env!("CARGO_PKG_VERSION"))?;
            s.set_meta("dataset", &proxies.split_hash)?;
            if let Some(learner) = &learner {
                s.set_meta("model", &learner.model.identity.sha256)?;
                s.set_meta("model_name", &learner.model.identity.name)?;
                s.set_meta("chat_template", learner.model.identity.chat_template.as_deref().unwrap_or("none"))?;
            }
            s.stamp("started")?;
            s.set_starts(&starts)
        })?;
        let filter = Filter::new(&config.novelty, config.seed);
        Ok(Self { config, folder, store, learner, filter, proxies, stop })
    }

    /// Opens a run that was stopped or killed, as it was after the last thing stored; `device` in place of the one it began on.
    pub fn resume(path: &Path, device: Option<Place>, stop: Arc<AtomicBool>) -> Result<Self> {
        let mut config = folder::settings(path)?;
        folder::refuse_clock(path)?;
        if let Some(place) = device {
            (config.llm.device, config.proxy.device) = (place, place);
            if let Some(why) = config.settle_devices() {
                printer::note(why);
            }
        }
        config.proxy.device.open()?;
        let folder = Folder::open(path)?;
        let store = Store::open(&folder.store())?;
        let mut learner = open_learner(&config)?;
        let proxies = Proxies::open(&config)?;
        same(&store, "dataset", &proxies.split_hash, "the data set")?;
        if let Some(learner) = &mut learner {
            same(&store, "model", &learner.model.identity.sha256, "the model file")?;
            if let Some(last) = store.cycles()?.last() {
                learner.load_checkpoint(&folder.checkpoint(last.cycle), config.tune.tuning.moments, &last.adapter_hash)?;
            }
        }
        let mut filter = Filter::new(&config.novelty, config.seed);
        for network in accepted(&store)? {
            filter.admit(network.id.to_string(), filter.fingerprint(&network.graph)?);
        }
        Ok(Self { config, folder, store, learner, filter, proxies, stop })
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
        store.candidates()?.iter().filter(|c| c.stage() >= Some(Stage::Novel)).map(crate::record::Candidate::id).collect();
    let known = store.networks()?.into_iter();
    Ok(known.filter(|n| matches!(n.id, NetworkId::Start(_)) || passed.contains(&n.id)).collect())
}

fn open_learner(config: &RunConfig) -> Result<Option<Learner>> {
    if !config.policy.has_llm() {
        return Ok(None);
    }
    Learner::open(&config.llm, &config.lora.clone().unwrap_or_default(), config.seed).map(Some)
}

fn same(store: &Store, key: &str, found: &str, what: &str) -> Result<()> {
    let stored = store.meta(key)?.unwrap_or_default();
    if stored == found {
        return Ok(());
    }
    Err(Error::input(format!("{what} is not the one this run began with (SHA-256 {found}, then {stored})"))
        .hint("put the original back: a run that goes on with other inputs would not be the same run"))
}
