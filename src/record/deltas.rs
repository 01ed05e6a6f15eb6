//! What runs have measured of deltas: a parent, what was written of it, and what that gained. Every run of every policy leaves them in its
//! store; a table of them is a file of JSON lines, one a delta.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Candidate, Kind, NetworkId, Store, Training, folder};
use crate::base::error::{Error, Result};
use crate::base::files::{read_file, write_whole};
use crate::config::RunConfig;
use crate::delta::settings::Format;
use crate::gates::Stage;
use crate::proxy::estimate::Estimates;
use crate::proxy::settings::RandomNumbers;

/// Longest table: some hundred thousand deltas.
const MOST_BYTES: u64 = 256 << 20;

/// A delta whose network was trained, beside the training of its parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredDelta {
    /// The source that the policy was shown.
    pub parent: String,
    /// How the delta is written.
    pub format: Format,
    /// What the policy wrote, without the end token.
    pub delta: String,
    /// Accuracy of the parent on the validation split, a share of 1.
    pub parent_quality: f64,
    /// The same of the network that the delta makes.
    pub quality: f64,
    /// Standard deviation of the accuracy of one network over its seeds, by the repeats of the run; None of fewer than two.
    pub noise: Option<f64>,
    /// The start network that the parent descends from: networks of one family are alike.
    pub family: String,
    /// The set that both were trained and validated on.
    pub dataset: String,
    /// What of the recipe makes gains comparable.
    pub recipe: String,
    /// What else could have told the gain.
    pub cheap: Cheap,
}

/// What costs less than the training, of the network less that of its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cheap {
    /// Logarithm of the ratio.
    pub parameters: Option<f64>,
    /// Difference of the synflow scores, which are logarithms; None where one of them has none.
    pub synflow: Option<f64>,
    /// The same of the nwot scores.
    pub nwot: Option<f64>,
    /// Accuracy after the first epoch, where there were more.
    pub first_epoch: Option<f64>,
}

impl MeasuredDelta {
    /// Accuracy less the parent's.
    pub fn gain(&self) -> f64 {
        self.quality - self.parent_quality
    }
}

/// The deltas that were measured in the run of a folder, or that stand in a table.
///
/// # Errors
/// Where it is neither, or a line of the table is no measured delta.
pub fn read(path: &Path) -> Result<Vec<MeasuredDelta>> {
    if path.is_dir() {
        return of_run(path);
    }
    let bytes = read_file(path, "read the measured deltas", MOST_BYTES)?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let parse = |(i, line): (usize, &[u8])| {
        let row: MeasuredDelta = serde_json::from_slice(line).map_err(|e| refused(path, i, &e.to_string()))?;
        let shares = [row.quality, row.parent_quality];
        if !shares.iter().all(|share| (0.0..=1.0).contains(share)) || row.noise.is_some_and(|noise| !(0.0..=1.0).contains(&noise)) {
            return Err(refused(path, i, "an accuracy or its noise is no share of 1"));
        }
        Ok(row)
    };
    lines.map(parse).collect()
}

fn refused(path: &Path, line: usize, why: &str) -> Error {
    Error::input(format!("{}, line {}: no measured delta: {why}", path.display(), line + 1))
        .hint("a table of measured deltas is written by `eliteloop school RUN.. --table FILE`")
}

/// Writes a table, whole or not at all.
///
/// # Errors
/// Those of the disk.
pub fn write(path: &Path, deltas: &[MeasuredDelta]) -> Result<()> {
    let mut text = String::new();
    for delta in deltas {
        let _ = writeln!(text, "{}", serde_json::to_string(delta)?);
    }
    write_whole(path, text.as_bytes())
}

fn of_run(path: &Path) -> Result<Vec<MeasuredDelta>> {
    if folder::kind(path)? != Kind::Run {
        return Err(Error::input(format!("{} is an audit, whose cells are no sources", path.display()))
            .hint("deltas are measured by `eliteloop run`, with any policy"));
    }
    let (config, store) = (folder::settings(path)?, Store::read(&folder::store_path(path))?);
    let (quality, trainings) = (store.qualities()?, store.trainings()?);
    let candidates: Vec<Candidate> = store.candidates()?.into_iter().filter(|c| c.stage() == Some(Stage::Trained)).collect();
    let parent_of: HashMap<NetworkId, &NetworkId> = candidates.iter().map(|c| (c.id(), &c.parent)).collect();
    let sources: HashMap<NetworkId, String> = store.networks()?.into_iter().map(|n| (n.id, n.source)).collect();
    let cheap: HashMap<&NetworkId, Scores> =
        trainings.iter().filter(|t| t.seed_index == 0).map(|t| Ok((&t.network, Scores::of(t)?))).collect::<Result<_>>()?;
    let (noise, recipe) = (noise(&trainings), recipe(&config));
    let mut found = Vec::new();
    for c in &candidates {
        let (Some(own), Some(before), Some(parent)) = (quality.get(&c.id()), quality.get(&c.parent), sources.get(&c.parent)) else {
            continue;
        };
        let mut family = &c.parent;
        while let Some(older) = parent_of.get(family) {
            family = older;
        }
        let NetworkId::Start(family) = family else { continue };
        found.push(MeasuredDelta {
            parent: parent.clone(),
            format: config.delta.format,
            delta: c.text().into_owned(),
            parent_quality: *before,
            quality: *own,
            noise,
            family: family.clone(),
            dataset: config.proxy.dataset.clone(),
            recipe: recipe.clone(),
            cheap: cheap.get(&c.id()).zip(cheap.get(&c.parent)).map_or_else(Cheap::default, |(own, parent)| own.less(parent)),
        });
    }
    Ok(found)
}

/// The settings that gains depend on, in short.
fn recipe(config: &RunConfig) -> String {
    let proxy = &config.proxy;
    let numbers = if proxy.random_numbers == RandomNumbers::Common { ", common random numbers" } else { "" };
    format!("{} images, {} epochs, batch {}, lr {}{numbers}", proxy.train_images, proxy.epochs, proxy.batch, proxy.lr)
}

/// The pooled standard deviation over the seeds of a network.
fn noise(trainings: &[Training]) -> Option<f64> {
    let mut scores: BTreeMap<&NetworkId, Vec<f64>> = BTreeMap::new();
    for training in trainings {
        scores.entry(&training.network).or_default().extend(training.accuracy);
    }
    let (mut squares, mut freedom) = (0.0, 0.0);
    for own in scores.into_values().filter(|own| own.len() > 1) {
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        squares += own.iter().map(|score| (score - mean).powi(2)).sum::<f64>();
        freedom += own.len() as f64 - 1.0;
    }
    (freedom >= 2.0).then(|| (squares / freedom).sqrt())
}

/// What a training tells before its end.
struct Scores {
    estimates: Option<Estimates>,
    first_epoch: Option<f64>,
}

impl Scores {
    fn of(training: &Training) -> Result<Self> {
        let estimates = training.estimates.as_deref().map(serde_json::from_str).transpose()?;
        let epochs = training.epochs()?;
        let first_epoch = (epochs.len() > 1).then(|| epochs[0].valid_accuracy);
        Ok(Self { estimates, first_epoch })
    }

    fn less(&self, parent: &Self) -> Cheap {
        let both = self.estimates.as_ref().zip(parent.estimates.as_ref());
        let difference = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
        Cheap {
            parameters: both.map(|(own, parent)| (own.parameters as f64 / parent.parameters as f64).ln()).filter(|ratio| ratio.is_finite()),
            synflow: both.and_then(|(own, parent)| difference(own.synflow, parent.synflow)),
            nwot: both.and_then(|(own, parent)| difference(own.nwot, parent.nwot)),
            first_epoch: difference(self.first_epoch, parent.first_epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta() -> MeasuredDelta {
        MeasuredDelta {
            parent: "class Net: ...\n".into(),
            format: Format::Edit,
            delta: "3: nn.ReLU()".into(),
            parent_quality: 0.5,
            quality: 0.25,
            noise: Some(0.01),
            family: "plain".into(),
            dataset: "cifar10".into(),
            recipe: "4000 images".into(),
            cheap: Cheap { synflow: Some(-0.5), ..Cheap::default() },
        }
    }

    #[test]
    fn a_table_comes_back_as_it_was_and_a_line_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deltas.jsonl");
        let rows = [delta(), MeasuredDelta { noise: None, quality: 0.75, ..delta() }];
        write(&path, &rows).unwrap();
        let read_back = read(&path).unwrap();
        assert_eq!(read_back, rows);
        assert_eq!([read_back[0].gain(), read_back[1].gain()], [-0.25, 0.25]);
        for wrong in ["{}", "no JSON", &serde_json::to_string(&delta()).unwrap().replace("0.25", "25.0")] {
            std::fs::write(&path, format!("{}\n\n{wrong}\n", serde_json::to_string(&delta()).unwrap())).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.to_string().contains("line 3: no measured delta"), "{error}");
        }
    }

    #[test]
    fn noise_is_pooled_over_the_networks_with_several_seeds() {
        let training = |name: &str, seed_index, accuracy| Training {
            network: NetworkId::Start(name.into()),
            seed_index,
            seed: 0,
            repeat: seed_index > 0,
            accuracy,
            curve: "[]".into(),
            failure: None,
            seconds: 0.0,
            estimates: None,
        };
        let once = [training("a", 0, Some(0.5)), training("a", 1, Some(0.7))];
        assert_eq!(noise(&once), None);
        let more = [&once[..], &[training("b", 0, Some(0.5)), training("b", 1, Some(0.5)), training("c", 0, Some(0.1))]].concat();
        assert!((noise(&more).unwrap() - 0.1).abs() < 1e-12);
    }
}
