//! Begins an audit, or one for each of several seeds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use eliteloop::audit::Audit;
use eliteloop::audit::record::{self, Cycle};
use eliteloop::audit::settings::{AuditConfig, CellFormat};
use eliteloop::base::device::Place;
use eliteloop::base::done::Done;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::files::write_whole;
use eliteloop::base::printer;
use eliteloop::base::stop;
use eliteloop::compare::searches;
use eliteloop::config::Policy;
use eliteloop::method::run::More;
use eliteloop::method::summary::of_change;
use eliteloop::record::{Store, chain, folder};
use eliteloop::report::{self, audit as shown};
use eliteloop::theory::values as table;

use super::page::PAGE;
use super::run::{hours_over, set_threads, stopped, tell_head};

#[derive(clap::Args)]
pub struct Args {
    /// New folder for the audit
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "compare"])]
    out: Option<PathBuf>,
    /// Now a verb, for runs and audits alike
    #[arg(long, hide = true, num_args = 0..)]
    resume: Option<Vec<PathBuf>>,
    /// Now a verb, for runs and audits alike
    #[arg(long, hide = true, num_args = 0..)]
    compare: Option<Vec<PathBuf>>,
    /// So many audits, of this seed and those after it, each in a folder of its own under --out; the same command goes on with
    /// what was stopped
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Settings as TOML; they go over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long)]
    cycles: Option<u64>,
    /// Cells asked of the policy in a cycle
    #[arg(long, visible_alias = "samples")]
    candidates: Option<usize>,
    /// Elite fraction
    #[arg(long)]
    rho: Option<f64>,
    /// Whose accuracies: cifar10, cifar100, imagenet, or the JSON file of a table of your own
    #[arg(long)]
    dataset: Option<String>,
    #[arg(long)]
    policy: Option<Policy>,
    /// Whether the LLM writes whole cells or deltas on parents
    #[arg(long)]
    format: Option<CellFormat>,
    #[arg(long)]
    seed: Option<u64>,
    /// Whether the LLM can write the words of the format only
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    mask: Option<bool>,
    /// Whether cells that were queried before are refused
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    novelty: Option<bool>,
    /// No cycle begins once so many distinct cells were queried
    #[arg(long, value_name = "CELLS")]
    budget: Option<usize>,
    /// The exact distribution every so many cycles; 0 is never
    #[arg(long, value_name = "K")]
    audit_every: Option<u64>,
    /// Where the LLM computes: cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE")]
    device: Option<Place>,
    /// Any other setting, e.g. --set tune.lr=1e-4
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// JSON instead of the table: a list of the cycles, or with --seeds of the arms
    #[arg(long)]
    json: bool,
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".into()),
    }
}

impl Args {
    fn settings(&self) -> Result<AuditConfig> {
        let mut settings = self.overrides.clone();
        let mut set = |key: &str, value: Option<String>| settings.extend(value.map(|v| format!("{key}={v}")));
        set("cycles", self.cycles.map(|v| v.to_string()));
        set("candidates", self.candidates.map(|v| v.to_string()));
        set("elite.rho", self.rho.map(|v| v.to_string()));
        set("dataset", self.dataset.clone());
        set("policy", self.policy.map(|v| v.name().to_owned()));
        set("format", self.format.map(|v| v.name().to_owned()));
        set("seed", self.seed.map(|v| v.to_string()));
        set("mask", self.mask.map(|v| v.to_string()));
        set("novelty.enabled", self.novelty.map(|v| v.to_string()));
        set("budget", self.budget.map(|v| v.to_string()));
        set("audit_every", self.audit_every.map(|v| v.to_string()));
        set("llm.device", self.device.map(|v| v.to_string()));
        let mut config = AuditConfig::resolve(self.config.as_deref(), &settings)?;
        let (device, why) = config.llm.device.settle();
        config.llm.device = device;
        why.into_iter().for_each(printer::note);
        Ok(config)
    }
}

pub fn run(args: &Args) -> Result<()> {
    for (given, verb) in [(&args.resume, "resume"), (&args.compare, "compare")] {
        if given.is_some() {
            return Err(Error::input(format!("audits have no --{verb}")).hint(format!("it is a verb: eliteloop {verb} DIR")));
        }
    }
    let out = args.out.as_deref().ok_or_else(|| Error::input("--out is not given"))?;
    let stop = stop::on_signal()?;
    let config = args.settings()?;
    set_threads(config.threads)?;
    if let Some(seeds) = args.seeds {
        return each_seed(args, &config, seeds, out, &stop);
    }
    let audit = Audit::create(out, config, stop, printer::note)?;
    let (ending, cycles) = finish(audit, out)?;
    printer::data(if args.json { serde_json::to_string(&cycles)? } else { shown::table(&cycles) });
    said(&ending, cycles.len(), out)
}

/// Runs what is left of an audit and tells how it ended.
pub fn go_on(audit: Audit, folder: &Path) -> Result<()> {
    let (ending, cycles) = finish(audit, folder)?;
    printer::data(shown::table(&cycles));
    said(&ending, cycles.len(), folder)
}

/// Tells how it ended.
fn said(ending: &Ending, cycles: usize, folder: &Path) -> Result<()> {
    match ending {
        Ending::Stopped => Err(stopped(folder)),
        Ending::Hours => {
            printer::note(hours_over(cycles as u64, folder));
            Ok(())
        }
        Ending::Finished(head) => {
            printer::note(format_args!("finished; the report is {}", folder.join(PAGE).display()));
            tell_head(head.as_deref());
            Ok(())
        }
    }
}

/// The audits of `seeds` seeds, one after the other; those that are there already go on.
fn each_seed(args: &Args, config: &AuditConfig, seeds: u64, out: &Path, stop: &Arc<AtomicBool>) -> Result<()> {
    let Some(last) = config.seed.checked_add(seeds).filter(|last| i64::try_from(*last).is_ok()) else {
        return Err(Error::input(format!("--seeds {seeds}: from {} on there are not so many", config.seed)).hint("a seed is below 2^63"));
    };
    let mut folders = Vec::new();
    for seed in config.seed..last {
        let config = AuditConfig { seed, ..config.clone() };
        let path = out.join(format!("seed-{seed:04}"));
        printer::note(format_args!("seed {seed}"));
        let audit = if folder::is_begun(&path) {
            if record::settings(&path)? != config {
                return Err(Error::input(format!("{} was begun with other settings", path.display()))
                    .hint("give --out a new folder, or the settings that the folder was made with"));
            }
            let finished = Store::read(&folder::store_path(&path))?.meta("finished")?.is_some();
            (!finished).then(|| Audit::resume(&path, &More::default(), Arc::clone(stop), |_| ())).transpose()?
        } else {
            Some(Audit::create(&path, config, Arc::clone(stop), |_| ())?)
        };
        if let Some(audit) = audit
            && matches!(finish(audit, &path)?.0, Ending::Stopped)
        {
            return Err(Error::stopped("stopped, nothing is lost; the same command goes on"));
        }
        folders.push(path);
    }
    let arms = searches::compare(&folders)?;
    if args.json {
        printer::data(serde_json::to_string(&arms)?);
    } else {
        let [arms, _] = searches::tables(&arms);
        printer::data(table::section(&arms).trim_start());
    }
    Ok(())
}

/// How an audit came to its end.
enum Ending {
    Stopped,
    /// The time is over that was given for it.
    Hours,
    /// With the last link of its chain.
    Finished(Option<String>),
}

/// Runs what is left of an audit and writes its report; gives its closed cycles.
fn finish(mut audit: Audit, path: &Path) -> Result<(Ending, Vec<Cycle>)> {
    let ending = audit.run(|cycle| {
        let quality: Vec<f64> = cycle.samples.iter().filter_map(|s| s.quality).collect();
        let mean = match quality.len() {
            0 => "no new cell".into(),
            n => format!("mean {:.4}", quality.iter().sum::<f64>() / n as f64),
        };
        let exact = cycle.exact.as_ref().map_or(String::new(), |e| format!(", E[S] {:.4} -> {:.4}", e.before.expected, e.after.expected));
        let change = cycle.tuning.as_ref().and_then(|tuning| tuning.change.as_ref());
        printer::note(format_args!(
            "cycle {}: {mean}{exact}{}, {} distinct, incumbent {:.4}{}",
            cycle.cycle,
            change.map_or(String::new(), |change| format!("; {};", of_change(change))),
            cycle.search.distinct,
            cycle.search.incumbent,
            cycle.search.best_found_at.map_or(String::new(), |n| format!(", best cell at {n}"))
        ));
    })?;
    let is_over = audit.hours_are_over();
    let Audit { store, cycles, folder, .. } = audit;
    let ending = match ending {
        Done::Stopped if is_over => Ending::Hours,
        Done::Stopped => Ending::Stopped,
        Done::Finished(()) => {
            if store.meta("finished")?.is_none() {
                store.stamp("finished")?;
            }
            let head = chain::head(&store)?;
            store.seal()?;
            Ending::Finished(head)
        }
    };
    write_whole(&path.join(PAGE), report::render(&shown::collect(path)?).as_bytes())?;
    drop(folder);
    Ok((ending, cycles))
}
