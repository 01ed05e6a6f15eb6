use std::path::PathBuf;

use eliteloop::base::device::Place;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::files::read_text;
use eliteloop::base::printer;
use eliteloop::config::RunConfig;
use eliteloop::method::evaluate;
use eliteloop::proxy::Epoch;
use eliteloop::proxy::dataset::{Format, Split};
use eliteloop::record::best;
use eliteloop::record::{NetworkId, Store, folder};
use eliteloop::tracer::graph::Graph;
use eliteloop::tracer::{TraceOptions, trace, trace_built};

use super::run::settle;
use super::source::Making;

#[derive(clap::Args)]
pub struct Args {
    /// A Python file with `class Net(nn.Module)`, or the folder of a run
    source: PathBuf,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    chosen: Chosen,
    /// cifar10, fashion-mnist, mnist, synthetic, or a set of your own [default: the run's, else cifar10]
    #[arg(long)]
    dataset: Option<String>,
    #[arg(long)]
    train_images: Option<usize>,
    #[arg(long)]
    valid_images: Option<usize>,
    #[arg(long)]
    epochs: Option<usize>,
    /// Draws the images; the first training's seed too
    #[arg(long)]
    seed: Option<u64>,
    /// Trainings, each with the seed after the one before
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Where it is trained: cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
    /// Another setting of the recipe, e.g. `lr=0.1` (the keys of `proxy` in the settings)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train fully: 30 epochs on the whole training part, a tenth of it kept to validate with
    #[arg(long, conflicts_with_all = ["train_images", "valid_images"])]
    full: bool,
    /// Evaluate the test set too: once a training, at its end
    #[arg(long)]
    test: bool,
    /// Save the state dict of the first training (safetensors)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Which network of a run.
#[derive(clap::Args)]
struct Chosen {
    /// The network of the run: CYCLE/INDEX or start/NAME
    #[arg(long, value_name = "ID", conflicts_with = "best")]
    candidate: Option<String>,
    /// The network of the run with the highest validation accuracy (the default)
    #[arg(long)]
    best: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let of_run = args.source.is_dir();
    if !of_run && (args.chosen.candidate.is_some() || args.chosen.best) {
        return Err(
            Error::input(format!("{} is not a run", args.source.display())).hint("--candidate and --best choose from a run's networks")
        );
    }
    if of_run && args.making.is_given() {
        return Err(Error::input("--entry and --arg are for a Python file").hint("--candidate ID chooses from a run's networks"));
    }
    let config = settings(args, of_run)?;
    // A device that is not to be had has a hint, which a training's failure has not.
    config.proxy.device.open()?;
    let split = evaluate::split(&config, args.full)?;
    let (name, graph) =
        if of_run { stored(args, &split.format)? } else { (args.source.display().to_string(), traced(args, &split.format)?) };
    let seeds: Vec<u64> = (0..args.seeds).map(|k| config.seed.wrapping_add(k)).collect();
    let recipe = recipe(&config, &split);
    printer::note(format_args!("{name}: {} parameters; {recipe}", graph.parameters()));
    let stop = eliteloop::base::stop::on_signal()?;
    let report = |seed: u64, epoch: &Epoch| {
        let of = if args.seeds > 1 { format!("seed {seed}, ") } else { String::new() };
        printer::note(format_args!(
            "{of}epoch {}: training loss {:.4}, accuracy {:.4}; validation loss {:.4}, accuracy {:.4}",
            epoch.epoch, epoch.train_loss, epoch.train_accuracy, epoch.valid_loss, epoch.valid_accuracy
        ));
    };
    let (config, weights) = (&config.proxy, args.weights.as_deref());
    let evaluation = evaluate::Evaluation { graph: &graph, split: &split, config, seeds: &seeds, test: args.test, weights };
    let trained = evaluation.run(&stop, report)?;
    let valid: Vec<f64> = trained.iter().map(|t| t.outcome.accuracy).collect();
    let tested: Vec<f64> = trained.iter().filter_map(|t| Some(t.test?.accuracy)).collect();
    if args.json {
        let of = |accuracies: &[f64]| {
            let (mean, interval) = evaluate::summary(accuracies);
            serde_json::json!({ "mean": mean, "interval": interval.map(|i| [i.low, i.high]) })
        };
        printer::data(serde_json::json!({
            "network": name,
            "parameters": graph.parameters(),
            "split": split.hash(),
            "recipe": config,
            "trainings": trained,
            "validation": of(&valid),
            "test": (!tested.is_empty()).then(|| of(&tested)),
        }));
        return Ok(());
    }
    line("validation", &valid);
    if !tested.is_empty() {
        line("test", &tested);
    }
    let rate: f64 = trained.iter().map(|t| t.outcome.images_per_second).sum::<f64>() / trained.len() as f64;
    let seconds: f64 = trained.iter().map(|t| t.outcome.seconds).sum();
    printer::note(format_args!("{seconds:.1} s of training, {rate:.0} images/s"));
    Ok(())
}

fn line(what: &str, accuracies: &[f64]) {
    let (mean, interval) = evaluate::summary(accuracies);
    match interval {
        None => printer::data(format_args!("{what} accuracy {mean:.4}")),
        Some(interval) => {
            let each: Vec<String> = accuracies.iter().map(|a| format!("{a:.4}")).collect();
            printer::data(format_args!(
                "{what} accuracy {mean:.4} [{:.4}, {:.4}], mean and 95% interval over {} seeds ({})",
                interval.low,
                interval.high,
                each.len(),
                each.join(" ")
            ));
        }
    }
}

fn settings(args: &Args, of_run: bool) -> Result<RunConfig> {
    let mut overrides: Vec<String> = if args.full { evaluate::FULL.map(String::from).to_vec() } else { Vec::new() };
    overrides.extend(args.set.iter().map(|set| if set.starts_with("proxy.") { set.clone() } else { format!("proxy.{set}") }));
    if let Some(name) = &args.dataset {
        overrides.push(format!("proxy.dataset={}", serde_json::Value::from(name.as_str())));
    }
    let numbers = [("train_images", args.train_images), ("valid_images", args.valid_images), ("epochs", args.epochs)];
    overrides.extend(numbers.iter().filter_map(|(key, value)| value.map(|value| format!("proxy.{key}={value}"))));
    overrides.extend(args.seed.map(|seed| format!("seed={seed}")));
    overrides.extend(args.device.map(|place| format!("proxy.device={place}")));
    let mut config =
        if of_run { folder::settings(&args.source)?.overridden(&overrides)? } else { RunConfig::resolve(None, None, &overrides)? };
    settle(&mut config);
    Ok(config)
}

fn traced(args: &Args, images: &Format) -> Result<Graph> {
    let source = read_text(&args.source, "read")?;
    let mut options = TraceOptions::new(images.shape, images.classes);
    args.making.apply(&mut options);
    let traced = trace_built(&source, &options).map_err(|failure| failure.into_error(args.source.display()))?;
    printer::note(&traced.built);
    Ok(traced.graph)
}

/// A network of a run, traced again where the images have another shape than the run's.
fn stored(args: &Args, images: &Format) -> Result<(String, Graph)> {
    let store = Store::read(&folder::store_path(&args.source))?;
    let id: NetworkId = match &args.chosen.candidate {
        Some(id) => id.parse()?,
        None => best::of(&store)?.ok_or_else(|| Error::input("this run has trained no network yet"))?.0,
    };
    let source = store.network(&id)?.source;
    let options = TraceOptions::new(images.shape, images.classes);
    let graph = trace(&source, &options).map_err(|failure| failure.into_error(&id))?;
    Ok((id.to_string(), graph))
}

fn recipe(config: &RunConfig, split: &Split) -> String {
    let p = &config.proxy;
    format!(
        "{}: {} training and {} validation images (split {:.12}), {} epochs of batches of {}, {} with peak learning rate {}, momentum {}, weight decay {}, \
         gradient norm at most {}, label smoothing {}, augmentation {}",
        p.dataset,
        split.train.len(),
        split.valid.len(),
        split.hash(),
        p.epochs,
        p.batch,
        format!("{:?}", p.optimizer).to_lowercase(),
        p.lr,
        p.momentum,
        p.weight_decay,
        p.clip,
        p.label_smoothing,
        if p.augment { "on" } else { "off" }
    )
}
