//! `eliteloop bench formats`: what a model writes of unseen parents in one delta format, at the first try.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::printer;
use eliteloop::decoder::settings::llm::{Dtype, LlmConfig};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::delta::kind::{Kind, kind};
use eliteloop::delta::settings::{Format, Masking};
use eliteloop::delta::{self, Failure};
use eliteloop::gates::{Gate, Gates, Judged, Reason, Stage};
use eliteloop::policy::Learner;
use eliteloop::policy::schooling::trial::{Spent, Task, Trial, judge, try_out, unseen_parents};
use eliteloop::theory::Estimate;
use eliteloop::theory::statistics::wilson;
use eliteloop::tracer::novelty::NotNovel;
use serde::Serialize;

#[derive(clap::Args)]
#[command(next_help_heading = "Options of formats")]
pub struct Args {
    /// Unseen parents; one delta of each
    #[arg(long, default_value_t = 300)]
    parents: usize,
    #[arg(long, value_enum, default_value = "edit")]
    format: Format,
    #[arg(long, value_enum, default_value = "none")]
    mask: Masking,
    /// `warmup` (shipped, for the default model), `none`, or a PEFT folder
    #[arg(long, default_value = "warmup")]
    adapter: String,
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Longest delta in tokens [default: 160 for edits, 320 for diffs, 768 for full code]
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Of the parents and the samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write parents, deltas and candidates into this folder
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
}

/// The counts are of first tries, each a subset of the one before, from `asked` to `networks`.
#[derive(Serialize)]
struct Table {
    asked: usize,
    ended: usize,
    /// Of the format, whether or not it fits its parent.
    parsed: usize,
    /// To another text than the parent's.
    applied: usize,
    networks: usize,
    within_budget: usize,
    /// Networks other than their parent's, by the canonical form.
    changed: usize,
    /// Of these the ones that no earlier sample gave.
    new: usize,
    /// The same within the budget.
    useful: usize,
    /// Different networks.
    distinct: usize,
    valid_rate: Estimate,
    useful_rate: Estimate,
    distinct_share: f64,
    tokens: usize,
    tokens_per_valid: f64,
    tokens_per_useful: f64,
    /// Of the networks and of the new ones, what the deltas do.
    kinds: BTreeMap<Kind, usize>,
    kinds_of_new: BTreeMap<Kind, usize>,
    failures: BTreeMap<String, usize>,
}

pub fn run(args: &Args, model: &str, dtype: Dtype, as_json: bool) -> Result<()> {
    if args.parents == 0 || !(args.temperature > 0.0 && args.top_p > 0.0 && args.top_p <= 1.0) {
        return Err(Error::input("--parents and --temperature are above 0, --top-p above 0 and at most 1"));
    }
    let config = LlmConfig { model: model.into(), adapter: args.adapter.clone(), dtype, ..LlmConfig::default() };
    let learner = Learner::open(&config, &LoraConfig::default(), args.seed)?;
    let task = Task {
        format: args.format,
        mask: args.mask,
        temperature: args.temperature,
        top_p: args.top_p,
        max_tokens: args.max_tokens.unwrap_or_else(|| delta::longest(args.format)),
        seed: args.seed,
    };
    let parents = unseen_parents(&learner, args.seed, args.parents)?;
    let (trials, spent) = try_out(&learner, &task, &parents, &mut |done| {
        if done.is_multiple_of(50) {
            printer::note(format_args!("{done} of {}", args.parents));
        }
        Ok(())
    })?;
    let judged = judge(&Gates::of_corpus(args.format), &trials)?;
    if let Some(folder) = &args.dump {
        dump(folder, &trials, &judged)?;
    }
    let table = count(&trials, &judged);
    if as_json {
        let seconds = |part: std::time::Duration| part.as_secs_f64();
        let mut row = serde_json::to_value(&table)?;
        let more = serde_json::json!({
            "what": "formats", "model": learner.model.identity.name, "adapter": args.adapter, "adapter_hash": learner.adapter_hash()?, "format": args.format,
            "mask": args.mask, "temperature": args.temperature, "top_p": args.top_p, "seed": args.seed, "dtype": dtype,
            "prompt_seconds": seconds(spent.prompts), "decoding_seconds": seconds(spent.decoding), "mask_seconds": seconds(spent.masks),
            "mask_share": mask_share(&spent), "peak_mib": eliteloop::base::progress::peak_memory_mib(),
        });
        if let (Some(row), serde_json::Value::Object(more)) = (row.as_object_mut(), more) {
            row.extend(more);
        }
        printer::data(row);
    } else {
        show(&table, &spent);
    }
    Ok(())
}

fn count(trials: &[Trial], judged: &[Judged]) -> Table {
    let passed = |stage: Stage| judged.iter().filter(|j| j.stage() >= stage).count();
    let unended = judged.iter().filter(|j| j.reason == Some(Reason::Delta(Failure::NotEnded))).count();
    let mut different = HashSet::new();
    let (mut within_budget, mut changed, mut new, mut useful) = (0, 0, 0, 0);
    let (mut kinds, mut kinds_of_new, mut failures) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (trial, judged) in trials.iter().zip(judged) {
        let Some(network) = &judged.network else {
            judged.reason.iter().for_each(|reason| *failures.entry(name(reason)).or_default() += 1);
            continue;
        };
        // Whether a network is new and what it takes are counted apart, so what is over the budget is compared too.
        let is_new = network.finding.verdict.is_ok();
        within_budget += usize::from(judged.stage() > Stage::Traced);
        changed += usize::from(network.finding.verdict != Err(NotNovel::SameAsParent));
        new += usize::from(is_new);
        useful += usize::from(judged.stage() >= Stage::Novel);
        different.extend(network.finding.fingerprint.as_ref().map(|f| &f.hash));
        if let Some(kind) = judged.source.as_deref().and_then(|source| kind(&trial.parent, source)) {
            *kinds.entry(kind).or_default() += 1;
            *kinds_of_new.entry(kind).or_default() += usize::from(is_new);
        }
    }
    let (parsed, applied, networks) = (passed(Stage::Parsed), passed(Stage::Applied), passed(Stage::Traced));
    let (asked, tokens) = (judged.len(), trials.iter().map(|trial| trial.tokens).sum::<usize>());
    let per = |count: usize| tokens as f64 / count as f64;
    Table {
        asked,
        ended: asked - unended,
        parsed,
        applied,
        networks,
        within_budget,
        changed,
        new,
        useful,
        distinct: different.len(),
        valid_rate: wilson(networks as u64, asked as u64),
        useful_rate: wilson(useful as u64, asked as u64),
        distinct_share: different.len() as f64 / networks as f64,
        tokens,
        tokens_per_valid: per(networks),
        tokens_per_useful: per(useful),
        kinds,
        kinds_of_new,
        failures,
    }
}

/// A reason as the table counts it.
fn name(reason: &Reason) -> String {
    if reason.gate() == Gate::Trace { format!("trace: {}", reason.word()) } else { reason.word().into() }
}

fn mask_share(spent: &Spent) -> f64 {
    spent.masks.as_secs_f64() / spent.decoding.as_secs_f64()
}

fn show(table: &Table, spent: &Spent) {
    let percent = |rate: &Estimate| format!("{:.1}% [{:.1}, {:.1}]", 100.0 * rate.value, 100.0 * rate.low, 100.0 * rate.high);
    let list = |counts: &mut dyn Iterator<Item = (String, usize)>| {
        let words: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let kinds = |kinds: &BTreeMap<Kind, usize>| list(&mut kinds.iter().map(|(kind, count)| (format!("{kind:?}").to_lowercase(), *count)));
    let Table { asked, ended, parsed, applied, networks, .. } = table;
    printer::data(format_args!(
        "asked {asked}, ended {ended}, parsed {parsed}, applied {applied}, networks {networks}: {}",
        percent(&table.valid_rate)
    ));
    let Table { within_budget, changed, new, useful, distinct, .. } = table;
    printer::data(format_args!(
        "of the networks {within_budget} within the budget, {distinct} distinct, {changed} unlike their parent, {new} of these new; all of it {useful}: {}",
        percent(&table.useful_rate)
    ));
    printer::data(format_args!(
        "{} tokens: {:.1} for a network, {:.1} for one with all of it",
        table.tokens, table.tokens_per_valid, table.tokens_per_useful
    ));
    printer::data(format_args!("deltas of networks: {}; of new ones: {}", kinds(&table.kinds), kinds(&table.kinds_of_new)));
    printer::data(format_args!("failures: {}", list(&mut table.failures.iter().map(|(reason, count)| (reason.clone(), *count)))));
    printer::data(format_args!(
        "{:.1} s of reading prompts, {:.1} s of decoding, {:.2} s of that for masks ({:.1}%)",
        spent.prompts.as_secs_f64(),
        spent.decoding.as_secs_f64(),
        spent.masks.as_secs_f64(),
        100.0 * mask_share(spent)
    ));
}

fn dump(folder: &Path, trials: &[Trial], judged: &[Judged]) -> Result<()> {
    std::fs::create_dir_all(folder).at("make the folder", folder)?;
    let put = |name: String, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).at("write", &path)
    };
    for (i, (trial, judged)) in trials.iter().zip(judged).enumerate() {
        put(format!("{i:04}.parent"), trial.parent.as_bytes())?;
        put(format!("{i:04}.delta"), &trial.completion)?;
        if let Some(source) = &judged.source {
            put(format!("{i:04}-candidate.py"), source.as_bytes())?;
        }
    }
    Ok(())
}
