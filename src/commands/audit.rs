use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use eliteloop::audit::compare::{self, Arm};
use eliteloop::audit::settings::{AuditConfig, CellFormat};
use eliteloop::audit::{Audit, record, report};
use eliteloop::config::Policy;
use eliteloop::device::Place;
use eliteloop::done::Done;
use eliteloop::error::{Error, Result};
use eliteloop::files::write_whole;
use eliteloop::{printer, report as html};

use super::run::{set_threads, stop_on_ctrl_c};

#[derive(clap::Args)]
pub struct Args {
    /// New folder for the audit
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "compare"])]
    out: Option<PathBuf>,
    /// Go on with an audit that was stopped or killed
    #[arg(long, value_name = "DIR", conflicts_with_all = SETTINGS, conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Put finished audits, or folders of them made with --seeds, side by side
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = SETTINGS, conflicts_with_all = ["out", "resume"])]
    compare: Vec<PathBuf>,
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
    /// Whose accuracies: cifar10, cifar100, imagenet
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
    /// JSON instead of the table: a list of the cycles, or of the arms
    #[arg(long)]
    json: bool,
}

const SETTINGS: [&str; 15] = [
    "seeds",
    "config",
    "cycles",
    "candidates",
    "rho",
    "dataset",
    "policy",
    "format",
    "seed",
    "mask",
    "novelty",
    "budget",
    "audit_every",
    "device",
    "overrides",
];

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
    if !args.compare.is_empty() {
        let arms = args.compare.iter().map(|folder| Arm::read(folder)).collect::<Result<Vec<_>>>()?;
        return print(args, || Ok(serde_json::to_string(&arms)?), || compare::table(&arms));
    }
    let stop = stop_on_ctrl_c()?;
    let say = |text| printer::note(text);
    let (mut audit, folder) = match (&args.resume, &args.out) {
        (Some(folder), _) => {
            set_threads(record::settings(folder)?.threads)?;
            (Audit::resume(folder, stop, say)?, folder)
        }
        (None, Some(folder)) => {
            let config = args.settings()?;
            set_threads(config.threads)?;
            if let Some(seeds) = args.seeds {
                return each_seed(args, &config, seeds, folder, &stop);
            }
            (Audit::create(folder, config, stop, say)?, folder)
        }
        (None, None) => return Err(Error::input("neither --out nor --resume is given")),
    };
    let done = go_on(&mut audit, folder)?;
    print(args, || Ok(serde_json::to_string(&audit.cycles)?), || report::table(&audit.cycles))?;
    match done {
        Done::Finished(()) => printer::note(format_args!("finished; the report is {}", folder.join("report.html").display())),
        Done::Stopped => printer::note(format_args!("stopped, nothing is lost; go on with: eliteloop audit --resume {}", folder.display())),
    }
    Ok(())
}

/// The audits of `seeds` seeds, one after the other; those that are there already go on.
fn each_seed(args: &Args, config: &AuditConfig, seeds: u64, out: &Path, stop: &Arc<AtomicBool>) -> Result<()> {
    let Some(last) = config.seed.checked_add(seeds).filter(|last| i64::try_from(*last).is_ok()) else {
        return Err(Error::input(format!("--seeds {seeds}: from {} on there are not so many", config.seed)).hint("a seed is below 2^63"));
    };
    for seed in config.seed..last {
        let config = AuditConfig { seed, ..config.clone() };
        let folder = out.join(format!("seed-{seed:04}"));
        let say = |_| ();
        let mut audit = if record::is_audit(&folder) {
            if record::settings(&folder)? != config {
                return Err(Error::input(format!("{} was begun with other settings", folder.display()))
                    .hint("give --out a new folder, or the settings that the folder was made with"));
            }
            Audit::resume(&folder, Arc::clone(stop), say)?
        } else {
            Audit::create(&folder, config, Arc::clone(stop), say)?
        };
        printer::note(format_args!("seed {seed}"));
        if go_on(&mut audit, &folder)? == Done::Stopped {
            printer::note("stopped, nothing is lost; the same command goes on");
            return Ok(());
        }
    }
    let arms = [Arm::read(out)?];
    print(args, || Ok(serde_json::to_string(&arms)?), || compare::table(&arms))
}

/// Runs what is left of an audit and writes its report.
fn go_on(audit: &mut Audit, folder: &Path) -> Result<Done<()>> {
    let done = audit.run(|cycle| {
        let quality: Vec<f64> = cycle.samples.iter().filter_map(|s| s.quality).collect();
        let mean = match quality.len() {
            0 => "no new cell".into(),
            n => format!("mean {:.2}", quality.iter().sum::<f64>() / n as f64),
        };
        let exact = cycle.exact.as_ref().map_or(String::new(), |e| format!(", E[S] {:.2} -> {:.2}", e.before.expected, e.after.expected));
        printer::note(format_args!(
            "cycle {}: {mean}{exact}, {} distinct, incumbent {:.2}{}",
            cycle.cycle,
            cycle.search.distinct,
            cycle.search.incumbent,
            cycle.search.best_found_at.map_or(String::new(), |n| format!(", best cell at {n}"))
        ));
    })?;
    write_whole(&folder.join("report.html"), html::render(&report::collect(folder)?).as_bytes())?;
    Ok(done)
}

fn print(args: &Args, json: impl FnOnce() -> Result<String>, table: impl FnOnce() -> String) -> Result<()> {
    printer::data(if args.json { json()? } else { table() });
    Ok(())
}
