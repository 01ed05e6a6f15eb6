//! `S(x)`: the quality of what passed the screen, by a short training in the worker processes. A training is stored as soon
//! as it is done; a kill loses those in flight and no other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rand::seq::IndexedRandom;

use crate::base::error::Error;
use crate::base::error::{AtPath, Result};
use crate::base::progress::Phase;
use crate::base::seed;
use crate::base::show::in_shell;
use crate::config::RunConfig;
use crate::gates::Gate;
use crate::gates::Stage;
use crate::method::run::Run;
use crate::proxy::engine::Engine;
use crate::proxy::halving::{Curve, Halving, Known};
use crate::proxy::pool::Event;
use crate::proxy::settings::{ProxyConfig, RandomNumbers};
use crate::proxy::worker::Job;
use crate::proxy::{Failure, Outcome};
use crate::record::{Candidate, NetworkId, Screened, Store, Training, chain};

/// One training to be done, or to go on.
#[derive(Clone)]
struct Place {
    network: NetworkId,
    seed_index: u64,
    seed: u64,
    /// Not part of the quality: it measures its noise.
    repeat: bool,
    /// Epochs to stop after.
    until: usize,
    /// What it went through already (JSON).
    curve: String,
}

/// Trains all networks of a cycle that wait for it, and settles what became of them; cycle 0 trains the start networks.
pub(crate) fn train(run: &mut Run, cycle: u64) -> Result<()> {
    let mut phase: Option<Phase> = None;
    // With halving, what is to be trained next depends on what came of this.
    loop {
        let places = places(&run.store, &run.config, cycle)?;
        if places.is_empty() {
            break;
        }
        let count = places.len() as u64;
        let phase = match &phase {
            Some(phase) => {
                phase.more(count);
                phase
            }
            None => phase.insert(Phase::begin(cycle, "train", count)),
        };
        work_off(run, cycle, &places, phase)?;
        if run.stopped() {
            return Ok(());
        }
    }
    if let Some(phase) = phase {
        run.store.put_phase(&phase.finish())?;
    }
    let states = states(run);
    if states.is_dir() {
        std::fs::remove_dir_all(&states).at("remove", &states)?;
    }
    run.proxies.engine.clear()?;
    if cycle == 0 {
        refuse_no_room(run)?;
    }
    // Also where nothing was left to train: a kill may fall between the last training and this.
    let epochs = run.config.proxy.epochs;
    run.store.transaction(|s| {
        let (trainings, targets) = (s.trainings()?, targets(s, &run.config, cycle)?);
        for mut candidate in s.candidates_of(cycle)? {
            let id = candidate.id();
            let Some(screened) = candidate.screened.as_mut().filter(|s| s.stage == Stage::Novel && s.reason.is_none()) else { continue };
            settle(screened, &id, &trainings, targets.get(&id).copied().unwrap_or(epochs), epochs);
            s.put_candidate(&candidate)?;
        }
        Ok(())
    })
}

/// # Errors
/// No start network had room: candidates descend from them and would fail alike.
fn refuse_no_room(run: &Run) -> Result<()> {
    let (trainings, full) = (run.store.trainings()?, Failure::Memory.to_string());
    if trainings.is_empty() || trainings.iter().any(|training| training.failure.as_ref() != Some(&full)) {
        return Ok(());
    }
    let (key, mib) = match run.config.proxy {
        ProxyConfig { device, card_memory_mib, .. } if device.is_card() => ("proxy.card_memory_mib", card_memory_mib),
        ProxyConfig { memory_mib, .. } => ("proxy.memory_mib", memory_mib),
    };
    // That they failed is the setting's doing: with another one they are trained again.
    run.store.forget_trainings(&full)?;
    let folder = in_shell(run.folder.path());
    Err(Error::input(format!("no start network can be trained in the memory that {key} = {mib} leaves")).hint(format!(
        "write another {key} into {folder}/run.toml and go on: eliteloop resume {folder}; or begin a new run with a smaller proxy.batch"
    )))
}

/// Where trainings that halving may let go on leave their states; gone when the cycle is trained.
fn states(run: &Run) -> PathBuf {
    run.folder.path().join("halving")
}

/// Trains in the worker processes, and stores each training as it is done.
fn work_off(run: &Run, cycle: u64, places: &[Place], phase: &Phase) -> Result<()> {
    let states = states(run);
    if run.config.proxy.halving != Halving::Off {
        std::fs::create_dir_all(&states).at("make the folder", &states)?;
    }
    let mut jobs = Vec::new();
    for (id, place) in (0..).zip(places) {
        let graph = run.store.network(&place.network)?.graph;
        let name = format!("{}-{}.safetensors", place.network, place.seed_index).replace('/', "-");
        jobs.push(Job { until: Some(place.until), state: Some(states.join(name)), ..Job::new(id, graph, place.seed) });
    }
    store_as_done(run, &run.proxies.engine, cycle, jobs, phase, |id, result| {
        let place = &places[id as usize];
        if let Ok(outcome) = &result {
            phase.say(format!("{}: {:.3}", place.network, outcome.accuracy));
        }
        run.store.put_training(&training(place.clone(), result)?)
    })
}

/// Trains all jobs; `put` stores each as soon as it is done.
///
/// # Errors
/// Those of the workers, and the first of `put`.
pub(super) fn store_as_done(
    run: &Run,
    engine: &Engine,
    cycle: u64,
    jobs: Vec<Job>,
    phase: &Phase,
    mut put: impl FnMut(u64, Result<Outcome, Failure>) -> Result<()>,
) -> Result<()> {
    let mut stored = Ok(());
    engine.run(jobs, &run.stop, |event| {
        let Event::Done { id, result, elsewhere } = event else { return };
        phase.step();
        let noted = elsewhere.map_or(Ok(()), |kind| chain::note_processor(&run.store, cycle, &kind));
        let done = noted.and_then(|()| put(id, result));
        // A full disk must end the run, but only after the workers were told.
        if done.is_err() && stored.is_ok() {
            run.stop.store(true, Ordering::Relaxed);
            stored = done;
        }
    })?;
    stored
}

fn training(place: Place, result: Result<Outcome, Failure>) -> Result<Training> {
    let Place { network, seed_index, seed, repeat, curve, .. } = place;
    Ok(match result {
        Ok(done) => {
            let curve = serde_json::to_string(&done.curve)?;
            let (accuracy, estimates) = (Some(done.accuracy), Some(serde_json::to_string(&done.estimates)?));
            Training { network, seed_index, seed, repeat, accuracy, curve, failure: None, seconds: done.seconds, estimates }
        }
        // It keeps its place among those it was compared with before.
        Err(failure) => Training {
            network,
            seed_index,
            seed,
            repeat,
            accuracy: None,
            curve,
            failure: Some(failure.to_string()),
            seconds: 0.0,
            estimates: None,
        },
    })
}

fn networks(store: &Store, cycle: u64) -> Result<Vec<NetworkId>> {
    Ok(if cycle == 0 {
        store.starts()?.into_iter().map(|(name, _)| NetworkId::Start(name)).collect()
    } else {
        store.candidates_of(cycle)?.iter().filter(|c| c.stage() >= Some(Stage::Novel)).map(Candidate::id).collect()
    })
}

/// How many epochs each network of a cycle is to be trained, as far as its trainings so far tell.
pub(crate) fn targets(store: &Store, config: &RunConfig, cycle: u64) -> Result<BTreeMap<NetworkId, usize>> {
    let (networks, epochs) = (networks(store, cycle)?, config.proxy.epochs);
    let rungs = match config.proxy.halving {
        Halving::On(rungs) if cycle > 0 => rungs,
        _ => return Ok(networks.into_iter().map(|network| (network, epochs)).collect()),
    };
    let seeds = vec![Curve::default(); config.proxy.seeds as usize];
    let mut known: BTreeMap<NetworkId, Known> = networks.into_iter().map(|network| (network, Known { seeds: seeds.clone() })).collect();
    for training in store.trainings()?.into_iter().filter(|t| !t.repeat) {
        if let Some(curve) = known.get_mut(&training.network).and_then(|known| known.seeds.get_mut(training.seed_index as usize)) {
            let accuracies = training.epochs()?.iter().map(|epoch| epoch.valid_accuracy).collect();
            *curve = Curve { accuracies, failed: training.failure.is_some() };
        }
    }
    Ok(rungs.targets(epochs, &known))
}

/// The first training of a closed cycle that is not stored as far as it was to go.
pub(crate) fn missing(store: &Store, config: &RunConfig, cycle: u64) -> Result<Option<NetworkId>> {
    Ok(places(store, config, cycle)?.into_iter().next().map(|place| place.network))
}

/// The trainings of a cycle that are to be done next: those that are not stored yet, or not as far as they are to go.
fn places(store: &Store, config: &RunConfig, cycle: u64) -> Result<Vec<Place>> {
    let (networks, targets, seeds) = (networks(store, cycle)?, targets(store, config, cycle)?, config.proxy.seeds);
    let trainings = store.trainings()?;
    let place = |network: &NetworkId, seed_index| -> Result<Option<Place>> {
        let until = targets.get(network).copied().unwrap_or(config.proxy.epochs);
        let stored = trainings.iter().find(|t| t.network == *network && t.seed_index == seed_index);
        if let Some(stored) = stored
            && (stored.failure.is_some() || stored.epochs()?.len() >= until)
        {
            return Ok(None);
        }
        let (seed, curve) = (seed_of(config, network, seed_index), stored.map_or_else(|| "[]".into(), |t| t.curve.clone()));
        Ok(Some(Place { network: network.clone(), seed_index, seed, repeat: seed_index >= seeds, until, curve }))
    };
    let mut places = Vec::new();
    for network in &networks {
        for seed_index in 0..seeds {
            places.extend(place(network, seed_index)?);
        }
    }
    // A repeat goes as far as its network, which is known at the end.
    let decided = config.proxy.halving == Halving::Off || places.is_empty();
    if cycle > 0 && decided {
        let mut rng = seed::rng(config.seed, "repeats", &[cycle]);
        for network in networks.choose_multiple(&mut rng, config.proxy.repeats) {
            places.extend(place(network, seeds)?);
        }
    }
    Ok(places)
}

/// Seed of one training: by the network's place or for all the same, never by when a worker gets to it.
pub(crate) fn seed_of(config: &RunConfig, network: &NetworkId, seed_index: u64) -> u64 {
    let run = config.seed;
    if config.proxy.random_numbers == RandomNumbers::Common {
        return seed::derive(run, "train all", &[seed_index]);
    }
    match network {
        NetworkId::Start(name) => seed::derive(run, &format!("train start {name}"), &[seed_index]),
        NetworkId::Candidate { cycle, index } => seed::derive(run, "train", &[*cycle, *index, seed_index]),
    }
}

/// A candidate is trained when all its seeds are; one failed seed fails it.
pub(crate) fn settle(screened: &mut Screened, id: &NetworkId, trainings: &[Training], target: usize, epochs: usize) {
    let mut own = trainings.iter().filter(|t| t.network == *id && !t.repeat);
    match own.find_map(|t| t.failure.as_ref()) {
        None => {
            screened.stage = Stage::Trained;
            if target < epochs {
                screened.detail = Some(format!("dropped by halving after {target} of {epochs} epochs: its quality is the accuracy then"));
            }
        }
        Some(failure) => {
            screened.reason = Some(Gate::Training.name().into());
            screened.detail = Some(failure.clone());
        }
    }
}
