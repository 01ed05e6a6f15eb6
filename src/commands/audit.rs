use std::path::PathBuf;

use eliteloop::audit::settings::{AuditConfig, Policy};
use eliteloop::audit::{Audit, record, report};
use eliteloop::error::{Error, Result};
use eliteloop::files::write_whole;
use eliteloop::{printer, report as html};

use super::run::{set_threads, stop_on_ctrl_c};

#[derive(clap::Args)]
pub struct Args {
    /// New folder for the audit
    #[arg(long, value_name = "DIR", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Go on with an audit that was stopped or killed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "overrides", "cycles", "samples", "rho", "dataset", "policy", "seed", "mask", "audit_every"])]
    resume: Option<PathBuf>,
    #[arg(long)]
    cycles: Option<u64>,
    /// Cells asked of the policy in a cycle
    #[arg(long)]
    samples: Option<usize>,
    /// Elite fraction
    #[arg(long)]
    rho: Option<f64>,
    /// Whose accuracies: cifar10, cifar100, imagenet
    #[arg(long)]
    dataset: Option<String>,
    #[arg(long)]
    policy: Option<Policy>,
    #[arg(long)]
    seed: Option<u64>,
    /// Whether the LLM can write cells only
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    mask: Option<bool>,
    /// The exact distribution every so many cycles; 0 is never
    #[arg(long, value_name = "K")]
    audit_every: Option<u64>,
    /// Any other setting, e.g. --set tune.lr=1e-4
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// One JSON list of the cycles instead of the table
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
        set("samples", self.samples.map(|v| v.to_string()));
        set("elite.rho", self.rho.map(|v| v.to_string()));
        set("dataset", self.dataset.clone());
        set("policy", self.policy.map(|v| v.name().to_owned()));
        set("seed", self.seed.map(|v| v.to_string()));
        set("mask", self.mask.map(|v| v.to_string()));
        set("audit_every", self.audit_every.map(|v| v.to_string()));
        AuditConfig::resolve(&settings)
    }
}

pub fn run(args: &Args) -> Result<()> {
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
            (Audit::create(folder, config, stop, say)?, folder)
        }
        (None, None) => return Err(Error::input("neither --out nor --resume is given")),
    };
    let finished = audit.run(|cycle| {
        let quality: Vec<f64> = cycle.samples.iter().filter_map(|s| s.quality).collect();
        let mean = quality.iter().sum::<f64>() / quality.len() as f64;
        let exact = cycle.exact.as_ref().map_or(String::new(), |e| format!(", E[S] {:.2} -> {:.2}", e.before.expected, e.after.expected));
        printer::note(format_args!(
            "cycle {}: mean {mean:.2}{exact}, {} distinct, incumbent {:.2}{}",
            cycle.cycle,
            cycle.search.distinct,
            cycle.search.incumbent,
            cycle.search.best_found_at.map_or(String::new(), |n| format!(", best cell at {n}"))
        ));
    })?;
    if args.json {
        printer::data(serde_json::to_string(&audit.cycles)?);
    } else {
        printer::data(report::table(&audit.cycles));
    }
    let path = folder.join("report.html");
    write_whole(&path, html::render(&report::collect(folder)?).as_bytes())?;
    if finished {
        printer::note(format_args!("finished; the report is {}", path.display()));
    } else {
        printer::note(format_args!("stopped, nothing is lost; go on with: eliteloop audit --resume {}", folder.display()));
    }
    Ok(())
}
