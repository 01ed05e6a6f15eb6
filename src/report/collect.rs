//! From the store of a run to what its report shows.

use std::collections::BTreeMap;
use std::path::Path;

use super::claims::Evidence;
use super::data::{Ancestor, Best, Candidate, Cycle, Epoch, Reason, ReportData, StartNetwork, Tuning};
use super::early::early;
use crate::base::error::Result;
use crate::config::{EliteBy, RunConfig, departures};
use crate::gates::Gate;
use crate::gates::Stage;
use crate::proxy;
use crate::record::{self, EliteRow, Funnel, NetworkId, Store, chain, folder};

/// Reads a run that is finished, stopped or still going on; cycles that are not closed are left out.
pub fn collect(run: &Path) -> Result<ReportData> {
    let config = folder::settings(run)?;
    let store = Store::read(&folder::store_path(run))?;
    let quality = store.qualities()?;
    let elites = store.elites()?;
    let closed = store.cycles()?;
    let last = closed.last().map_or(0, |c| c.cycle);
    let candidates = store.candidates_up_to(last)?;
    let best = best(&store, &candidates)?;
    let data = ReportData {
        name: folder::name(run),
        program_version: store.meta("program")?.unwrap_or_default(),
        started: store.meta("started")?.unwrap_or_default(),
        finished: store.meta("finished")?.unwrap_or_default(),
        policy: config.policy,
        model: store.meta("model_name")?.unwrap_or_else(|| "none".into()),
        dataset: config.proxy.dataset.clone(),
        settings: config.to_toml(),
        provenance: provenance(&store, &config)?,
        start: starts(&store, &quality)?,
        cycles: closed
            .iter()
            .filter(|c| c.cycle > 0)
            .map(|row| cycle(&store, &config, row, &candidates, &elites))
            .collect::<Result<_>>()?,
        candidates: show_candidates(&store, &candidates, &quality, &elites)?,
        lineage: lineage(&store, &candidates, &quality)?,
        best,
        early: early(&store, &config)?,
        theory: Evidence::of(&store, &config, &candidates)?.panels(None, None),
    };
    Ok(data)
}

/// What an update is, by what keeps it from being that of the cross-entropy method.
pub(super) fn named(departures: &[String]) -> String {
    if departures.is_empty() {
        return "of the cross-entropy method, as far as the share realised says".into();
    }
    format!("not that of the cross-entropy method: {}", departures.join("; "))
}

fn provenance(store: &Store, config: &RunConfig) -> Result<Vec<(String, String)>> {
    let mut rows = vec![("seed".to_owned(), config.seed.to_string()), ("threads".into(), config.threads.to_string())];
    if config.policy.is_tuned() {
        rows.push(("update".into(), named(&departures(config.tune.data, config.elite.weights, &config.tune.tuning))));
        rows.push(("elites chosen by".into(), config.elite.by.name().into()));
    }
    for (key, label) in [("model", "model file, SHA-256"), ("chat_template", "chat template, SHA-256"), ("dataset", "data split, SHA-256")]
    {
        if let Some(value) = store.meta(key)? {
            rows.push((label.into(), value));
        }
    }
    rows.extend(store.cycles()?.into_iter().map(|c| (format!("adapter after cycle {}", c.cycle), c.adapter_hash)));
    rows.extend(sealed(store)?);
    Ok(rows)
}

/// On what it was computed, and the hash that stands for every row: `eliteloop verify --head` takes it.
pub(super) fn sealed(store: &Store) -> Result<Vec<(String, String)>> {
    let mut rows: Vec<_> = chain::processors(store)?.into_iter().map(|kind| ("processor".to_owned(), kind)).collect();
    rows.extend(chain::head(store)?.map(|hash| ("last link of the chain of hashes".to_owned(), hash)));
    Ok(rows)
}

fn starts(store: &Store, quality: &BTreeMap<NetworkId, f64>) -> Result<Vec<StartNetwork>> {
    let networks = store.networks()?.into_iter();
    let start = |id: NetworkId| match &id {
        NetworkId::Start(name) => Some(StartNetwork { name: name.clone(), quality: quality.get(&id).copied() }),
        NetworkId::Candidate { .. } => None,
    };
    Ok(networks.filter_map(|n| start(n.id)).collect())
}

fn cycle(
    store: &Store,
    config: &RunConfig,
    row: &record::CycleRow,
    candidates: &[record::Candidate],
    elites: &[EliteRow],
) -> Result<Cycle> {
    let own: Vec<record::Candidate> = candidates.iter().filter(|c| c.cycle == row.cycle).cloned().collect();
    let mut reasons: BTreeMap<(Gate, String), u64> = BTreeMap::new();
    for screened in own.iter().filter_map(|c| c.screened.as_ref()) {
        if let (Some(gate), Some(reason)) = (screened.stage.next(), &screened.reason) {
            *reasons.entry((gate, reason.clone())).or_default() += 1;
        }
    }
    let phases: Vec<_> = store.phases()?.into_iter().filter(|p| p.cycle == row.cycle).collect();
    Ok(Cycle {
        cycle: row.cycle,
        funnel: Funnel::of(&own, elites.iter().filter(|e| e.cycle == row.cycle).count()),
        reasons: reasons.into_iter().map(|((gate, reason), count)| Reason { gate, reason, count }).collect(),
        gamma: row.gamma.filter(|_| config.elite.by == EliteBy::Quality),
        tuning: row.tuning.as_ref().map(tuning),
        peak_memory_mib: phases.iter().map(|p| p.peak_mib).reduce(f64::max),
        seconds: phases.into_iter().map(|p| (p.name, p.seconds)).collect(),
    })
}

/// What a report shows of an update.
pub(super) fn tuning(row: &record::Tuning) -> Tuning {
    Tuning {
        examples: row.examples as u64,
        steps: row.steps.len() as u64,
        loss_before: row.before,
        loss_after: row.after,
        held_out_before: row.held_out_before,
        held_out_after: row.held_out_after,
        logged_loss: row.logged,
    }
}

fn show_candidates(
    store: &Store,
    candidates: &[record::Candidate],
    quality: &BTreeMap<NetworkId, f64>,
    elites: &[EliteRow],
) -> Result<Vec<Candidate>> {
    let networks: BTreeMap<NetworkId, (u64, u64)> = store.networks()?.into_iter().map(|n| (n.id, (n.parameters, n.macs))).collect();
    let shown = candidates.iter().map(|c| {
        let id = c.id();
        let elite = elites.iter().find(|e| e.network == id && e.cycle == c.cycle);
        let screened = c.screened.as_ref();
        Candidate {
            cycle: c.cycle,
            index: c.index,
            parent: c.parent.to_string(),
            stage: c.stage().unwrap_or_default(),
            // A trained one has a detail where halving dropped it.
            reason: screened
                .and_then(|s| s.reason.clone().or_else(|| s.detail.clone().filter(|_| s.stage == Stage::Trained)))
                .unwrap_or_default(),
            quality: quality.get(&id).copied(),
            elite: elite.is_some(),
            held_out: elite.is_some_and(|e| e.held_out),
            nearest_jaccard: screened.and_then(|s| s.jaccard),
            parent_jaccard: screened.and_then(|s| s.parent_jaccard),
            parameters: networks.get(&id).map(|n| n.0),
            macs: networks.get(&id).map(|n| n.1),
        }
    });
    Ok(shown.collect())
}

/// The best candidate and its parents up to its start network, youngest first.
fn ancestors(store: &Store, candidates: &[record::Candidate]) -> Result<Vec<(NetworkId, Option<record::Candidate>)>> {
    let quality = store.qualities()?;
    let ranked = candidates.iter().filter_map(|c| Some((c.id(), *quality.get(&c.id())?)));
    // The earliest of equal ones: `max_by` gives the last, so they come in reverse.
    let best = ranked.rev().max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((id, _)) = best else { return Ok(Vec::new()) };
    let mut chain = Vec::new();
    let mut next = Some(id);
    while let Some(id) = next {
        let candidate = candidates.iter().find(|c| c.id() == id).cloned();
        next = candidate.as_ref().map(|c| c.parent.clone());
        chain.push((id, candidate));
    }
    Ok(chain)
}

fn best(store: &Store, candidates: &[record::Candidate]) -> Result<Option<Best>> {
    let chain = ancestors(store, candidates)?;
    let (Some((id, Some(candidate))), Some((start, _))) = (chain.first(), chain.last()) else { return Ok(None) };
    let network = store.network(id)?;
    let trainings: Vec<_> = store.trainings()?.into_iter().filter(|t| t.network == *id && !t.repeat).collect();
    let curve: Vec<proxy::Epoch> = trainings.first().map(|t| serde_json::from_str(&t.curve)).transpose()?.unwrap_or_default();
    let quality_per_seed: Vec<f64> = trainings.iter().filter_map(|t| t.accuracy).collect();
    Ok(Some(Best {
        cycle: candidate.cycle,
        index: candidate.index,
        quality: quality_per_seed.iter().sum::<f64>() / quality_per_seed.len() as f64,
        quality_per_seed,
        parameters: network.parameters,
        macs: network.macs,
        source: network.source,
        parent: candidate.parent.to_string(),
        parent_source: store.network(&candidate.parent)?.source,
        start: start.to_string(),
        start_source: store.network(start)?.source,
        curve: curve.iter().map(|e| Epoch { epoch: e.epoch as u64, train_loss: e.train_loss, valid_accuracy: e.valid_accuracy }).collect(),
    }))
}

fn lineage(store: &Store, candidates: &[record::Candidate], quality: &BTreeMap<NetworkId, f64>) -> Result<Vec<Ancestor>> {
    let mut line = Vec::new();
    for (id, candidate) in ancestors(store, candidates)?.into_iter().rev() {
        line.push(Ancestor {
            name: id.to_string(),
            quality: quality.get(&id).copied(),
            source: store.network(&id)?.source,
            completion: candidate.map(|c| c.text().into_owned()).unwrap_or_default(),
        });
    }
    Ok(line)
}
