//! A network of a run, for other programs: its source and state dict for `PyTorch`, an ONNX model, a card.
//!
//! A run keeps no weights. Training is deterministic, so the network is trained again with its recorded seed; the accuracy has to
//! come out equal to the last bit, or nothing is written.

pub mod builder;
mod card;
mod choice;
mod input;
pub mod onnx;
pub mod proto;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};
use prost::Message;

use crate::base::device::Kernels;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::write_whole;
use crate::config::RunConfig;
use crate::method::run::draw_split;
use crate::proxy::augment::{self, Normal};
use crate::proxy::dataset::Split;
use crate::proxy::network::Network;
use crate::proxy::pool::{Event, Pool};
use crate::proxy::settings::ProxyConfig;
use crate::proxy::worker::{Job, Setup};
use crate::record::best;
use crate::record::{NetworkId, NetworkRow, Store, Training, folder};
use crate::tracer::graph::Graph;
use crate::tracer::{TraceOptions, normal_form};

/// Validation images in `sample.safetensors`.
const SAMPLE: usize = 8;

/// What was exported.
pub struct Exported {
    /// Which network of the run.
    pub network: NetworkId,
    /// On the validation split, a share of 1; as recorded, to the last bit.
    pub accuracy: f64,
}

/// Writes the folder `out` for a network of `run`: the chosen one, or the one with the highest validation accuracy.
///
/// # Errors
/// `out` is there already, the network was never trained, its data have changed, its training does not come out as recorded, or it
/// has an operation without ONNX form. `out` is then not made.
pub fn export(run: &Path, chosen: Option<NetworkId>, out: &Path, stop: &AtomicBool) -> Result<Exported> {
    if out.symlink_metadata().is_ok() {
        return Err(Error::input(format!("{} exists already", out.display())).hint("give --out a new folder"));
    }
    let config = folder::settings(run)?;
    let store = Store::read(&folder::store_path(run))?;
    let id = match chosen {
        Some(id) => id,
        None => best::of(&store)?.ok_or_else(|| Error::input("this run has trained no network yet"))?.0,
    };
    let network = store.network(&id)?;
    let recorded = recorded(&store, &id)?;
    let split = draw_split(&config)?;
    if store.meta("dataset")?.is_some_and(|hash| hash != split.hash()) {
        return Err(Error::input("the data set is not the one this run trained on").hint("put the original images back"));
    }

    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).at("make the folder", parent)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
    let place = builder.tempdir_in(parent).at("write in", parent)?;
    let weights = place.path().join("weights.safetensors");
    let accuracy = train_again(&network.graph, &split, &config.proxy, &recorded, &weights, stop)?;
    fill(place.path(), &store, &config, &network, &recorded, &split)?;
    std::fs::rename(place.path(), out).at("rename to", out)?;
    // Nothing lies at the temporary name any more.
    let _ = place.keep();
    Ok(Exported { network: id, accuracy })
}

/// The first training of a network, if it went through.
fn recorded(store: &Store, id: &NetworkId) -> Result<Training> {
    let training = store
        .trainings()?
        .into_iter()
        .find(|t| t.network == *id && t.seed_index == 0)
        .ok_or_else(|| Error::input(format!("{id} was not trained in this run")).hint("`eliteloop report` lists what was trained"))?;
    match &training.failure {
        None => Ok(training),
        Some(failure) => Err(Error::input(format!("the training of {id} failed: {failure}")).hint("choose another network")),
    }
}

/// Trains as the run did, in a worker process, and writes the state dict to `weights`; gives the accuracy, which is the recorded one.
fn train_again(graph: &Graph, split: &Split, config: &ProxyConfig, recorded: &Training, weights: &Path, stop: &AtomicBool) -> Result<f64> {
    let images = split.scratch()?;
    // It went through once, so it does again, however long it takes here.
    let config = ProxyConfig { cpu_seconds: 0, ..config.clone() };
    let pool = Pool::new(Setup { split: images.path().to_owned(), hash: None, config, writes: Vec::new() })?;
    // Halving may have ended it early.
    let until = Some(recorded.epochs()?.len());
    let job = Job { weights: Some(weights.into()), until, ..Job::new(0, graph.clone(), recorded.seed) };
    let mut result = None;
    pool.run(vec![job], stop, |event| {
        if let Event::Done { result: done, .. } = event {
            result = Some(done);
        }
    })?;
    let done = result.ok_or_else(|| Error::stopped("stopped before the training was done; nothing was written"))?;
    let found = done.map_err(|failure| Error::machine(format!("{} cannot be trained again: {failure}", recorded.network)))?.accuracy;
    if recorded.accuracy.map(f64::to_bits) != Some(found.to_bits()) {
        let expected = recorded.accuracy.map_or_else(|| "none".to_owned(), |accuracy| accuracy.to_string());
        return Err(Error::machine(format!("{}: trained again its accuracy is {found}, recorded is {expected}", recorded.network))
            .hint("training repeats bit for bit with the same program on the same kind of processor; use those of the run"));
    }
    Ok(found)
}

/// Writes everything but the weights, which lie in `place` already.
fn fill(place: &Path, store: &Store, config: &RunConfig, row: &NetworkRow, recorded: &Training, split: &Split) -> Result<()> {
    let mut network = Network::new(&row.graph, recorded.seed, &Device::Cpu, Kernels::Own)?;
    network.load(&place.join("weights.safetensors"))?;
    let format = &split.format;
    let described = input::describe(format);
    let mut metadata = vec![("dataset", format.name.clone()), ("validation_accuracy", recorded.accuracy.unwrap_or(f64::NAN).to_string())];
    for key in input::KEYS {
        metadata.push((key, described[key].to_string()));
    }
    write_whole(&place.join("predict.py"), input::PREDICT.as_bytes())?;
    write_whole(&place.join("input.json"), format!("{}\n", serde_json::to_string_pretty(&described)?).as_bytes())?;
    write_whole(&place.join("network.onnx"), &onnx::model(&network, &metadata)?.encode_to_vec())?;
    write_whole(
        &place.join("network.py"),
        normal_form::ordinary(&row.source, &row.graph, &TraceOptions::of(&row.graph))?.source.as_bytes(),
    )?;

    let indices: Vec<u32> = (0..split.valid.len().min(SAMPLE) as u32).collect();
    let [channels, height, width] = format.shape;
    let pixels = augment::plain(&split.valid, &indices, format, &Normal::new(format));
    let images = Tensor::from_vec(pixels, (indices.len(), channels, height, width), &Device::Cpu)?;
    let logits = network.evaluate(&images)?;
    let sample = safetensors::serialize(BTreeMap::from([("images", images), ("logits", logits)]), None)?;
    write_whole(&place.join("sample.safetensors"), &sample)?;

    write_whole(&place.join("card.md"), card::card(store, config, row, format)?.as_bytes())
}
