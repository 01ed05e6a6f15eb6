//! What the update of a cycle is tuned on. The CE update takes the elites; the controls take all valid candidates, or as many of
//! these as there are elites, drawn whatever their quality. A share of each is held out to see whether the update generalises.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;

use crate::base::error::Result;
use crate::base::seed;
use crate::config::{EliteSource, EliteWeights, RunConfig, TuneData};
use crate::method::elite::{Cut, CycleElites, Scored, held_out_of, scores, select};
use crate::method::weights;
use crate::record::{EliteRow, NetworkId, Store};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) network: NetworkId,
    pub(crate) held_out: bool,
    /// In the update, of any scale; 1 where all weigh the same.
    pub(crate) weight: f64,
}

/// The tuning set of a cycle whose elites are `elites`, in the order of the elites or else of the candidates.
pub(crate) fn of_cycle(store: &Store, config: &RunConfig, cycle: u64, elites: &CycleElites) -> Result<Vec<Chosen>> {
    if matches!(config.tune.data, TuneData::Elites | TuneData::Replay) {
        let weights = weights_of(store, config, cycle, &elites.rows)?;
        let one = |(e, weight): (&EliteRow, f64)| Chosen { network: e.network.clone(), held_out: e.held_out, weight };
        let mut chosen: Vec<Chosen> = elites.rows.iter().zip(weights).map(one).collect();
        if config.tune.data == TuneData::Replay {
            for old in store.elites()?.into_iter().filter(|e| e.cycle < cycle) {
                let known = chosen.iter().any(|c| c.network == old.network);
                let weight = config.tune.decay.powi((cycle - old.cycle) as i32);
                if !known && !old.held_out && weight > 0.0 {
                    chosen.push(Chosen { network: old.network, held_out: false, weight });
                }
            }
        }
        return Ok(chosen);
    }
    if config.tune.data == TuneData::Archive {
        return archive(store, config, cycle, elites.rows.len());
    }
    let reach = |of: u64| of == cycle || config.elite.source == EliteSource::Cumulative;
    let valid = store.trained_up_to(cycle)?.into_iter().filter(|c| reach(c.cycle));
    let mut networks: Vec<NetworkId> = valid.map(|c| c.id()).collect();
    if config.tune.data == TuneData::RandomSubset {
        let mut rng = seed::rng(config.seed, "random-subset", &[cycle]);
        networks = networks.choose_multiple(&mut rng, elites.rows.len()).cloned().collect();
        networks.sort();
    }
    let held_out = held_out_of(networks.len(), config.elite.held_out, config.seed, cycle);
    Ok(networks.into_iter().zip(held_out).map(|(network, held_out)| Chosen { network, held_out, weight: 1.0 }).collect())
}

/// What each elite of a cycle weighs in its update.
fn weights_of(store: &Store, config: &RunConfig, cycle: u64, elites: &[EliteRow]) -> Result<Vec<f64>> {
    if config.elite.weights == EliteWeights::Truncation {
        return Ok(vec![1.0; elites.len()]);
    }
    let score = scores_up_to(store, config, cycle)?;
    let of_elites: Vec<f64> = elites.iter().map(|e| score.get(&e.network).copied().unwrap_or(e.quality)).collect();
    Ok(weights::of(config.elite.weights, &of_elites, config.elite.rho, config.candidates as usize))
}

/// What the candidates that were trained up to a cycle are ranked by.
fn scores_up_to(store: &Store, config: &RunConfig, cycle: u64) -> Result<BTreeMap<NetworkId, f64>> {
    Ok(scores(config.elite.by, &store.trained_up_to(cycle)?, &store.qualities()?))
}

/// The `wanted` best of all that was trained up to a cycle, best first; of equal ones the earlier.
fn archive(store: &Store, config: &RunConfig, cycle: u64, wanted: usize) -> Result<Vec<Chosen>> {
    let scored = scores_up_to(store, config, cycle)?.into_iter().map(|(item, quality)| Scored { item, quality }).collect();
    let best = select(scored, Cut::Best(wanted), config.elite.held_out, config.seed, cycle).elites;
    Ok(best.into_iter().map(|e| Chosen { network: e.item, held_out: e.held_out, weight: 1.0 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Stage;
    use crate::record::{Candidate, Kind, Screened, Training};

    fn candidate(cycle: u64, index: u64, stage: Stage) -> Candidate {
        let parent = NetworkId::Start("plain".into());
        Candidate { screened: Some(Screened::at(stage)), ..Candidate::new(cycle, index, parent, "") }
    }

    #[test]
    fn controls_take_valid_candidates_of_the_cycle_whatever_their_quality() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        for index in 0..20 {
            store.put_candidate(&candidate(1, index, Stage::Trained)).unwrap();
            store.put_candidate(&candidate(2, index, if index < 12 { Stage::Trained } else { Stage::Applied })).unwrap();
        }
        let row = |index| EliteRow {
            cycle: 2,
            network: NetworkId::Candidate { cycle: 2, index },
            quality: 0.5,
            held_out: index == 0,
            example_hash: String::new(),
        };
        let elites = CycleElites { gamma: Some(0.5), rows: (0..5).map(row).collect() };
        let with = |data, source| {
            let mut config = RunConfig::default();
            (config.tune.data, config.elite.source) = (data, source);
            of_cycle(&store, &config, 2, &elites).unwrap()
        };
        let same = with(TuneData::Elites, EliteSource::Cycle);
        assert_eq!(same.iter().map(|c| &c.network).collect::<Vec<_>>(), elites.rows.iter().map(|e| &e.network).collect::<Vec<_>>());
        assert!(same[0].held_out && !same[1].held_out);

        let all = with(TuneData::AllValid, EliteSource::Cycle);
        assert_eq!((all.len(), all.iter().filter(|c| c.held_out).count()), (12, 2));
        let subset = with(TuneData::RandomSubset, EliteSource::Cycle);
        assert_eq!((subset.len(), subset.iter().filter(|c| c.held_out).count()), (5, 1));
        assert!(subset.iter().all(|c| all.iter().any(|a| a.network == c.network)), "valid ones of this cycle");
        assert_ne!(
            subset.iter().map(|c| c.network.clone()).collect::<Vec<_>>(),
            elites.rows.iter().map(|e| e.network.clone()).collect::<Vec<_>>()
        );
        assert_eq!(with(TuneData::AllValid, EliteSource::Cumulative).len(), 32);

        // Replay: what earlier cycles were tuned on, weighing less; an archive: the best of all that was trained.
        let old = |index, held_out| EliteRow { cycle: 1, network: NetworkId::Candidate { cycle: 1, index }, held_out, ..row(1) };
        for elite in [old(3, false), old(4, true)] {
            store.put_elite(&elite).unwrap();
        }
        let replay = with(TuneData::Replay, EliteSource::Cycle);
        assert_eq!(replay.iter().map(|c| c.weight).collect::<Vec<_>>(), [1.0, 1.0, 1.0, 1.0, 1.0, 0.5]);
        assert_eq!((&replay[5].network, replay[5].held_out), (&NetworkId::Candidate { cycle: 1, index: 3 }, false));
        for (cycle, index, accuracy) in [(1, 0, 0.9), (1, 1, 0.3), (2, 0, 0.6), (2, 1, 0.7), (2, 2, 0.5), (2, 3, 0.4), (3, 0, 1.0)] {
            let network = NetworkId::Candidate { cycle, index };
            let (curve, seconds) = ("[]".into(), 0.0);
            let accuracy = Some(accuracy);
            let one = Training { network, seed_index: 0, seed: 0, repeat: false, accuracy, curve, failure: None, seconds, estimates: None };
            store.put_training(&one).unwrap();
        }
        let archive = with(TuneData::Archive, EliteSource::Cycle);
        assert_eq!(archive.iter().map(|c| c.network.to_string()).collect::<Vec<_>>(), ["1/0", "2/1", "2/0", "2/2", "2/3"]);
        assert_eq!(archive.iter().filter(|c| c.held_out).count(), 1);
    }
}
