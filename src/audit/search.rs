//! What was queried so far, which of it is elite, and where the search stands.

use std::collections::HashSet;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::record::{Cycle, Elite, Sample, Search};
use super::settings::{AuditConfig, EliteSource};
use crate::elite::held_out;
use crate::oracle::{Cell, Table};
use crate::seed;

/// Regularised evolution.
const POPULATION: usize = 50;
const TOURNAMENT: usize = 10;

/// An elite, and the log q it was sampled with where that was in this cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub elite: Elite,
    pub log_q: Option<f64>,
}

/// The cells of samples with their qualities, in order.
fn valid<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<(Cell, f64, Option<f64>)> {
    samples.filter_map(|s| Some((s.cell()?, s.quality?, s.log_q))).collect()
}

/// The elites of a cycle, best first; `earlier` are the cycles before it.
pub fn elites(earlier: &[Cycle], samples: &[Sample], config: &AuditConfig, cycle: u64) -> Vec<Chosen> {
    let wanted = config.elites();
    let mut ranked = valid(samples.iter());
    if config.elite.source == EliteSource::Archive {
        let mut all = valid(earlier.iter().flat_map(|c| &c.samples));
        all.iter_mut().for_each(|(_, _, log_q)| *log_q = None);
        all.append(&mut ranked);
        let mut seen = HashSet::new();
        all.retain(|(cell, _, _)| seen.insert(*cell));
        ranked = all;
    }
    // Stable: of equal ones those sampled first.
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    match config.elite.source {
        EliteSource::Archive => ranked.truncate(wanted),
        EliteSource::Cycle => {
            let gamma = ranked.get(wanted - 1).or(ranked.last()).map_or(f64::INFINITY, |worst| worst.1);
            ranked.retain(|(_, quality, _)| *quality >= gamma);
        }
    }
    let mut chosen: Vec<Chosen> = ranked
        .into_iter()
        .map(|(cell, quality, log_q)| Chosen { elite: Elite { cell: cell.to_string(), quality, held_out: false }, log_q })
        .collect();
    let mut order: Vec<usize> = (0..chosen.len()).collect();
    order.shuffle(&mut seed::rng(config.seed, "held-out", &[cycle]));
    for &i in &order[..held_out(chosen.len(), config.elite.held_out)] {
        chosen[i].elite.held_out = true;
    }
    chosen
}

/// Where the search stands after all of these samples.
pub fn progress<'a>(samples: impl Iterator<Item = &'a Sample>, table: &Table) -> Search {
    let mut seen = HashSet::new();
    let mut search = Search::default();
    let mut best_quality = f64::NEG_INFINITY;
    for (cell, quality, _) in valid(samples) {
        if !seen.insert(cell) {
            continue;
        }
        search.distinct += 1;
        search.highest = search.highest.max(table.mean(cell));
        if quality > best_quality {
            (best_quality, search.incumbent) = (quality, table.mean(cell));
        }
        if cell == table.best() {
            search.best_found_at = Some(search.distinct);
        }
    }
    search
}

/// The next child of regularised evolution: of the last [`POPULATION`] cells, [`TOURNAMENT`] are drawn and the best is mutated.
pub fn evolve(history: &[(Cell, f64)], rng: &mut ChaCha8Rng) -> Cell {
    if history.len() < POPULATION {
        return Cell::random(rng);
    }
    let population = &history[history.len() - POPULATION..];
    let drawn: Vec<&(Cell, f64)> = rand::seq::index::sample(rng, POPULATION, TOURNAMENT).iter().map(|i| &population[i]).collect();
    let best = drawn.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("a tournament has members");
    best.0.mutated(rng)
}
