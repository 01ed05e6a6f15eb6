//! `pi_t(a)`: which sources the policy is shown. The pool holds the start networks and the best elites so far; a cycle draws
//! distinct parents from it, the r-th best with weight (1+r)^-power, and shares its candidates out evenly among them.

use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use crate::base::seed;
use crate::config::ParentsConfig;
use crate::policy::evolution::{Draws, Evolution};
use crate::policy::local_search::LocalSearch;
use crate::record::NetworkId;

/// A network that may become a parent; one whose own training failed has no quality and ranks last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Eligible {
    pub(crate) network: NetworkId,
    pub(crate) quality: Option<f64>,
}

/// Draws the parents of a cycle from all start networks and the `pool` best of `elites` (a network may be listed twice).
pub(crate) fn draw(starts: &[Eligible], elites: &[Eligible], config: &ParentsConfig, run_seed: u64, cycle: u64) -> Vec<NetworkId> {
    let mut best = elites.to_vec();
    rank(&mut best);
    best.truncate(config.pool);
    let mut pool = [starts, &best].concat();
    rank(&mut pool);
    let drawn = draw_ranks(pool.len(), config.per_cycle, config.power, &mut seed::rng(run_seed, "parents", &[cycle]));
    drawn.into_iter().map(|at| pool[at].network.clone()).collect()
}

/// The weights of ranks, best first: `(1+r)^-power` of the r-th, from 0.
pub(crate) fn weights(ranks: usize, power: f64) -> Vec<f64> {
    (1..=ranks).map(|rank| (rank as f64).powf(-power)).collect()
}

/// So many of the ranks (all where there are no more), none twice, by their weights.
fn draw_ranks(ranks: usize, count: usize, power: f64, rng: &mut impl Rng) -> Vec<usize> {
    let mut weights = weights(ranks, power);
    let mut drawn = Vec::new();
    while drawn.len() < count.min(ranks) {
        let mut point = rng.random::<f64>() * weights.iter().sum::<f64>();
        let at = weights.iter().position(|w| {
            point -= w;
            point < 0.0 && *w > 0.0
        });
        // Rounding may leave the point just past the last weight.
        let at = at.unwrap_or_else(|| weights.iter().rposition(|w| *w > 0.0).expect("fewer are drawn than there are"));
        weights[at] = 0.0;
        drawn.push(at);
    }
    drawn
}

/// How many of `samples` fall to each rank, each drawn by their weights from a stream of its own; None where there are no ranks.
pub(crate) fn shares<R: Rng>(ranks: usize, samples: usize, power: f64, stream: impl Fn(usize) -> R) -> Option<Vec<usize>> {
    let drawn = WeightedIndex::new(weights(ranks, power)).ok()?;
    let mut shares = vec![0; ranks];
    for i in 0..samples {
        shares[drawn.sample(&mut stream(i))] += 1;
    }
    Some(shares)
}

/// Parents by regularised evolution, each candidate's by a tournament of its own. All candidates of a cycle are born together, so the
/// population moves on once a cycle.
///
/// `trained` is in the order of birth. Where none of it has a quality, any of it may be a parent.
pub(crate) fn tournaments(trained: &[Eligible], config: &ParentsConfig, run_seed: u64, cycle: u64, candidates: u64) -> Vec<NetworkId> {
    let mut born: Vec<&Eligible> = trained.iter().filter(|e| e.quality.is_some()).collect();
    if born.is_empty() {
        born = trained.iter().collect();
    }
    let evolution = Evolution { population: config.population, tournament: config.tournament, draws: Draws::WithReplacement };
    let alive = evolution.alive(&born);
    let winner = |index| {
        let mut rng = seed::rng(run_seed, "tournament", &[cycle, index]);
        evolution.parent(alive, |e| quality(e), &mut rng).network.clone()
    };
    (0..candidates).map(winner).collect()
}

/// Parents drawn uniformly of all that was trained, each candidate's by itself; where none of it has a quality, of any of it.
pub(crate) fn uniform(trained: &[Eligible], run_seed: u64, cycle: u64, candidates: u64) -> Vec<NetworkId> {
    let mut known: Vec<&Eligible> = trained.iter().filter(|e| e.quality.is_some()).collect();
    if known.is_empty() {
        known = trained.iter().collect();
    }
    let one = |index| known[seed::rng(run_seed, "uniform parent", &[cycle, index]).random_range(0..known.len())].network.clone();
    (0..candidates).map(one).collect()
}

/// Where a local search stands that began at the best start network; `children` are in the order in which they were proposed, each after
/// its parent.
pub(crate) fn local_search(starts: &[Eligible], children: &[(NetworkId, Eligible)]) -> NetworkId {
    let mut ranked = starts.to_vec();
    rank(&mut ranked);
    let mut search = LocalSearch::default();
    search.observe(&ranked[0].network, quality(&ranked[0]), |_, _| true);
    for (parent, child) in children {
        if let Some(quality) = child.quality {
            search.observe(&child.network, quality, |at, _| at == parent);
        }
    }
    search.at().expect("it stands on a start network at least").clone()
}

/// The parent of each of `candidates` samples: contiguous blocks, so that samples of one parent share its prefill.
pub(crate) fn share_out(parents: &[NetworkId], candidates: u64) -> Vec<NetworkId> {
    (0..candidates).map(|i| parents[(i * parents.len() as u64 / candidates) as usize].clone()).collect()
}

fn quality(eligible: &Eligible) -> f64 {
    eligible.quality.unwrap_or(f64::NEG_INFINITY)
}

/// Best first, each network once.
fn rank(pool: &mut Vec<Eligible>) {
    pool.sort_by(|a, b| quality(b).total_cmp(&quality(a)).then_with(|| a.network.cmp(&b.network)));
    pool.dedup_by(|a, b| a.network == b.network);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(name: &str, quality: f64) -> Eligible {
        Eligible { network: NetworkId::Start(name.into()), quality: Some(quality) }
    }

    fn elite(index: u64, quality: f64) -> Eligible {
        Eligible { network: NetworkId::Candidate { cycle: 0, index }, quality: Some(quality) }
    }

    #[test]
    fn parents_are_distinct_and_the_first_cycle_draws_start_networks() {
        let starts = [start("a", 0.3), start("b", 0.2), Eligible { network: NetworkId::Start("c".into()), quality: None }];
        let config = ParentsConfig { per_cycle: 3, ..ParentsConfig::default() };
        let mut drawn = draw(&starts, &[], &config, 1, 0);
        drawn.sort();
        assert_eq!(drawn, starts.map(|s| s.network));
    }

    #[test]
    fn only_the_best_elites_are_in_the_pool_and_the_best_is_drawn_most() {
        let elites: Vec<_> = (0..10).map(|i| elite(i, i as f64)).chain([elite(9, 9.0)]).collect();
        let config = ParentsConfig { per_cycle: 1, pool: 2, power: 1.0, ..ParentsConfig::default() };
        let mut count = std::collections::BTreeMap::new();
        for cycle in 0..3000 {
            for parent in draw(&[start("a", 0.0)], &elites, &config, 5, cycle) {
                *count.entry(parent.to_string()).or_insert(0) += 1;
            }
        }
        assert_eq!(count.keys().collect::<Vec<_>>(), ["0/8", "0/9", "start/a"]);
        // Weights 1, 1/2, 1/3 over 11/6: 1636, 818 and 545 of 3000, within four standard errors.
        assert!((count["0/9"] - 1636_i32).abs() < 110, "{count:?}");
        assert!((count["start/a"] - 545_i32).abs() < 90, "{count:?}");
    }

    #[test]
    fn evolution_breeds_from_the_youngest_and_the_best_wins() {
        // Twenty networks, the oldest the best; only the five youngest are alive.
        let trained: Vec<_> = (0..20).map(|i| elite(i, 20.0 - i as f64)).chain([start("failed", 0.0)]).collect();
        let trained: Vec<_> =
            trained.into_iter().map(|e| Eligible { quality: e.quality.filter(|q| *q > 0.0), network: e.network }).collect();
        let config = ParentsConfig { population: 5, tournament: 2, ..ParentsConfig::default() };
        let winners = tournaments(&trained, &config, 1, 4, 2000);
        let wins = |index| winners.iter().filter(|w| **w == elite(index, 0.0).network).count() as i64;
        // The best of 5 wins a tournament of two draws with probability 1 - (4/5)^2 = .36, the worst with 1/25; within four
        // standard errors.
        assert_eq!((15..20).map(wins).sum::<i64>(), 2000);
        assert!((wins(15) - 720).abs() < 86 && (wins(19) - 80).abs() < 36, "{} {}", wins(15), wins(19));
        assert_eq!(winners[..10], tournaments(&trained, &config, 1, 4, 10));
        let untrained = [start("a", 0.0)].map(|e| Eligible { quality: None, ..e });
        assert_eq!(tournaments(&untrained, &config, 1, 1, 2), vec![untrained[0].network.clone(); 2]);
    }

    #[test]
    fn uniform_parents_are_all_that_was_measured_whatever_their_rank() {
        let mut trained: Vec<_> = (0..9).map(|i| elite(i, i as f64)).collect();
        trained.push(Eligible { network: NetworkId::Start("failed".into()), quality: None });
        let drawn = uniform(&trained, 3, 2, 9000);
        for one in &trained[..9] {
            // 1000 of each, within four standard errors.
            let count = drawn.iter().filter(|d| **d == one.network).count() as i64;
            assert!((count - 1000).abs() < 120, "{count}");
        }
        assert_eq!(uniform(&trained[9..], 3, 2, 2), vec![trained[9].network.clone(); 2]);
    }

    #[test]
    fn a_local_search_goes_to_the_first_better_child_and_never_to_another_ones() {
        let starts = [start("a", 0.3), start("b", 0.5)];
        let child = |parent: &Eligible, index, quality| (parent.network.clone(), elite(index, quality));
        let (first, second) = (elite(1, 0.6), elite(4, 0.7));
        let mut children = vec![child(&starts[1], 0, 0.4), child(&starts[1], 1, 0.6), child(&starts[1], 2, 0.9)];
        assert_eq!(local_search(&starts, &[]), starts[1].network);
        assert_eq!(local_search(&starts, &children), first.network, "the first and not the best");
        children.extend([child(&starts[0], 3, 0.95), child(&first, 4, 0.7)]);
        assert_eq!(local_search(&starts, &children), second.network);
        children.push((second.network.clone(), Eligible { quality: None, ..elite(5, 0.0) }));
        assert_eq!(local_search(&starts, &children), second.network);
    }

    #[test]
    fn candidates_are_shared_out_evenly_in_blocks() {
        let parents = [start("a", 0.0).network, start("b", 0.0).network, start("c", 0.0).network];
        let shared = share_out(&parents, 8);
        let of = |p: &NetworkId| shared.iter().filter(|s| *s == p).count();
        assert_eq!(parents.each_ref().map(of), [3, 3, 2]);
        assert!(shared.is_sorted());
    }
}
