//! Successive halving over epochs (Jamieson & Talwalkar, AISTATS 2016): all candidates of a cycle train `epochs` epochs, the best
//! 1/`eta` of them go on to `eta` times as many, and so on to the last epoch of the recipe.
//!
//! The learning rate of a step is that of the whole recipe, so a training that goes on is the unbroken one to the bit. A candidate that
//! is dropped keeps as its quality the validation accuracy after its last epoch: what it has, not what it might have got; since the
//! learning rate has not fallen by then, that is on average below what a whole training gives. Start networks are trained whole, and
//! failed candidates are not counted among those of whom the best go on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The setting: `"off"`, or a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Halving {
    /// Every candidate trains all epochs.
    #[default]
    Off,
    /// Those that fall behind stop early.
    On(Rungs),
}

/// After how many epochs candidates are compared, and how many go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rungs {
    /// Epochs before the first comparison.
    pub(crate) epochs: usize,
    /// The best 1/eta go on, to eta times the epochs.
    pub(crate) eta: usize,
}

impl Default for Rungs {
    fn default() -> Self {
        Self { epochs: 1, eta: 3 }
    }
}

impl JsonSchema for Halving {
    fn schema_name() -> Cow<'static, str> {
        "Halving".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "const": "off", "description": "Every candidate trains all epochs." }, Rungs::json_schema(generator)] })
    }
}

impl Serialize for Halving {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(rungs) => rungs.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Halving {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Halving;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\" or a table like { epochs = 1, eta = 3 }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Halving, E> {
                if text == "off" { Ok(Halving::Off) } else { Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)) }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Halving, A::Error> {
                Rungs::deserialize(MapAccessDeserializer::new(map)).map(Halving::On)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What is known of the trainings of one network, one a seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) seeds: Vec<Curve>,
}

/// One training as far as it got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    /// Validation accuracy after each epoch.
    pub(crate) accuracies: Vec<f64>,
    /// It will get no further.
    pub(crate) failed: bool,
}

impl Known {
    /// Mean over the seeds after `epochs` epochs; None where one of them did not get there.
    fn accuracy(&self, epochs: usize) -> Option<f64> {
        let of = |curve: &Curve| curve.accuracies.get(epochs.checked_sub(1)?).copied();
        Some(self.seeds.iter().map(of).sum::<Option<f64>>()? / self.seeds.len() as f64)
    }

    fn is_waiting(&self, epochs: usize) -> bool {
        self.seeds.iter().any(|curve| !curve.failed && curve.accuracies.len() < epochs) && !self.seeds.iter().any(|curve| curve.failed)
    }
}

impl Rungs {
    /// The epochs after which the candidates are compared, and `total` as the last.
    fn all(self, total: usize) -> Vec<usize> {
        let mut rungs = Vec::new();
        let mut at = self.epochs;
        while at < total {
            rungs.push(at);
            at = at.saturating_mul(self.eta);
        }
        rungs.push(total);
        rungs
    }

    /// How many epochs each candidate of a cycle is to be trained, as far as that can be said: a rung is decided once all of it have got
    /// there or failed. It depends on the curves alone, so whoever asks it, and however often, is told the same.
    pub(crate) fn targets<K: Ord + Clone>(self, total: usize, candidates: &BTreeMap<K, Known>) -> BTreeMap<K, usize> {
        let mut targets = BTreeMap::new();
        let mut there: Vec<&K> = candidates.keys().collect();
        for rung in self.all(total) {
            targets.extend(there.iter().map(|&network| (network.clone(), rung)));
            if there.iter().any(|&network| candidates[network].is_waiting(rung)) {
                break;
            }
            let mut ranked: Vec<(&K, f64)> =
                there.iter().filter_map(|&network| Some((network, candidates[network].accuracy(rung)?))).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            ranked.truncate(ranked.len().div_ceil(self.eta));
            there = ranked.into_iter().map(|(network, _)| network).collect();
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNGS: Rungs = Rungs { epochs: 1, eta: 2 };

    fn targets(curves: &[&[f64]], failed: &[usize]) -> Vec<usize> {
        let known = |(i, accuracies): (usize, &&[f64])| {
            (i, Known { seeds: vec![Curve { accuracies: accuracies.to_vec(), failed: failed.contains(&i) }] })
        };
        RUNGS.targets(3, &curves.iter().enumerate().map(known).collect()).into_values().collect()
    }

    #[test]
    fn rungs_grow_by_eta_to_the_last_epoch() {
        assert_eq!(RUNGS.all(9), [1, 2, 4, 8, 9]);
        assert_eq!(Rungs { epochs: 2, eta: 3 }.all(6), [2, 6]);
    }

    #[test]
    fn the_best_go_on_once_all_are_there() {
        assert_eq!(targets(&[&[], &[], &[]], &[]), [1, 1, 1]);
        assert_eq!(targets(&[&[0.3], &[0.2], &[]], &[]), [1, 1, 1], "the third is waited for");
        assert_eq!(targets(&[&[0.3], &[0.2], &[0.4]], &[]), [2, 1, 2], "half of three is two");
        assert_eq!(targets(&[&[0.3, 0.5], &[0.2], &[0.4, 0.3]], &[]), [3, 1, 2]);
        assert_eq!(targets(&[&[0.3, 0.5, 0.6], &[0.2], &[0.4, 0.3]], &[]), [3, 1, 2], "going on changes nothing that was decided");
        assert_eq!(targets(&[&[0.3], &[0.3], &[0.3], &[0.3]], &[]), [2, 2, 1, 1], "ties go by name");
    }

    #[test]
    fn a_failure_is_not_waited_for_and_what_it_had_got_still_counts() {
        assert_eq!(targets(&[&[], &[0.2], &[0.4]], &[0]), [1, 1, 2]);
        // Failed after the first rung: it keeps the place it had there.
        assert_eq!(targets(&[&[0.3], &[0.2], &[0.4, 0.3]], &[0]), [2, 1, 3]);
    }

    #[test]
    fn every_seed_of_a_network_counts() {
        let curve = |accuracies: &[f64]| Curve { accuracies: accuracies.to_vec(), failed: false };
        let known = |seeds: &[&[f64]]| Known { seeds: seeds.iter().map(|s| curve(s)).collect() };
        let mut all = BTreeMap::from([(0, known(&[&[0.6], &[0.1]])), (1, known(&[&[0.4], &[]]))]);
        assert_eq!(RUNGS.targets(2, &all).into_values().collect::<Vec<_>>(), [1, 1]);
        all.insert(1, known(&[&[0.4], &[0.4]]));
        assert_eq!(RUNGS.targets(2, &all).into_values().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_setting_is_off_or_a_table_and_a_typo_names_the_key() {
        use crate::config::RunConfig;
        let resolve = |set: &[&str]| RunConfig::resolve(None, None, &set.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(resolve(&[]).unwrap().proxy.halving, Halving::Off);
        assert_eq!(resolve(&["proxy.halving=off"]).unwrap().proxy.halving, Halving::Off);
        let on = resolve(&["proxy.epochs=9", "proxy.halving={ eta = 4 }"]).unwrap();
        assert_eq!(on.proxy.halving, Halving::On(Rungs { epochs: 1, eta: 4 }));
        assert_eq!(RunConfig::from_toml(&on.to_toml(), "run.toml").unwrap(), on);
        assert_eq!(serde_json::from_str::<Halving>(&serde_json::to_string(&on.proxy.halving).unwrap()).unwrap(), on.proxy.halving);
        let nested = resolve(&["proxy.epochs=4", "proxy.halving.epochs=2"]).unwrap();
        assert_eq!(nested.proxy.halving, Halving::On(Rungs { epochs: 2, eta: 3 }));
        assert!(resolve(&["proxy.halving.etta=2"]).unwrap_err().hint_text().unwrap().contains("eta"));
        for bad in [
            &["proxy.halving=on"][..],
            &["proxy.halving.eta=1"],
            &["proxy.epochs=2", "proxy.halving.epochs=2"],
            &["proxy.halving.epochs=0"],
        ] {
            assert!(resolve(bad).is_err(), "{bad:?}");
        }
    }
}
