//! The elite set of a cycle: `E = { x : S(x) >= gamma }` with gamma the (1-rho) sample quantile of the score S over all N
//! samples. The score is the quality, or what a delta gained over its parent. A sample that is invalid has none: it counts in N, below
//! everything, and is never elite.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use crate::base::error::Result;
use crate::base::hash::Hash;
use crate::base::seed;
use crate::config::{EliteBy, EliteConfig, EliteSource, EliteWeights, RunConfig};
use crate::gates::Stage;
use crate::record::{Candidate, EliteRow, NetworkId, Store};

/// Something with its measured quality.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scored<T> {
    pub(crate) item: T,
    pub(crate) quality: f64,
}

/// Which of those that have a quality are elite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// Gamma is the quality of the n-th best, see [`Cut::wanted`]; ties at gamma are all elite, so there may be more. Where no more
    /// than n have a quality, that would select nothing: then it is the same share of those that have one.
    Quantile { rho: f64, samples: u64 },
    /// Gamma is given.
    Threshold(f64),
    /// The n best and no more; of equal ones the earlier.
    Best(usize),
    /// All that has a quality: of weights that do the choosing.
    All,
}

impl Cut {
    /// `ceil(rho * samples)`, at least one: the elites wanted of that many samples.
    pub(crate) fn wanted(rho: f64, samples: u64) -> usize {
        (rho * samples as f64 - 1e-9).ceil().max(1.0) as usize
    }

    /// As a run has it.
    fn of(config: &EliteConfig, samples: u64) -> Self {
        if config.weights == EliteWeights::Entropic {
            return Self::All;
        }
        config.threshold.map_or(Self::Quantile { rho: config.rho, samples }, Self::Threshold)
    }
}

/// The outcome of the selection, best first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Selection<T> {
    /// None where nothing has a quality and no threshold is given.
    pub(crate) gamma: Option<f64>,
    pub(crate) elites: Vec<Elite<T>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Elite<T> {
    pub(crate) item: T,
    pub(crate) quality: f64,
    /// Kept out of tuning.
    pub(crate) held_out: bool,
}

/// Selects among what a cycle measured, in the order in which it was sampled; a share of the elites is held out, by `run_seed` and
/// `cycle`.
pub(crate) fn select<T>(scored: Vec<Scored<T>>, cut: Cut, held_out: f64, run_seed: u64, cycle: u64) -> Selection<T> {
    let mut ranked = scored;
    // Stable: of equal ones those sampled first.
    ranked.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    if let Cut::Best(n) = cut {
        ranked.truncate(n);
    }
    let gamma = match cut {
        Cut::Quantile { rho, samples } => {
            let wanted = Cut::wanted(rho, samples);
            let of_measured = Cut::wanted(rho, ranked.len() as u64);
            let n = if ranked.len() > wanted { wanted } else { of_measured };
            ranked.get(n - 1).or(ranked.last()).map(|s| s.quality)
        }
        Cut::Threshold(gamma) => Some(gamma),
        Cut::Best(_) | Cut::All => ranked.last().map(|s| s.quality),
    };
    ranked.retain(|s| gamma.is_some_and(|gamma| s.quality >= gamma));
    let held_out = held_out_of(ranked.len(), held_out, run_seed, cycle);
    let elites = ranked.into_iter().zip(held_out).map(|(s, held_out)| Elite { item: s.item, quality: s.quality, held_out }).collect();
    Selection { gamma, elites }
}

/// The elites that a cycle is tuned on and judged by, as rows of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CycleElites {
    /// Threshold of the score; None where nothing has a score and the settings give no threshold.
    pub gamma: Option<f64>,
    /// Those of the cycle by score, best first; then, where elites are cumulative, those of earlier cycles.
    pub rows: Vec<EliteRow>,
}

/// Selects the elites of a cycle whose trainings are all stored; where elites are cumulative, those of earlier cycles follow.
pub fn of_cycle(store: &Store, config: &RunConfig, cycle: u64) -> Result<CycleElites> {
    let quality = store.qualities()?;
    let trained: Vec<Candidate> = store.candidates_of(cycle)?.into_iter().filter(|c| c.stage() == Some(Stage::Trained)).collect();
    let score = scores(config.elite.by, &trained, &quality);
    let scored = trained.into_iter().filter_map(|c| Some(Scored { quality: *score.get(&c.id())?, item: c })).collect();
    let cut = Cut::of(&config.elite, config.candidates);
    let selection = select(scored, cut, config.elite.held_out, config.seed, cycle);
    let row = |elite: Elite<Candidate>| EliteRow {
        cycle,
        network: elite.item.id(),
        quality: quality[&elite.item.id()],
        held_out: elite.held_out,
        example_hash: example_hash(&elite.item),
    };
    let mut rows: Vec<EliteRow> = selection.elites.into_iter().map(row).collect();
    if config.elite.source == EliteSource::Cumulative {
        let earlier = store
            .elites()?
            .into_iter()
            .filter(|e| e.cycle < cycle && matches!(e.network, NetworkId::Candidate { cycle: own, .. } if own == e.cycle));
        rows.extend(earlier.map(|e| EliteRow { cycle, ..e }));
    }
    Ok(CycleElites { gamma: selection.gamma, rows })
}

/// What each of these candidates is ranked by, where it is known. `quality` is that of all networks, their parents among them.
pub fn scores(by: EliteBy, trained: &[Candidate], quality: &BTreeMap<NetworkId, f64>) -> BTreeMap<NetworkId, f64> {
    let own = |c: &Candidate| quality.get(&c.id()).copied();
    let score = |c: &Candidate| match by {
        EliteBy::Quality => own(c),
        EliteBy::Gain => Some(own(c)? - quality.get(&c.parent)?),
        EliteBy::RankWithinParent => {
            let mine = own(c)?;
            let siblings = trained.iter().filter(|other| other.cycle == c.cycle && other.parent == c.parent && other.index != c.index);
            let of_each: Vec<f64> =
                siblings.filter_map(own).map(|other| if other == mine { 0.5 } else { f64::from(other < mine) }).collect();
            // Of an only child nothing is known.
            Some(if of_each.is_empty() { 0.5 } else { of_each.iter().sum::<f64>() / of_each.len() as f64 })
        }
    };
    trained.iter().filter_map(|c| Some((c.id(), score(c)?))).collect()
}

/// [`hash_of`] what the update sees of a candidate.
pub(crate) fn example_hash(candidate: &Candidate) -> String {
    hash_of(&candidate.prompt_hash, &candidate.tokens)
}

/// SHA-256 over an example: the hash of its prompt's tokens and its completion's tokens.
pub(crate) fn hash_of(prompt_hash: &str, completion: &[u32]) -> String {
    let mut hash = Hash::of(prompt_hash);
    hash.tokens(completion);
    hash.hex()
}

/// Which of `n` examples are held out: the share rounded, at least one of three or more, and never all.
pub(crate) fn held_out_of(n: usize, share: f64, run_seed: u64, cycle: u64) -> Vec<bool> {
    let count = if share == 0.0 || n < 3 { 0 } else { ((share * n as f64).round() as usize).clamp(1, n - 1) };
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut seed::rng(run_seed, "held-out", &[cycle]));
    let mut held_out = vec![false; n];
    order[..count].iter().for_each(|&i| held_out[i] = true);
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(qualities: &[f64]) -> Vec<Scored<usize>> {
        qualities.iter().enumerate().map(|(item, &quality)| Scored { item, quality }).collect()
    }

    fn quantile(qualities: &[f64], rho: f64, samples: u64) -> Selection<usize> {
        select(scored(qualities), Cut::Quantile { rho, samples }, 0.2, 0, 0)
    }

    #[test]
    fn invalid_samples_count_in_n() {
        // Twelve samples, five of them valid: a quarter is three.
        let selection = quantile(&[0.1, 0.5, 0.3, 0.4, 0.2], 0.25, 12);
        assert_eq!(selection.gamma, Some(0.3));
        assert_eq!(selection.elites.iter().map(|e| e.quality).collect::<Vec<_>>(), [0.5, 0.4, 0.3]);
        assert_eq!(selection.elites.iter().filter(|e| e.held_out).count(), 1);
    }

    #[test]
    fn ties_at_gamma_are_all_elite_and_of_too_few_a_share_is() {
        assert_eq!(quantile(&[0.5, 0.5, 0.5, 0.1], 0.25, 4).elites.len(), 3);
        // All six were elite once where thirteen were wanted of fifty: half of all networks, or more, for a rho of a quarter.
        let few = quantile(&[0.6, 0.1, 0.5, 0.2, 0.3, 0.4], 0.25, 50);
        assert_eq!((few.gamma, few.elites.len()), (Some(0.5), 2));
        assert_eq!(quantile(&[0.5, 0.1], 0.25, 100).elites.len(), 1);
        assert_eq!(quantile(&[0.5, 0.4, 0.3, 0.2], 1.0, 4).elites.len(), 4, "all are elite where all are asked for");
        assert_eq!(quantile(&[], 0.25, 10), Selection { gamma: None, elites: vec![] });
    }

    #[test]
    fn the_best_are_no_more_than_were_asked_for_the_earlier_of_equals() {
        let selection = select(scored(&[0.1, 0.5, 0.7, 0.5]), Cut::Best(2), 0.0, 0, 0);
        assert_eq!((selection.gamma, selection.elites.iter().map(|e| e.item).collect::<Vec<_>>()), (Some(0.5), vec![2, 1]));
    }

    #[test]
    fn a_threshold_replaces_the_quantile() {
        let config = EliteConfig { threshold: Some(0.35), ..EliteConfig::default() };
        let above = |qualities: &[f64]| select(scored(qualities), Cut::of(&config, 4), 0.2, 0, 0);
        assert_eq!(above(&[0.1, 0.5, 0.3, 0.4]).elites.len(), 2);
        assert_eq!(above(&[0.1]), Selection { gamma: Some(0.35), elites: vec![] });
    }

    #[test]
    fn gains_and_ranks_are_within_a_parent() {
        let start = |name: &str| NetworkId::Start(name.into());
        let made = |index, parent: &str| Candidate::new(1, index, start(parent), "");
        let trained = [made(0, "good"), made(1, "good"), made(2, "poor"), made(3, "poor"), made(4, "poor"), made(5, "alone")];
        let mut quality: BTreeMap<NetworkId, f64> = trained.iter().map(Candidate::id).zip([0.75, 0.625, 0.5, 0.25, 0.25, 0.5]).collect();
        quality.extend([("good", 0.75), ("poor", 0.25)].map(|(name, quality)| (start(name), quality)));
        let by = |by| scores(by, &trained, &quality).into_values().collect::<Vec<_>>();
        assert_eq!(by(EliteBy::Quality), [0.75, 0.625, 0.5, 0.25, 0.25, 0.5]);
        // The parent of the last was not trained.
        assert_eq!(by(EliteBy::Gain), [0.0, -0.125, 0.25, 0.0, 0.0]);
        assert_eq!(by(EliteBy::RankWithinParent), [1.0, 0.0, 1.0, 0.25, 0.25, 0.5]);
    }

    #[test]
    fn quantile_rounding_is_not_fooled_by_binary_fractions() {
        // 0.2 * 50 is 10.000000000000002 in floating point; the elites are ten, not eleven.
        let qualities: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(quantile(&qualities, 0.2, 50).elites.len(), 10);
    }

    #[test]
    fn the_same_seed_holds_out_the_same_elites() {
        assert_eq!(held_out_of(20, 0.2, 7, 3), held_out_of(20, 0.2, 7, 3));
        assert_ne!(held_out_of(20, 0.2, 7, 3), held_out_of(20, 0.2, 8, 3));
        let count = |n, share| held_out_of(n, share, 1, 1).into_iter().filter(|held_out| *held_out).count();
        assert_eq!([count(2, 0.5), count(3, 0.01), count(20, 0.2), count(3, 0.99), count(9, 0.0)], [0, 1, 4, 2, 0]);
    }
}
