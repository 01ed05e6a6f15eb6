//! `S(x)`: the quality of what passed the screen, by a short training in the worker processes. A training is stored as soon
//! as it is done; a kill loses those in flight and no other.

use std::sync::atomic::Ordering;

use rand::seq::IndexedRandom;

use crate::error::Result;
use crate::progress::Phase;
use crate::proxy::pool::Event;
use crate::proxy::worker::Job;
use crate::proxy::{Failure, Outcome};
use crate::record::{Candidate, NetworkId, Stage, Training};
use crate::run::Run;
use crate::seed;

/// One training to be done.
#[derive(Clone)]
struct Place {
    network: NetworkId,
    seed_index: u64,
    seed: u64,
    /// Not part of the quality: it measures its noise.
    repeat: bool,
}

/// Trains all networks of a cycle that wait for it, and settles what became of them; cycle 0 trains the start networks.
pub fn train(run: &mut Run, cycle: u64) -> Result<()> {
    let places = places(run, cycle)?;
    if !places.is_empty() {
        let phase = Phase::begin(cycle, "train", places.len() as u64);
        work_off(run, &places, &phase)?;
        if run.stopped() {
            return Ok(());
        }
        run.store.put_phase(&phase.finish())?;
    }
    // Also where nothing was left to train: a kill may fall between the last training and this.
    run.store.transaction(|s| {
        let trainings = s.trainings()?;
        for mut candidate in s.candidates_of(cycle)?.into_iter().filter(|c| c.stage == Some(Stage::Novel) && c.reason.is_none()) {
            settle(&mut candidate, &trainings);
            s.put_candidate(&candidate)?;
        }
        Ok(())
    })
}

/// Trains in the worker processes, and stores each training as it is done.
fn work_off(run: &Run, places: &[Place], phase: &Phase) -> Result<()> {
    let mut jobs = Vec::new();
    for (id, place) in (0..).zip(places) {
        jobs.push(Job { id, graph: run.store.network(&place.network)?.graph, seed: place.seed, weights: None });
    }
    let mut stored = Ok(());
    run.proxies.pool.run(jobs, &run.stop, |event| {
        let Event::Done { id, result } = event else { return };
        let place = &places[id as usize];
        phase.step();
        if let Ok(outcome) = &result {
            phase.say(format!("{}: {:.3}", place.network, outcome.accuracy));
        }
        let row = training(place.clone(), result).and_then(|row| run.store.put_training(&row));
        // A full disk must end the run, but only after the workers were told.
        if row.is_err() && stored.is_ok() {
            run.stop.store(true, Ordering::Relaxed);
            stored = row;
        }
    })?;
    stored
}

fn training(place: Place, result: std::result::Result<Outcome, Failure>) -> Result<Training> {
    let Place { network, seed_index, seed, repeat } = place;
    Ok(match result {
        Ok(done) => {
            let curve = serde_json::to_string(&done.curve)?;
            let (accuracy, estimates) = (Some(done.accuracy), Some(serde_json::to_string(&done.estimates)?));
            Training { network, seed_index, seed, repeat, accuracy, curve, failure: None, seconds: done.seconds, estimates }
        }
        Err(failure) => Training {
            network,
            seed_index,
            seed,
            repeat,
            accuracy: None,
            curve: "[]".into(),
            failure: Some(failure.to_string()),
            seconds: 0.0,
            estimates: None,
        },
    })
}

/// The trainings of a cycle that are not stored yet.
fn places(run: &Run, cycle: u64) -> Result<Vec<Place>> {
    let networks: Vec<NetworkId> = if cycle == 0 {
        run.store.starts()?.into_iter().map(|(name, _)| NetworkId::Start(name)).collect()
    } else {
        run.store.candidates_of(cycle)?.iter().filter(|c| c.stage >= Some(Stage::Novel)).map(Candidate::id).collect()
    };
    let seeds = run.config.proxy.seeds;
    let place = |network: &NetworkId, seed_index| {
        let seed = seed_of(run.config.seed, network, seed_index);
        Place { network: network.clone(), seed_index, seed, repeat: seed_index >= seeds }
    };
    let mut places: Vec<Place> = networks.iter().flat_map(|n| (0..seeds).map(move |k| (n, k))).map(|(n, k)| place(n, k)).collect();
    if cycle > 0 {
        let mut rng = seed::rng(run.config.seed, "repeats", &[cycle]);
        places.extend(networks.choose_multiple(&mut rng, run.config.proxy.repeats).map(|n| place(n, seeds)));
    }
    let done: Vec<(NetworkId, u64)> = run.store.trainings()?.into_iter().map(|t| (t.network, t.seed_index)).collect();
    places.retain(|p| !done.contains(&(p.network.clone(), p.seed_index)));
    Ok(places)
}

/// Seed of one training: by the network's place, never by when a worker gets to it.
pub fn seed_of(run: u64, network: &NetworkId, seed_index: u64) -> u64 {
    match network {
        NetworkId::Start(name) => seed::derive(run, &format!("train start {name}"), &[seed_index]),
        NetworkId::Candidate { cycle, index } => seed::derive(run, "train", &[*cycle, *index, seed_index]),
    }
}

/// A candidate is trained when all its seeds are; one failed seed fails it.
fn settle(candidate: &mut Candidate, trainings: &[Training]) {
    let mut own = trainings.iter().filter(|t| t.network == candidate.id() && !t.repeat);
    match own.find_map(|t| t.failure.as_ref()) {
        None => candidate.stage = Some(Stage::Trained),
        Some(failure) => {
            candidate.reason = Some("training".into());
            candidate.detail = Some(failure.clone());
        }
    }
}
