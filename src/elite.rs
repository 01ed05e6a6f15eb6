//! The elite set of a cycle: `E = { x : S(x) >= gamma }` with gamma the (1-rho) sample quantile of the quality over all N
//! samples. A sample that is invalid has no quality: it counts in N, below everything, and is never elite.

use rand::seq::SliceRandom;

use crate::config::{EliteConfig, EliteSource, RunConfig};
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::record::{Candidate, EliteRow, NetworkId, Stage, Store};
use crate::seed;

/// A candidate with its measured quality.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub network: NetworkId,
    pub quality: f64,
}

/// The outcome of the selection, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// None where nothing was trained.
    pub gamma: Option<f64>,
    pub elites: Vec<Elite>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Elite {
    pub network: NetworkId,
    pub quality: f64,
    /// Kept out of tuning.
    pub held_out: bool,
}

/// Selects among the trained candidates of a cycle of `samples` samples.
///
/// Ties at gamma are all elite, so there may be more than `ceil(rho * samples)`.
pub fn select(scored: &[Scored], samples: u64, config: &EliteConfig, run_seed: u64, cycle: u64) -> Selection {
    let mut ranked = scored.to_vec();
    ranked.sort_by(|a, b| b.quality.total_cmp(&a.quality).then_with(|| a.network.cmp(&b.network)));
    let gamma = config.threshold.or_else(|| {
        let wanted = (config.rho * samples as f64 - 1e-9).ceil().max(1.0) as usize;
        ranked.get(wanted - 1).or(ranked.last()).map(|s| s.quality)
    });
    let elites = ranked.into_iter().filter(|s| gamma.is_some_and(|g| s.quality >= g));
    let mut elites: Vec<Elite> = elites.map(|s| Elite { network: s.network, quality: s.quality, held_out: false }).collect();

    let mut order: Vec<usize> = (0..elites.len()).collect();
    order.shuffle(&mut seed::rng(run_seed, "held-out", &[cycle]));
    for &i in &order[..held_out(elites.len(), config.held_out)] {
        elites[i].held_out = true;
    }
    Selection { gamma, elites }
}

/// The elites that a cycle is tuned on and judged by, as rows of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CycleElites {
    pub gamma: Option<f64>,
    pub rows: Vec<EliteRow>,
}

/// Selects the elites of a cycle whose trainings are all stored; where elites are cumulative, those of earlier cycles follow.
pub fn of_cycle(store: &Store, config: &RunConfig, cycle: u64) -> Result<CycleElites> {
    let quality = store.qualities()?;
    let candidates = store.candidates()?;
    let scored: Vec<Scored> = candidates
        .iter()
        .filter(|c| c.cycle == cycle && c.stage() == Some(Stage::Trained))
        .filter_map(|c| Some(Scored { network: c.id(), quality: *quality.get(&c.id())? }))
        .collect();
    let selection = select(&scored, config.candidates, &config.elite, config.seed, cycle);
    let mut rows = Vec::new();
    for elite in selection.elites {
        let candidate =
            candidates.iter().find(|c| c.id() == elite.network).ok_or_else(|| Error::machine("an elite is not in the store"))?;
        let example_hash = example_hash(candidate);
        rows.push(EliteRow { cycle, network: elite.network, quality: elite.quality, held_out: elite.held_out, example_hash });
    }
    if config.elite.source == EliteSource::Cumulative {
        let earlier = store
            .elites()?
            .into_iter()
            .filter(|e| e.cycle < cycle && matches!(e.network, NetworkId::Candidate { cycle: own, .. } if own == e.cycle));
        rows.extend(earlier.map(|e| EliteRow { cycle, ..e }));
    }
    Ok(CycleElites { gamma: selection.gamma, rows })
}

/// [`hash_of`] what the update sees of a candidate.
pub fn example_hash(candidate: &Candidate) -> String {
    hash_of(&candidate.prompt_hash, &candidate.tokens)
}

/// SHA-256 over an example: the hash of its prompt's tokens and its completion's tokens.
pub fn hash_of(prompt_hash: &str, completion: &[u32]) -> String {
    let mut hash = Hash::of(prompt_hash);
    hash.tokens(completion);
    hash.hex()
}

/// How many of `n` examples are held out: the share rounded, at least one of three or more, and never all.
pub fn held_out(n: usize, share: f64) -> usize {
    if share == 0.0 || n < 3 {
        return 0;
    }
    ((share * n as f64).round() as usize).clamp(1, n - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(qualities: &[f64]) -> Vec<Scored> {
        let id = |index| NetworkId::Candidate { cycle: 0, index };
        qualities.iter().enumerate().map(|(i, &quality)| Scored { network: id(i as u64), quality }).collect()
    }

    fn config(rho: f64) -> EliteConfig {
        EliteConfig { rho, ..EliteConfig::default() }
    }

    #[test]
    fn invalid_samples_count_in_n() {
        // Twelve samples, five of them valid: a quarter is three.
        let selection = select(&scored(&[0.1, 0.5, 0.3, 0.4, 0.2]), 12, &config(0.25), 0, 0);
        assert_eq!(selection.gamma, Some(0.3));
        assert_eq!(selection.elites.iter().map(|e| e.quality).collect::<Vec<_>>(), [0.5, 0.4, 0.3]);
        assert_eq!(selection.elites.iter().filter(|e| e.held_out).count(), 1);
    }

    #[test]
    fn ties_at_gamma_are_all_elite_and_too_few_valid_are_all_elite() {
        assert_eq!(select(&scored(&[0.5, 0.5, 0.5, 0.1]), 4, &config(0.25), 0, 0).elites.len(), 3);
        assert_eq!(select(&scored(&[0.5, 0.1]), 100, &config(0.25), 0, 0).elites.len(), 2);
        assert_eq!(select(&[], 10, &config(0.25), 0, 0), Selection { gamma: None, elites: vec![] });
    }

    #[test]
    fn a_threshold_replaces_the_quantile() {
        let config = EliteConfig { threshold: Some(0.35), ..config(0.25) };
        assert_eq!(select(&scored(&[0.1, 0.5, 0.3, 0.4]), 4, &config, 0, 0).elites.len(), 2);
        assert!(select(&scored(&[0.1]), 4, &config, 0, 0).elites.is_empty());
    }

    #[test]
    fn quantile_rounding_is_not_fooled_by_binary_fractions() {
        // 0.2 * 50 is 10.000000000000002 in floating point; the elites are ten, not eleven.
        let qualities: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(select(&scored(&qualities), 50, &config(0.2), 0, 0).elites.len(), 10);
    }

    #[test]
    fn the_same_seed_holds_out_the_same_elites() {
        let all = scored(&(0..40).map(|i| f64::from(i) / 40.0).collect::<Vec<_>>());
        assert_eq!(select(&all, 40, &config(0.5), 7, 3), select(&all, 40, &config(0.5), 7, 3));
        assert_ne!(select(&all, 40, &config(0.5), 7, 3), select(&all, 40, &config(0.5), 8, 3));
    }
}
