//! What the update of a cycle is tuned on. The CE update takes the elites; the controls take all valid candidates, or as many of
//! these as there are elites, drawn whatever their quality. A share of each is held out to see whether the update generalises.

use rand::seq::IndexedRandom;

use crate::base::error::Result;
use crate::base::seed;
use crate::config::TuneData;
use crate::config::{EliteSource, RunConfig};
use crate::gates::Stage;
use crate::method::elite::{CycleElites, held_out_of};
use crate::record::{NetworkId, Store};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub network: NetworkId,
    pub held_out: bool,
}

/// The tuning set of a cycle whose elites are `elites`, in the order of the elites or else of the candidates.
pub fn of_cycle(store: &Store, config: &RunConfig, cycle: u64, elites: &CycleElites) -> Result<Vec<Chosen>> {
    if config.tune.data == TuneData::Elites {
        return Ok(elites.rows.iter().map(|e| Chosen { network: e.network.clone(), held_out: e.held_out }).collect());
    }
    let reach = |of: u64| of == cycle || config.elite.source == EliteSource::Cumulative && of < cycle;
    let valid = store.candidates()?.into_iter().filter(|c| reach(c.cycle) && c.stage() == Some(Stage::Trained));
    let mut networks: Vec<NetworkId> = valid.map(|c| c.id()).collect();
    if config.tune.data == TuneData::RandomSubset {
        let mut rng = seed::rng(config.seed, "random-subset", &[cycle]);
        networks = networks.choose_multiple(&mut rng, elites.rows.len()).cloned().collect();
        networks.sort();
    }
    let held_out = held_out_of(networks.len(), config.elite.held_out, config.seed, cycle);
    Ok(networks.into_iter().zip(held_out).map(|(network, held_out)| Chosen { network, held_out }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Candidate, EliteRow, Kind, Screened};

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
    }
}
