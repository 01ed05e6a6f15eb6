//! `eliteloop doctor`: whether this machine can do a run, and what it will need.

use eliteloop::base::device::Place;
use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::base::show::count;
use eliteloop::doctor::{Findings, Found, examine};
use eliteloop::proxy::settings::On;

use super::flags::SettingsArgs;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Place,
    /// What is to do the trainings, in place of the setting proxy.on
    #[arg(long, value_name = "ENGINE", value_enum)]
    on: Option<On>,
    /// Compute no hashes, and only ask the engine who it is
    #[arg(long)]
    quick: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let config = args.settings.resolve_on(Some(args.device), args.on)?;
    let findings = examine(&config, args.quick)?;
    if args.json {
        printer::data(serde_json::to_string_pretty(&findings)?);
    } else {
        tell(&findings);
    }
    match findings.troubles().next() {
        None => Ok(()),
        Some((trouble, hint)) => {
            let error = Error::input(format!("a run would not start: {trouble}"));
            Err(if let Some(hint) = hint { error.hint(hint) } else { error })
        }
    }
}

fn tell(findings: &Findings) {
    let line = |what: &str, text: String| printer::data(format_args!("{what:<10} {text}"));
    let Findings { processor, device, .. } = findings;
    let name = processor.name.as_deref().unwrap_or("unknown");
    let features = if processor.features.is_empty() { "no wide registers that count".to_owned() } else { processor.features.join(", ") };
    line("processor", format!("{name}, {} threads, {features}; kernels of {}", processor.threads, processor.kernels));
    if processor.features.contains(&"AVX512-BF16") {
        line("", "it tunes faster in bf16: --set llm.tuning_dtype=bf16".to_owned());
    }
    if let (Some(memory), Some(available)) = (processor.memory, processor.available) {
        line("memory", format!("{} of {} available", gib(available), gib(memory)));
    }
    let built = format!("built for {}", device.built_with.join(", "));
    match (&device.card, &device.trouble) {
        (_, Some(trouble)) => line("device", format!("{}: {trouble} ({built})", device.asked)),
        (Some(card), None) => {
            let driver = card.driver.map_or("unknown".to_owned(), |version| format!("CUDA {}.{}", version / 1000, version % 1000 / 10));
            let free = card.free.zip(card.total).map_or(String::new(), |(free, total)| format!(", {} of {} free", gib(free), gib(total)));
            line("device", format!("{}: {}, driver for {driver}{free}; {} kernels ({built})", device.place, card.name, device.kernels));
        }
        (None, None) => {
            line("device", format!("{} ({built})", device.place));
            device.fallback.iter().for_each(printer::note);
        }
    }
    let found = |what: &str, found: &Found| {
        let place = found.path.as_ref().map_or_else(|| "built in".to_owned(), |path| path.display().to_string());
        let state = match (&found.trouble, found.hashed) {
            (Some(trouble), _) => trouble.clone(),
            (None, true) => format!("{place}, SHA-256 as it should be"),
            (None, false) => format!("{place}, not hashed"),
        };
        line(what, format!("{}: {state}", found.name));
    };
    match &findings.model {
        Some(model) => found("model", model),
        None => line("model", "none: the policy has no LLM".to_owned()),
    }
    found("data", &findings.data);
    if let Some(engine) = &findings.engine {
        let said = engine.said.as_deref().unwrap_or("no answer");
        let state = match (&engine.trouble, engine.tried) {
            (Some(trouble), _) => trouble.clone(),
            (None, true) => format!("{said}; it trains a network, and the result comes back"),
            (None, false) => format!("{said}; it was given nothing to do"),
        };
        line("trains on", format!("{}: {state}", engine.on.name()));
    }
    for disk in &findings.disk {
        line("disk", format!("{} free in {}", disk.free.map_or("?".into(), gib), disk.folder.display()));
    }
    line("confined", findings.unconfined.unwrap_or("sandboxes, and workers on the processor, by Landlock and a seccomp filter").to_owned());
    let Some(needs) = &findings.needs else { return };
    let memory = needs.llm;
    line("needs", format!("on {}: {} at most, by turns", needs.place, gib(needs.peak)));
    line("  weights", gib(memory.weights));
    line("  adapter", gib(memory.adapter));
    line("  propose", gib(memory.generation));
    let less = needs.peak_recomputing.map_or(String::new(), |peak| format!(" (in all {} with one layer's graph at a time)", gib(peak)));
    line("  tune", format!("{}{less}", gib(memory.tuning)));
    line("  train", format!("{} of at most {} addresses each", count(needs.workers, "worker"), gib(needs.worker)));
    line("  disk", format!("{} a cycle", gib(needs.checkpoint)));
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}
