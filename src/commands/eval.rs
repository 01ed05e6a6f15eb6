use std::path::PathBuf;
use std::time::Duration;

use eliteloop::config::RunConfig;
use eliteloop::device::Place;
use eliteloop::error::{AtPath, Error, Result};
use eliteloop::network::{TraceOptions, trace};
use eliteloop::proxy::dataset::{self, Part, Split};
use eliteloop::proxy::{Epoch, train};
use eliteloop::{home, printer};

use super::run::settle;

#[derive(clap::Args)]
pub struct Args {
    /// A Python file with `class Net(nn.Module)`
    source: PathBuf,
    /// Class or factory function [default: Net, else the last nn.Module of the file]
    #[arg(long)]
    entry: Option<String>,
    /// cifar10, fashion-mnist, mnist or synthetic
    #[arg(long)]
    dataset: Option<String>,
    #[arg(long)]
    train_images: Option<usize>,
    #[arg(long)]
    valid_images: Option<usize>,
    #[arg(long)]
    epochs: Option<usize>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where it is trained: cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
    /// Another setting of the recipe, e.g. `lr=0.1` (the keys of `proxy` in the settings)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Evaluate the test set too, once, at the end
    #[arg(long)]
    test: bool,
    /// Save the trained state dict (safetensors)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let config = settings(args)?.proxy;
    // A device that is not to be had has a hint, which a training's failure has not.
    config.device.open()?;
    let source = String::from_utf8(std::fs::read(&args.source).at("read", &args.source)?)
        .map_err(|_| Error::input(format!("{} is not UTF-8", args.source.display())).hint("save the file as UTF-8"))?;
    let data = dataset::load(&config.dataset, &home::data(), Part::Train)?;
    let split = Split::draw(&data, args.seed, config.train_images, config.valid_images)?;
    drop(data);
    let mut options = TraceOptions::new(split.format.shape, split.format.classes);
    options.entry.clone_from(&args.entry);
    let graph =
        trace(&source, &options).map_err(|failure| Error::input(format!("{}: {failure}", args.source.display())).hint(failure.hint()))?;
    let deadline = Duration::try_from_secs_f64(config.deadline_seconds).unwrap_or(Duration::MAX);
    let report = |epoch: &Epoch| {
        printer::note(format_args!(
            "epoch {}: training loss {:.4}, accuracy {:.4}; validation loss {:.4}, accuracy {:.4}",
            epoch.epoch, epoch.train_loss, epoch.train_accuracy, epoch.valid_loss, epoch.valid_accuracy
        ));
    };
    let failed = |failure: eliteloop::proxy::Failure| Error::input(format!("{}: {failure}", args.source.display()));
    let (outcome, mut network) = train::train(&graph, &split, &config, args.seed, deadline, report).map_err(failed)?;
    let test = if args.test {
        let data = dataset::load(&config.dataset, &home::data(), Part::Test)?;
        train::evaluate(&mut network, &data.images, &data.format, Duration::MAX).map_err(failed)?
    } else {
        None
    };
    if let Some(path) = &args.weights {
        network.save(path)?;
    }
    if args.json {
        let mut object = serde_json::json!({
            "parameters": graph.parameters(),
            "split": split.hash(),
            "outcome": outcome,
        });
        if let Some((loss, accuracy)) = test {
            object["test"] = serde_json::json!({ "loss": loss, "accuracy": accuracy });
        }
        printer::data(object);
        return Ok(());
    }
    printer::data(format_args!(
        "validation accuracy {:.4} ({} parameters, {:.1} s, {:.0} images/s)",
        outcome.accuracy,
        graph.parameters(),
        outcome.seconds,
        outcome.images_per_second
    ));
    if let Some((loss, accuracy)) = test {
        printer::data(format_args!("test accuracy {accuracy:.4}, loss {loss:.4}"));
    }
    Ok(())
}

fn settings(args: &Args) -> Result<RunConfig> {
    let mut overrides: Vec<String> =
        args.set.iter().map(|set| if set.starts_with("proxy.") { set.clone() } else { format!("proxy.{set}") }).collect();
    if let Some(name) = &args.dataset {
        overrides.push(format!("proxy.dataset={}", serde_json::Value::from(name.as_str())));
    }
    let numbers = [("train_images", args.train_images), ("valid_images", args.valid_images), ("epochs", args.epochs)];
    overrides.extend(numbers.iter().filter_map(|(key, value)| value.map(|value| format!("proxy.{key}={value}"))));
    overrides.extend(args.device.map(|place| format!("proxy.device={place}")));
    let mut config = RunConfig::resolve(None, None, &overrides)?;
    settle(&mut config);
    Ok(config)
}
