//! From the store of a run to the six claims: what each estimator of [`crate::theory`] wants to know.

use crate::config::{Objective, Policy, RunConfig};
use crate::error::Result;
use crate::novelty::Filter;
use crate::record::{Candidate, NetworkId, Stage, Store};
use crate::theory::diversity::{Accepted, Arm, Comparison, CycleCounts};
use crate::theory::improvement::CycleQualities;
use crate::theory::{Panel, ce_update, convergence, diversity, improvement, reliability};

/// The panels that the records of one run allow. Claim 4 compares formats, so it needs runs of several.
pub fn panels(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Vec<Panel>> {
    let mut panels = Vec::new();
    if config.policy == Policy::Llm {
        panels.push(ce_update::judge(&tunings(store, config, candidates)?).panel());
    }
    panels.push(improvement::judge(config.policy == Policy::Llm, &qualities(store, candidates)?).panel());
    panels.push(convergence::judge(&counts(store, candidates)?).panel());
    panels.push(novelty(store, config, candidates)?);
    panels.push(reliability::judge(&repeated(store)?, &reliability::Pairs::default(), config.elite.rho).panel());
    Ok(panels)
}

fn tunings(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Vec<ce_update::Tuning>> {
    let elites = store.elites()?;
    let mut tunings = Vec::new();
    for row in store.cycles()? {
        let Some(tuning) = &row.tuning else { continue };
        let own: Vec<_> = elites.iter().filter(|e| e.cycle == row.cycle).collect();
        let trained: Vec<_> = own.iter().filter(|e| !e.held_out).collect();
        let log_p = |id: &NetworkId| candidates.iter().find(|c| c.id() == *id && c.cycle == row.cycle).and_then(|c| c.log_p);
        tunings.push(ce_update::Tuning {
            cycle: row.cycle,
            summed: config.tune.objective == Objective::Sum,
            logged: trained.iter().filter_map(|e| log_p(&e.network)).collect(),
            loss_before: tuning.before,
            loss_after: tuning.after,
            held_out: tuning.held_out_before.zip(tuning.held_out_after),
            trained: trained.iter().map(|e| e.example_hash.clone()).collect(),
            elites: own.iter().map(|e| e.example_hash.clone()).collect(),
        });
    }
    Ok(tunings)
}

/// The cycles of a run that are there, from 1.
fn cycles(candidates: &[Candidate]) -> impl Iterator<Item = (u64, &[Candidate])> {
    candidates.chunk_by(|a, b| a.cycle == b.cycle).map(|own| (own[0].cycle, own))
}

fn qualities(store: &Store, candidates: &[Candidate]) -> Result<Vec<CycleQualities>> {
    let quality = store.qualities()?;
    let of = |own: &[Candidate]| own.iter().filter_map(|c| quality.get(&c.id()).copied()).collect();
    Ok(cycles(candidates).map(|(cycle, own)| CycleQualities { cycle, qualities: of(own) }).collect())
}

/// gamma* is the quality of the best start network: known before the first sample is drawn.
fn counts(store: &Store, candidates: &[Candidate]) -> Result<Vec<convergence::Count>> {
    let quality = store.qualities()?;
    let starts = quality.iter().filter(|(id, _)| matches!(id, NetworkId::Start(_)));
    let gamma = starts.map(|(_, q)| *q).fold(f64::NEG_INFINITY, f64::max);
    let reached = |own: &[Candidate]| own.iter().filter(|c| quality.get(&c.id()).is_some_and(|q| *q >= gamma)).count();
    Ok(cycles(candidates).map(|(cycle, own)| convergence::Count { cycle, asked: own.len() as u64, reached: reached(own) as u64 }).collect())
}

fn novelty(store: &Store, config: &RunConfig, candidates: &[Candidate]) -> Result<Panel> {
    let filter = Filter::new(&config.novelty, config.seed);
    let mut seen = std::collections::BTreeSet::new();
    let mut known = Vec::new();
    let mut accepted: Vec<Accepted> = Vec::new();
    let mut signatures = Vec::new();
    for network in store.networks()? {
        let candidate = candidates.iter().find(|c| c.id() == network.id);
        let unique = seen.insert(network.graph_hash.clone());
        known.push((network.id.clone(), unique));
        if candidate.is_some_and(|c| c.stage == Some(Stage::Trained)) {
            let fingerprint = filter.fingerprint(&network.graph)?;
            let parent = candidate.and_then(|c| signatures.iter().position(|(id, _)| *id == c.parent));
            accepted.push(Accepted { shingles: fingerprint.shingles.clone(), parent });
            signatures.push((network.id, fingerprint));
        }
    }
    let count = |own: &[Candidate], unique: bool| {
        own.iter().filter(|c| known.iter().any(|(id, first)| *id == c.id() && (*first || !unique))).count() as u64
    };
    let cycle_counts = cycles(candidates).map(|(cycle, own)| {
        let log_p: Vec<f64> = own.iter().filter_map(|c| c.log_p).collect();
        let mean_nll = (!log_p.is_empty()).then(|| -log_p.iter().sum::<f64>() / log_p.len() as f64);
        CycleCounts { cycle, asked: own.len() as u64, valid: count(own, false), unique: count(own, true), mean_nll }
    });
    // Neighbours in the order of training are a sample of pairs that does not depend on how alike they are.
    let comparisons: Vec<Comparison> = signatures
        .windows(2)
        .map(|pair| Comparison { estimate: pair[0].1.estimate(&pair[1].1), exact: pair[0].1.jaccard(&pair[1].1) })
        .collect();
    let arm = Arm { cycles: cycle_counts.collect(), accepted };
    Ok(diversity::judge(&arm, None, config.novelty.threshold, &comparisons, config.novelty.hashes).panel())
}

/// Qualities of each network that was trained with several seeds, seed by seed.
fn repeated(store: &Store) -> Result<Vec<Vec<f64>>> {
    let trainings = store.trainings()?;
    let groups = trainings.chunk_by(|a, b| a.network == b.network);
    let scores = groups.map(|own| own.iter().filter_map(|t| t.accuracy).collect::<Vec<f64>>());
    Ok(scores.filter(|s| s.len() > 1).collect())
}
