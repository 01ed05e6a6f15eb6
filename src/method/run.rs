//! A run that is open: settings, store, the learner, the novelty filter, the data and the workers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::base::device::Place;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::base::printer;
use crate::base::processor;
use crate::base::range::Check;
use crate::base::scratch::Scratch;
use crate::config::{RunConfig, differences};
use crate::method::check::settings_it_began_with;
use crate::method::{checkpoints, limits, starts};
use crate::policy::Learner;
use crate::proxy::dataset::{self, Format, Part, Split};
use crate::proxy::engine::Engine;
use crate::proxy::pool::Pool;
use crate::proxy::settings::On;
use crate::proxy::worker::Setup;
use crate::record::folder::{self, Folder};
use crate::record::{Kind, NetworkId, Store, best, chain};
use crate::tracer::novelty::Filter;

/// A run that is open: all that the steps of its cycles work with.
pub struct Run {
    /// Its settings, `auto` devices settled.
    pub config: RunConfig,
    /// Where it lies, locked against a second writer.
    pub folder: Folder,
    /// What is known of it so far.
    pub store: Store,
    /// None where the policy needs none.
    pub learner: Option<Learner>,
    /// The networks that a candidate may not repeat.
    pub filter: Filter,
    /// What trains candidates.
    pub proxies: Proxies,
    /// Set by Ctrl-C: the step in progress ends, what is done is stored.
    pub stop: Arc<AtomicBool>,
    /// No cycle begins after it, for whoever has the machine for some hours only.
    pub until: Option<Instant>,
    /// No cycle begins once a network has this quality: the validation accuracy of the short training, from 0 to 1.
    pub until_quality: Option<f64>,
}

/// An end before the last cycle that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Reached {
    /// The time is over.
    Hours,
    /// The best network, as good as was wanted, and its quality.
    Quality(NetworkId, f64),
}

/// What trains, and the images it trains on.
pub struct Proxies {
    pub(crate) engine: Engine,
    pub(crate) format: Format,
    pub(crate) split_hash: String,
    /// What the workers read the images from; gone with the run, whatever ends it.
    _images: Scratch,
}

impl Proxies {
    /// For the run whose folder is, or will be, `run`.
    fn open(config: &RunConfig, run: &Path) -> Result<Self> {
        let split = draw_split(config)?;
        let images = split.scratch()?;
        let setup = Setup { split: images.path().to_owned(), hash: None, config: config.proxy.clone(), writes: Vec::new() };
        let split_hash = split.hash();
        let engine = Engine::open(Pool::new(setup)?, split_hash.clone(), run)?;
        Ok(Self { engine, split_hash, format: split.format, _images: images })
    }
}

/// The images of a run: drawn from the training part alone.
pub(crate) fn draw_split(config: &RunConfig) -> Result<Split> {
    let dataset = dataset::load(&config.proxy.dataset, &home::data(), Part::Train)?;
    config.proxy.draw(&dataset, config.seed)
}

impl Run {
    /// Starts a run in a new folder. Everything that can be wrong with the settings, the start networks and their prompts is found before the
    /// folder is made.
    pub fn create(path: &Path, config: RunConfig, stop: Arc<AtomicBool>) -> Result<Self> {
        config.proxy.device.open()?;
        let learner = open_learner(&config)?;
        let proxies = Proxies::open(&config, path)?;
        let sources = starts::sources(&config, &proxies.format)?;
        proxies.engine.try_out(&limits::check_limits(&config, &proxies.format)?, &stop)?;
        let mut filter = Filter::new(&config.novelty, config.seed);
        let networks = starts::trace(&sources, &limits::gates(&config, &proxies.format), &mut filter)?;
        if let Some(learner) = &learner {
            sources.iter().try_for_each(|(_, source)| learner.prompt(config.delta.format, source).map(drop))?;
        }
        let (folder, store) = Folder::create(path, Kind::Run, &config.to_toml(), |s| {
            s.set_meta("program", env!("CARGO_PKG_VERSION"))?;
            s.set_meta("dataset", &proxies.split_hash)?;
            if let Some(learner) = &learner {
                s.set_meta("model", &learner.model.identity.sha256)?;
                s.set_meta("model_name", &learner.model.identity.name)?;
                s.set_meta("chat_template", learner.model.identity.chat_template.as_deref().unwrap_or("none"))?;
            }
            s.stamp("started")?;
            s.set_starts(&sources)?;
            networks.iter().try_for_each(|network| s.put_network(network))
        })?;
        Ok(Self { config, folder, store, learner, filter, proxies, stop, until: None, until_quality: None })
    }

    /// Opens a run that was stopped or killed, as it was after the last thing stored; what is asked for beside that goes over its settings.
    ///
    /// # Errors
    /// Its settings, model or images are not those that it began with.
    pub fn resume(path: &Path, more: &More, stop: Arc<AtomicBool>) -> Result<Self> {
        let mut config = folder::settings(path)?;
        folder::refuse_clock(path)?;
        let folder = Folder::open(path)?;
        let store = Store::open(&folder.store())?;
        ask_for_more(&folder, &store, &mut config, more)?;
        if let Some(place) = more.device {
            // An engine trains on processors.
            let on = more.on.unwrap_or(config.proxy.on);
            (config.llm.device, config.proxy.device) = (place, if on == On::Local { place } else { Place::Cpu });
            if let Some(why) = config.settle_devices() {
                printer::note(why);
            }
        }
        if let Some(on) = more.on {
            config.proxy.on = on;
            config.check()?;
        }
        config.proxy.device.open()?;
        let mut learner = open_learner(&config)?;
        let proxies = Proxies::open(&config, path)?;
        same(&store, "dataset", &proxies.split_hash, "the data set")?;
        if let Some(learner) = &mut learner {
            same(&store, "model", &learner.model.identity.sha256, "the model file")?;
            checkpoints::load_last(path, &store, &config, learner)?;
        }
        tell_of_another_processor(&store)?;
        let mut filter = Filter::new(&config.novelty, config.seed);
        for network in store.accepted()? {
            filter.admit(network.id.to_string(), filter.fingerprint(&network.graph)?);
        }
        Ok(Self { config, folder, store, learner, filter, proxies, stop, until: more.until, until_quality: more.until_quality })
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Which of the ends that were asked for has come; the quality is told where both have.
    ///
    /// # Errors
    /// Those of the store.
    pub fn reached(&self) -> Result<Option<Reached>> {
        if let Some(wanted) = self.until_quality
            && let Some((network, quality)) = best::of(&self.store)?.filter(|(_, quality)| *quality >= wanted)
        {
            return Ok(Some(Reached::Quality(network, quality)));
        }
        Ok(self.until.is_some_and(|until| Instant::now() >= until).then_some(Reached::Hours))
    }

    /// The first cycle that is not closed; cycles count from 1, and 0 is the training of the start networks.
    pub(crate) fn next_cycle(&self) -> Result<u64> {
        Ok(self.store.cycles()?.last().map_or(0, |c| c.cycle + 1))
    }
}

/// Does what begins a run on an engine, in `folder`, and keeps nothing: one training, here and there.
///
/// # Errors
/// Those that a run with these settings would end with before it begins.
pub fn try_engine(config: &RunConfig, folder: &Path, stop: &AtomicBool) -> Result<()> {
    let proxies = Proxies::open(config, &folder.join("run"))?;
    proxies.engine.try_out(&limits::check_limits(config, &proxies.format)?, stop)
}

/// What is asked of a run or an audit that goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct More {
    /// In place of the device it began on.
    pub device: Option<Place>,
    /// What does the trainings, in place of the setting.
    pub on: Option<On>,
    /// So many cycles in all.
    pub cycles: Option<u64>,
    /// No cycle begins after it.
    pub until: Option<Instant>,
    /// No cycle of a run begins once a network has this quality.
    pub until_quality: Option<f64>,
}

/// Holds the settings against those that the run began with, and writes down that more cycles are asked for.
fn ask_for_more(folder: &Folder, store: &Store, config: &mut RunConfig, more: &More) -> Result<()> {
    let began = RunConfig::from_toml(&settings_it_began_with(store)?, "the settings it began with")?;
    let without = |config: &RunConfig| RunConfig { cycles: 0, ..config.essential() }.to_toml();
    let planned = config.cycles;
    config.cycles = cycles_asked(folder, store, [&without(&began), &without(config)], planned, more)?;
    config.check()?;
    if config.cycles == planned { Ok(()) } else { folder::write_settings(folder, Kind::Run, &config.to_toml()) }
}

/// How many cycles a run or an audit that goes on is to have in all, of which `planned` were known; one that was finished and gets more is
/// no longer. `began` and `now` are its settings as TOML, without those that may change.
///
/// # Errors
/// Settings that change results were edited, or fewer cycles are asked for than are closed.
pub(crate) fn cycles_asked(folder: &Folder, store: &Store, [began, now]: [&str; 2], planned: u64, more: &More) -> Result<u64> {
    refuse_edited(folder.path(), began, now)?;
    let closed = store.cycles()?.last().map_or(0, |c| c.cycle);
    let asked = more.cycles.unwrap_or(planned);
    if asked < closed {
        return Err(
            Error::input(format!("cycles = {asked}, and {closed} are closed")).hint("`eliteloop resume --cycles N` asks for more of them")
        );
    }
    if asked > closed {
        store.unfinish()?;
    }
    Ok(asked)
}

/// # Errors
/// Settings that change results were edited since the record began; both are TOML.
fn refuse_edited(folder: &Path, began: &str, now: &str) -> Result<()> {
    let keys = differences(began, now);
    if keys.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!("{}: run.toml has other settings than the run began with: {}", folder.display(), keys.join(", "))).hint(
        "put the old value back: what goes on with other settings would be another run. More cycles are asked for by `eliteloop resume --cycles N`, another device by --device",
    ))
}

/// Where the last cycle was closed on another kind of processor.
pub(crate) fn tell_of_another_processor(store: &Store) -> Result<()> {
    let here = processor::kind();
    if let Some(there) = chain::processors(store)?.last().filter(|there| **there != here) {
        printer::note(format_args!(
            "so far this was computed on another kind of processor ({there}; here it is {here}): what follows may differ in the last bits from what would have come there"
        ));
    }
    Ok(())
}

fn open_learner(config: &RunConfig) -> Result<Option<Learner>> {
    if !config.policy.has_llm() {
        return Ok(None);
    }
    let mut learner = Learner::open(&config.llm, &config.lora.clone().unwrap_or_default(), config.seed)?;
    if config.policy.is_tuned() {
        learner.check_update(&config.tune.tuning, config.candidates as usize)?;
    }
    // A checkpoint is loaded over it later.
    learner.keep_prior(&config.tune.tuning)?;
    Ok(Some(learner))
}

fn same(store: &Store, key: &str, found: &str, what: &str) -> Result<()> {
    let stored = store.meta(key)?.unwrap_or_default();
    if stored == found {
        return Ok(());
    }
    Err(Error::input(format!("{what} is not the one this run began with (SHA-256 {found}, then {stored})"))
        .hint("put the original back: a run that goes on with other inputs would not be the same run"))
}
