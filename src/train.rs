//! `S(x)`: the quality of what passed the screen, by a short training in the worker processes. A training is stored as soon
//! as it is done; a kill loses those in flight and no other.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::progress::Phase;
use crate::proxy::pool::Event;
use crate::proxy::worker::Job;
use crate::proxy::{Failure, Outcome};
use crate::record::{Candidate, NetworkId, Stage, Training};
use crate::run::Run;
use crate::seed;

/// Trains all networks of a cycle that wait for it; cycle 0 trains the start networks.
pub fn train(run: &mut Run, cycle: u64) -> Result<()> {
    let waiting = waiting(run, cycle)?;
    if waiting.is_empty() {
        return Ok(());
    }
    let done: Vec<(NetworkId, u64)> = run.store.trainings()?.into_iter().map(|t| (t.network, t.seed_index)).collect();
    let mut places = Vec::new();
    let mut jobs = Vec::new();
    for id in &waiting {
        for seed_index in (0..run.config.proxy.seeds).filter(|&k| !done.contains(&(id.clone(), k))) {
            let seed = seed_of(run.config.seed, id, seed_index);
            jobs.push(Job { id: jobs.len() as u64, graph: run.store.network(id)?.graph, seed, weights: None });
            places.push((id.clone(), seed_index, seed));
        }
    }
    let phase = Phase::begin(cycle, "train", places.len() as u64);
    let mut stored = Ok(());
    run.proxies.pool.run(jobs, &run.stop, |event| {
        let Event::Done { id, result } = event else { return };
        let (network, seed_index, seed) = places[id as usize].clone();
        phase.step();
        if let Ok(outcome) = &result {
            phase.say(format!("{network}: {:.3}", outcome.accuracy));
        }
        let row = training(network, seed_index, seed, result).and_then(|row| run.store.put_training(&row));
        // A full disk must end the run, but only after the workers were told.
        if row.is_err() && stored.is_ok() {
            run.stop.store(true, Ordering::Relaxed);
            stored = row;
        }
    })?;
    stored?;
    if run.stopped() {
        return Ok(());
    }
    let spent = phase.finish();
    run.store.transaction(|s| {
        let trainings = s.trainings()?;
        for mut candidate in s.candidates_of(cycle)?.into_iter().filter(|c| c.stage == Some(Stage::Novel)) {
            settle(&mut candidate, &trainings);
            s.put_candidate(&candidate)?;
        }
        s.put_phase(&spent)
    })
}

fn training(network: NetworkId, seed_index: u64, seed: u64, result: std::result::Result<Outcome, Failure>) -> Result<Training> {
    Ok(match result {
        Ok(done) => {
            let curve = serde_json::to_string(&done.curve)?;
            Training { network, seed_index, seed, accuracy: Some(done.accuracy), curve, failure: None, seconds: done.seconds }
        }
        Err(failure) => {
            Training { network, seed_index, seed, accuracy: None, curve: "[]".into(), failure: Some(failure.to_string()), seconds: 0.0 }
        }
    })
}

fn waiting(run: &Run, cycle: u64) -> Result<Vec<NetworkId>> {
    if cycle == 0 {
        let trained: Vec<NetworkId> = run.store.trainings()?.into_iter().map(|t| t.network).collect();
        let starts = run.store.starts()?.into_iter().map(|(name, _)| NetworkId::Start(name));
        return Ok(starts.filter(|id| !trained.contains(id)).collect());
    }
    Ok(run.store.candidates_of(cycle)?.iter().filter(|c| c.stage == Some(Stage::Novel) && c.reason.is_none()).map(Candidate::id).collect())
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
    let mut own = trainings.iter().filter(|t| t.network == candidate.id());
    match own.find_map(|t| t.failure.as_ref()) {
        None => candidate.stage = Some(Stage::Trained),
        Some(failure) => {
            candidate.reason = Some("training".into());
            candidate.detail = Some(failure.clone());
        }
    }
}
