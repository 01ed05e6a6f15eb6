//! Writes the settings of a first run on one's own images and network, with the numbers of that data set and this machine.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;
use eliteloop::base::show::{count, in_shell};
use eliteloop::base::{home, show::duration};
use eliteloop::config::RunConfig;
use eliteloop::doctor::{examine, pace};
use eliteloop::proxy::dataset;
use eliteloop::proxy::settings::ProxyConfig;

#[derive(clap::Args)]
pub struct Args {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "eliteloop.toml")]
    out: PathBuf,
    /// Data set: cifar10, fashion-mnist, mnist, synthetic, or one of your own that `eliteloop data import` brought
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// A network to start from, or a folder of them (repeatable) [default: those built in]
    #[arg(long, value_name = "PATH")]
    start: Vec<PathBuf>,
    /// What writes the deltas: llm, or random, evolution and others that `eliteloop settings policy` names, which need no LLM [default: llm]
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// The LLM, by a name of `eliteloop models list` or by its file; another than the default needs an adapter, see `eliteloop warmup`
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Its adapter
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// How long the run may take
    #[arg(long, value_name = "H", value_parser = super::run::parse_hours, default_value = "8")]
    hours: std::time::Duration,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.out.exists() && !args.force {
        return Err(
            Error::input(format!("{} is there already", args.out.display())).hint("--out names another file, --force writes over it")
        );
    }
    let here = || dataset::names(&home::data()).into_iter().filter(|name| dataset::is_present(name, &home::data())).collect::<Vec<_>>();
    let data = if let Some(name) = &args.data { name.clone() } else { ask("data set", &here().join(", "))? };
    dataset::check_present(&data, &home::data())?;
    let mut given = vec![("proxy.dataset".to_owned(), quoted(&data))];
    if !args.start.is_empty() {
        let files = args.start.iter().map(|path| path.canonicalize().at("find the start network", path)).collect::<Result<Vec<_>>>()?;
        let list: Vec<String> = files.iter().map(|path| quoted(&path.display().to_string())).collect();
        given.push(("parents.start".into(), format!("[{}]", list.join(", "))));
    }
    given.extend(args.policy.iter().map(|policy| ("policy".to_owned(), quoted(policy))));
    given.extend(args.model.iter().map(|model| ("llm.model".to_owned(), quoted(model))));
    given.extend(args.adapter.iter().map(|adapter| ("llm.adapter".to_owned(), quoted(adapter))));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    given.extend(["threads", "proxy.workers"].map(|key| (key.to_owned(), threads.to_string())));
    given.push(("candidates".into(), "24".into()));
    let settings = |given: &[(String, String)]| {
        RunConfig::resolve(None, None, &given.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
    };
    let mut config = settings(&given)?;
    if let Some((batch, epochs)) = recipe_of_few(config.proxy.train_images, &config.proxy) {
        given.extend([("proxy.batch", batch), ("proxy.epochs", epochs)].map(|(key, value)| (key.to_owned(), value.to_string())));
        config = settings(&given)?;
        printer::note(format_args!(
            "so few images: batches of {batch} and {epochs} epochs, for as many steps as the usual recipe has for its images"
        ));
    }
    let findings = examine(&config, true)?;
    if let Some((trouble, hint)) = findings.troubles().next() {
        let error = Error::input(trouble);
        return Err(if let Some(hint) = hint { error.hint(hint) } else { error });
    }
    // What the data set decides is written out, as the file is to say what will be done.
    given.push(("proxy.train_images".into(), config.proxy.train_images.to_string()));
    given.push(("proxy.valid_images".into(), config.proxy.valid_images.to_string()));

    printer::note("training the start networks for a moment, to see how fast this machine is ..");
    let pace = pace::measure(&config)?;
    let cycles = (args.hours.as_secs_f64() / pace.cycle).floor().clamp(1.0, 1000.0) as u64;
    given.push(("cycles".into(), cycles.to_string()));
    settings(&given)?;
    write_whole(&args.out, written(args, &given, &pace).as_bytes())?;
    tell(args, &config, &pace, cycles);
    printer::data(args.out.display());
    Ok(())
}

/// Batch and epochs with which few images make as many steps as the usual ones do by the usual recipe; None where they are not so few.
fn recipe_of_few(images: usize, usual: &ProxyConfig) -> Option<(usize, usize)> {
    let full = ProxyConfig::default();
    let wanted = full.epochs * full.train_images.div_ceil(full.batch);
    if usual.epochs * images.div_ceil(usual.batch) * 2 >= wanted {
        return None;
    }
    let batch = (images / 8).clamp(1, usual.batch);
    let batch = (1 << batch.ilog2()).max(8.min(images));
    Some((batch, wanted.div_ceil(images.div_ceil(batch)).clamp(usual.epochs, 50)))
}

/// The file: what was decided, and every other setting commented out.
fn written(args: &Args, given: &[(String, String)], pace: &pace::Pace) -> String {
    let head = [
        "Settings of a run, written by `eliteloop init`. What has a # before it is as it is by default.".to_owned(),
        format!(
            "On this machine a training takes about {} and a cycle's trainings about {}; `cycles` is what {} hours have room for",
            duration(pace.training),
            duration(pace.cycle),
            hours(args)
        ),
        "before the LLM's own time, and --hours ends the run in any case.".into(),
    ];
    format!("# {}\n\n{}", head.join("\n# "), RunConfig::reference().written(given))
}

fn tell(args: &Args, config: &RunConfig, pace: &pace::Pace, cycles: u64) {
    let proxy = &config.proxy;
    printer::note(format_args!(
        "{}: {} images to train on, {} to validate with, {} epochs",
        proxy.dataset, proxy.train_images, proxy.valid_images, proxy.epochs
    ));
    for (name, parameters, rate) in &pace.networks {
        printer::note(format_args!("{name}: {parameters} parameters, {rate:.0} images/s a worker"));
    }
    printer::note(format_args!(
        "a training takes about {}, the {} of a cycle {} on {}; at most {cycles} cycles in {} hours",
        duration(pace.training),
        config.candidates,
        duration(pace.cycle),
        count(proxy.workers, "worker"),
        hours(args)
    ));
    printer::note(format_args!("next: eliteloop run --config {} --hours {} --out runs/first", in_shell(&args.out), hours(args)));
}

fn hours(args: &Args) -> f64 {
    args.hours.as_secs_f64() / 3600.0
}

/// As TOML takes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Asks on the terminal what was not given.
fn ask(what: &str, choice: &str) -> Result<String> {
    let mut input = std::io::stdin().lock();
    if !std::io::stdin().is_terminal() {
        return Err(Error::input(format!("no {what} is given")).hint(format!("--data NAME; here are: {choice}")));
    }
    printer::note(format_args!("{what} ({choice})?"));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    match answer.trim() {
        "" => Err(Error::input(format!("no {what} is given"))),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_images_get_the_steps_of_many() {
        let usual = ProxyConfig { batch: 64, epochs: 2, train_images: 4000, ..ProxyConfig::default() };
        assert_eq!([4000, 2500].map(|images| recipe_of_few(images, &usual)), [None, None]);
        for images in [4, 66, 300, 1000] {
            let (batch, epochs) = recipe_of_few(images, &usual).unwrap();
            let steps = epochs * images.div_ceil(batch);
            assert!(batch <= images && (epochs == 50 || (126..=150).contains(&steps)), "{images}: {batch}, {epochs}, {steps} steps");
        }
    }
}
