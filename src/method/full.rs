//! Full trainings: candidates that are drawn at random from those that a cycle trained are trained once more, for longer and with another
//! seed, so that claim 6 knows whether the proxy orders networks as a full training does. They are no part of any quality, and nothing is
//! chosen by them. Each is stored as soon as it is done.

use rand::seq::IndexedRandom;

use crate::base::error::Result;
use crate::base::progress::Phase;
use crate::base::seed;
use crate::config::RunConfig;
use crate::gates::Stage;
use crate::method::run::Run;
use crate::method::train::store_as_done;
use crate::proxy::halving::Halving;
use crate::proxy::settings::ProxyConfig;
use crate::proxy::worker::Job;
use crate::record::{Candidate, FullTraining, NetworkId, Store};

/// Trains what was drawn of a cycle and is not stored yet.
///
/// # Errors
/// Those of the store and of the workers.
pub(crate) fn train(run: &mut Run, cycle: u64) -> Result<()> {
    let waiting = missing(&run.store, &run.config, cycle)?;
    if waiting.is_empty() {
        return Ok(());
    }
    let phase = Phase::begin(cycle, "full training", waiting.len() as u64);
    let epochs = run.config.proxy.full.epochs;
    let config = ProxyConfig { epochs, halving: Halving::Off, ..run.config.proxy.clone() };
    let engine = run.proxies.engine.with(config);
    let mut jobs = Vec::new();
    for (id, network) in (0..).zip(&waiting) {
        jobs.push(Job::new(id, run.store.network(network)?.graph, seed_of(run.config.seed, network)));
    }
    store_as_done(run, &engine, cycle, jobs, &phase, |id, result| {
        let network = waiting[id as usize].clone();
        let seed = seed_of(run.config.seed, &network);
        let (accuracy, seconds) = result.as_ref().map_or((None, 0.0), |done| (Some(done.accuracy), done.seconds));
        let failure = result.err().map(|failure| failure.to_string());
        run.store.put_full_training(&FullTraining { network, epochs, seed, accuracy, failure, seconds })
    })?;
    if run.stopped() {
        return Ok(());
    }
    engine.clear()?;
    run.store.put_phase(&phase.finish())
}

/// Those drawn of a cycle that are not stored.
///
/// # Errors
/// Those of the store.
pub(crate) fn missing(store: &Store, config: &RunConfig, cycle: u64) -> Result<Vec<NetworkId>> {
    let stored = store.full_trainings()?;
    let candidates = store.candidates_of(cycle)?;
    let trained: Vec<NetworkId> = candidates.iter().filter(|c| c.stage() == Some(Stage::Trained)).map(Candidate::id).collect();
    let mut rng = seed::rng(config.seed, "full", &[cycle]);
    let drawn = trained.choose_multiple(&mut rng, config.proxy.full.networks).cloned();
    Ok(drawn.filter(|network| stored.iter().all(|t| t.network != *network)).collect())
}

/// Seed of a full training: none of those that gave the quality.
pub(crate) fn seed_of(run: u64, network: &NetworkId) -> u64 {
    seed::derive(run, &format!("full training {network}"), &[])
}
