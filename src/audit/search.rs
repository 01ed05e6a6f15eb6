//! What was queried so far, which of it is elite, and where the search stands.

use std::collections::HashSet;

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::codec::{Parents, Proposal};
use super::record::{Cycle, Elite, Sample, Search};
use super::settings::{AuditConfig, AuditEliteSource, CellFormat, Choice};
use crate::base::seed;
use crate::config::{EliteWeights, Policy};
use crate::method::elite::{Cut, Scored, select};
use crate::method::parents;
use crate::oracle::{Cell, Space, Table};
use crate::policy::evolution::{Draws, Evolution};
use crate::record::NetworkId;

const EVOLUTION: Evolution = Evolution { population: 50, tournament: 10, draws: Draws::Distinct };

/// An elite, and the log q it was sampled with where that was in this cycle.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) elite: Elite,
    pub(crate) log_q: Option<f64>,
}

/// Samples by their names.
pub(crate) fn named(cycle: u64, samples: &[Sample]) -> impl Iterator<Item = (NetworkId, &Sample)> {
    (0..).zip(samples).map(move |(index, sample)| (NetworkId::Candidate { cycle, index }, sample))
}

fn all(cycles: &[Cycle]) -> impl Iterator<Item = (NetworkId, &Sample)> {
    cycles.iter().flat_map(|c| named(c.cycle, &c.samples))
}

/// What samples proposed that has a quality, in order, with log q.
fn valid<'a>(samples: impl Iterator<Item = (NetworkId, &'a Sample)>) -> impl Iterator<Item = Chosen> {
    samples.filter_map(|(id, s)| {
        let Proposal { parent, cell } = s.proposal()?;
        Some(Chosen { elite: Elite { sample: id, parent, cell, quality: s.quality?, held_out: false }, log_q: s.log_q })
    })
}

/// The distinct cells of samples that have a quality, each as it was proposed first, best first.
fn archive<'a>(samples: impl Iterator<Item = (NetworkId, &'a Sample)>) -> Vec<Chosen> {
    let mut seen = HashSet::new();
    let mut cells: Vec<_> = valid(samples).filter(|known| seen.insert(known.elite.cell)).collect();
    // Stable: of equal ones those sampled first.
    cells.sort_by(|a, b| b.elite.quality.total_cmp(&a.elite.quality));
    cells
}

/// Whose deltas a cycle asks for, best first, and how many of each: see [`AuditConfig::parents`]. `earlier` are the cycles
/// before it.
pub(crate) fn parents(earlier: &[Cycle], config: &AuditConfig, space: &'static Space, cycle: u64) -> Parents {
    let n = config.candidates;
    if config.format == CellFormat::Full {
        return vec![(None, n)];
    }
    let rng = |i: usize| seed::rng(config.seed, "parent", &[cycle, i as u64]);
    if config.policy == Policy::BestOfN {
        return (0..n).map(|i| (Some(Cell::random(space, &mut rng(i))), 1)).collect();
    }
    let mut pool: Vec<Cell> = archive(all(earlier)).into_iter().map(|known| known.elite.cell).collect();
    if config.novelty.enabled {
        let queried: HashSet<Cell> = pool.iter().copied().collect();
        pool.retain(|cell| cell.neighbours().any(|neighbour| !queried.contains(&neighbour)));
    }
    let power = if config.policy == Policy::Uniform { 0.0 } else { config.parents.power };
    let Some(shares) = parents::shares(pool.len(), n, power, rng) else {
        // There are none yet, or the whole space was queried.
        return (0..n).map(|i| (Some(Cell::random(space, &mut rng(i))), 1)).collect();
    };
    pool.into_iter().map(Some).zip(shares).filter(|(_, share)| *share > 0).collect()
}

/// The elites of a cycle, best first; `earlier` are the cycles before it.
pub(crate) fn elites(earlier: &[Cycle], samples: &[Sample], config: &AuditConfig, cycle: u64) -> Vec<Chosen> {
    let wanted = config.elites();
    let scored = |known: Chosen| Scored { quality: known.elite.quality, item: known };
    let (scored, cut): (Vec<_>, Cut) = match config.elite.source {
        AuditEliteSource::Archive => {
            let old: HashSet<Proposal> = valid(all(earlier)).map(|known| known.elite.proposal()).collect();
            let known = archive(all(earlier).chain(named(cycle, samples)));
            // An elite of an earlier cycle has no log q of this one.
            let of_now = known.into_iter().map(|k| Chosen { log_q: k.log_q.filter(|_| !old.contains(&k.elite.proposal())), ..k });
            (of_now.map(scored).collect(), Cut::Best(wanted))
        }
        AuditEliteSource::Cycle => {
            let quantile = Cut::Quantile { rho: config.elite.rho, samples: config.candidates as u64 };
            let cut = if config.elite.weights == EliteWeights::Entropic { Cut::All } else { quantile };
            (valid(named(cycle, samples)).map(scored).collect(), config.elite.threshold.map_or(cut, Cut::Threshold))
        }
        AuditEliteSource::Population => return Vec::new(),
    };
    let (scored, cut) = match config.elite.choice {
        Choice::Best => (scored, cut),
        Choice::Random => {
            let n = select(scored.clone(), cut, 0.0, config.seed, cycle).elites.len();
            let mut rng = seed::rng(config.seed, "random-elites", &[cycle]);
            (scored.choose_multiple(&mut rng, n).cloned().collect(), Cut::Best(n))
        }
    };
    let selection = select(scored, cut, config.elite.held_out, config.seed, cycle);
    let chosen = selection.elites.into_iter().map(|elite| {
        let Chosen { elite: known, log_q } = elite.item;
        Chosen { elite: Elite { held_out: elite.held_out, ..known }, log_q }
    });
    chosen.collect()
}

/// Where the search stands after the samples of a cycle; `earlier` are the cycles before it.
pub(crate) fn progress(earlier: &[Cycle], cycle: u64, samples: &[Sample], table: &Table) -> Search {
    let mut seen = HashSet::new();
    let mut search = Search::default();
    let mut best_quality = f64::NEG_INFINITY;
    for Chosen { elite: Elite { cell, quality, .. }, .. } in valid(all(earlier).chain(named(cycle, samples))) {
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

/// The next child of regularised evolution, a random cell until the population is full.
pub(crate) fn evolve(space: &'static Space, history: &[(Cell, f64)], rng: &mut ChaCha8Rng) -> Cell {
    if history.len() < EVOLUTION.population {
        return Cell::random(space, rng);
    }
    let (parent, _) = EVOLUTION.parent(EVOLUTION.alive(history), |(_, quality)| *quality, rng);
    parent.mutated(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::nasbench201::space;

    fn sample(cell: usize, quality: f64) -> Sample {
        let mut sample = Sample::new(space(), None, Cell::at(space(), cell).to_string());
        (sample.log_q, sample.quality) = (Some(-1.0), Some(quality));
        sample
    }

    fn config(overrides: &[&str]) -> AuditConfig {
        AuditConfig::resolve(None, &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn evolution_mutates_the_best_of_ten_of_the_last_fifty() {
        let mut rng = seed::rng(1, "test", &[]);
        // The best of all is the oldest of 51 and so dead; of the others quality falls with the index.
        let history: Vec<(Cell, f64)> = (0..51).map(|i| (Cell::at(space(), 300 * i), 0.91 - 0.01 * i as f64)).collect();
        let mut ranks = Vec::new();
        for _ in 0..2_000 {
            let child = evolve(space(), &history, &mut rng);
            assert!(history[1..].iter().any(|(cell, _)| cell.distance(child) == 1));
            ranks.extend((1..51).filter(|&i| history[i].0.distance(child) == 1).take(1));
        }
        // The best of ten of fifty has mean rank 51/11 = 4.6.
        let mean = ranks.iter().sum::<usize>() as f64 / ranks.len() as f64;
        assert!((3.6..5.6).contains(&mean), "{mean}");
        let young = &history[..49];
        assert_ne!(evolve(space(), young, &mut rng), evolve(space(), young, &mut rng), "random until there are fifty");
    }

    #[test]
    fn elites_are_of_the_cycle_with_ties_or_the_best_distinct_cells_of_all() {
        let earlier = [Cycle { cycle: 1, samples: vec![sample(1, 0.95), sample(2, 0.80)], ..Cycle::default() }];
        let samples = [sample(3, 0.90), sample(1, 0.95), sample(3, 0.90), sample(4, 0.70)];
        let cells = |source: &str| {
            let config = config(&["candidates=4", "elite.rho=0.5", source]);
            elites(&earlier, &samples, &config, 2).iter().map(|c| (c.elite.cell.index(), c.log_q)).collect::<Vec<_>>()
        };
        assert_eq!(cells("elite.source=cycle"), [(1, Some(-1.0)), (3, Some(-1.0)), (3, Some(-1.0))]);
        assert_eq!(cells("elite.source=archive"), [(1, None), (3, Some(-1.0))]);
    }

    #[test]
    fn parents_are_drawn_by_rank_and_those_without_a_new_neighbour_never() {
        let config = |novelty: &str| config(&["format=delta", "candidates=40000", "parents.power=2", novelty]);
        let random = parents(&[], &config("novelty.enabled=true"), space(), 1);
        assert!(random.len() == 40_000 && random.iter().all(|(parent, share)| parent.is_some() && *share == 1));
        // The best cell with all its neighbours but one, which is the last of the ranks.
        let best = Cell::at(space(), 7);
        let mut samples = vec![sample(7, 0.95)];
        samples.extend(best.neighbours().skip(1).enumerate().map(|(i, cell)| sample(cell.index(), 0.9 - 0.01 * i as f64)));
        let cycle = |samples: &[Sample]| [Cycle { cycle: 1, samples: samples.to_vec(), ..Cycle::default() }];
        let open = parents(&cycle(&samples), &config("novelty.enabled=true"), space(), 2);
        assert_eq!(open.iter().map(|(_, share)| share).sum::<usize>(), 40_000);
        // Shares of 1, 1/4, 1/9 ... of 24 ranks.
        let total: f64 = (1..=24).map(|r| 1.0 / f64::from(r * r)).sum();
        assert_eq!(open[0].0, Some(best));
        assert!((open[0].1 as f64 / 4e4 - 1.0 / total).abs() < 0.01 && (open[1].1 as f64 / 4e4 - 0.25 / total).abs() < 0.01, "{open:?}");
        samples.push(sample(best.neighbours().next().unwrap().index(), 0.1));
        assert_ne!(
            parents(&cycle(&samples), &config("novelty.enabled=true"), space(), 2)[0].0,
            Some(best),
            "all its neighbours were queried"
        );
        assert_eq!(parents(&cycle(&samples), &config("novelty.enabled=false"), space(), 2)[0].0, Some(best));
    }
}
