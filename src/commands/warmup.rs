//! `eliteloop warmup`: tune a fresh adapter on the random corpus, then on its own deltas. `eliteloop bench formats` measures what it writes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use eliteloop::base::device::Place;
use eliteloop::base::error::{AtPath, Error, Result};
use eliteloop::base::hash::sha256;
use eliteloop::base::{printer, seed};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::Objective;
use eliteloop::delta;
use eliteloop::delta::corpus::{mutate, mutate_source, random_network, render};
use eliteloop::delta::settings::Format;
use eliteloop::delta::starts::starts;
use eliteloop::gates::{Gates, Judged, Stage};
use eliteloop::policy::Learner;
use eliteloop::policy::prompt;
use eliteloop::policy::schooling::estimate::{EXAMPLES, PER_PARENT};
use eliteloop::policy::schooling::practice::{Practice, Written, judge_family, practise};
use eliteloop::policy::schooling::warmup::{OBJECTIVE, Recipe, warm_up};
use serde::Serialize;

use super::making::{self, Log, open};

#[derive(clap::Args)]
pub struct Args {
    /// A name of the catalogue or a path to a GGUF file
    #[arg(long, default_value = "smollm2-135m-instruct")]
    model: String,
    #[arg(long, value_enum, default_value = "edit")]
    format: Format,
    /// Random deltas to learn from
    #[arg(long, default_value_t = EXAMPLES)]
    examples: usize,
    /// Deltas of one parent, learnt in one pass over it
    #[arg(long, default_value_t = PER_PARENT)]
    per_parent: usize,
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Longest delta in tokens [default: 160 for edits, 320 for diffs, 768 for full code]
    #[arg(long)]
    max_tokens: Option<usize>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rounds of practice after the examples: the model learns from which deltas of its own are networks
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    practice: usize,
    #[arg(long, default_value_t = 3e-4)]
    practice_lr: f64,
    /// Deltas of each of a round's two parents; one that an earlier one of them equals is no good
    #[arg(long, default_value_t = 12)]
    practice_samples: usize,
    /// How much practice rewards the entropy of what is written, per nat of a whole delta
    #[arg(long, default_value_t = 0.004)]
    practice_entropy: f64,
    /// Go on from this adapter instead of a fresh one; --examples 0 goes straight to the practice
    #[arg(long, value_name = "DIR", requires = "out")]
    from: Option<PathBuf>,
    /// Folder of the adapter that is made
    #[arg(long, required_unless_present = "dump")]
    out: Option<PathBuf>,
    /// Where the LLM computes: cpu, cuda:N, metal:N, or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Place,
    /// Write sources of the corpus into this folder
    #[arg(long, hide = true, value_name = "DIR")]
    dump: Option<PathBuf>,
}

impl Args {
    fn recipe(&self) -> Result<Recipe> {
        let is_rate = |lr: f64| lr.is_finite() && lr > 0.0;
        if self.per_parent == 0 || self.rank == 0 || !is_rate(self.lr) || !is_rate(self.practice_lr) {
            return Err(Error::input("--per-parent, --rank, --lr and --practice-lr are above 0"));
        }
        if !(self.practice_entropy.is_finite() && self.practice_entropy >= 0.0) {
            return Err(Error::input("--practice-entropy is 0 or above"));
        }
        if self.practice_samples < 2 {
            return Err(Error::input("--practice-samples is 2 or above: each is weighed against the others"));
        }
        if self.examples == 0 && self.practice == 0 && self.out.is_some() {
            return Err(Error::input("nothing to learn from").hint("give --examples or --practice"));
        }
        Ok(Recipe {
            format: self.format,
            examples: self.examples,
            per_parent: self.per_parent,
            lr: self.lr,
            warmup_steps: 10,
            clip: 1.0,
            max_tokens: self.max_tokens.unwrap_or_else(|| delta::longest(self.format)),
            seed: self.seed,
            lora: LoraConfig { rank: self.rank, alpha: 2.0 * self.rank as f64, ..LoraConfig::default() },
        })
    }

    fn practice(&self) -> Option<Practice> {
        (self.practice > 0).then_some(Practice {
            rounds: self.practice,
            parents: 2,
            samples: self.practice_samples,
            corpus: 6,
            entropy: self.practice_entropy,
            lr: self.practice_lr,
            warmup_steps: 10,
        })
    }
}

/// What `warmup.toml` says of an adapter.
#[derive(Serialize)]
struct Record<'a> {
    version: &'static str,
    model: String,
    model_sha256: String,
    chat_template_sha256: Option<String>,
    /// Of the conversation around an empty parent; another prompt is another conditional distribution.
    prompt_sha256: String,
    objective: Objective,
    /// Hash of the adapter that this one goes on from.
    from: Option<String>,
    seconds: f64,
    /// Means over the last tenth of the steps.
    final_loss: Option<f64>,
    final_valid: Option<f64>,
    recipe: &'a Recipe,
    practice: Option<Practice>,
}

pub fn run(args: &Args) -> Result<()> {
    let recipe = args.recipe()?;
    match (&args.out, &args.dump) {
        (Some(out), _) => make(&mut open(&args.model, args.from.as_deref(), args.device, &recipe)?, &recipe, args, out),
        (None, Some(dump)) => dump_corpus(dump, args),
        (None, None) => Err(Error::input("where to put the adapter is missing").hint("give --out DIR")),
    }
}

fn make(learner: &mut Learner, recipe: &Recipe, args: &Args, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).at("make the folder", out)?;
    let mut record = Record {
        version: env!("CARGO_PKG_VERSION"),
        model: learner.model.identity.name.clone(),
        model_sha256: learner.model.identity.sha256.clone(),
        chat_template_sha256: learner.model.identity.chat_template.clone(),
        prompt_sha256: prompt_hash(recipe.format)?,
        objective: OBJECTIVE,
        from: args.from.as_ref().map(|_| learner.adapter_hash()).transpose()?,
        seconds: 0.0,
        final_loss: None,
        final_valid: None,
        recipe,
        practice: args.practice(),
    };
    if recipe.examples > 0 {
        let mut log = Log::new(out, "warmup.jsonl")?;
        let mut losses = Vec::new();
        warm_up(learner, recipe, &mut |step, learner| {
            let rate = step.tokens as f64 / step.seconds;
            log.line(step, step.step, step.of, || format!("loss {:.3}, {rate:.0} tokens/s", step.loss))?;
            losses.push(step.loss);
            record.seconds = step.seconds;
            keep(learner, out, step.step, step.of)
        })?;
        record.final_loss = Some(end_mean(&losses));
    }
    if let Some(practice) = &record.practice {
        let (gates, before) = (Gates::of_corpus(recipe.format), record.seconds);
        let judge = |parent: &str, written: &[Written]| -> Result<Vec<Stage>> {
            Ok(judge_family(&gates, parent, written)?.iter().map(Judged::stage).collect())
        };
        let mut log = Log::new(out, "practice.jsonl")?;
        let mut valid = Vec::new();
        practise(learner, recipe, practice, &judge, &mut |round, learner| {
            log.line(round, round.round, round.of, || {
                format!("{:.2} valid, {:.2} good, entropy {:.1} nats", round.valid, round.good, round.entropy)
            })?;
            valid.push(round.valid);
            record.seconds = before + round.seconds;
            keep(learner, out, round.round, round.of)
        })?;
        record.final_valid = Some(end_mean(&valid));
    }
    making::record(&out.join("warmup.toml"), &record)?;
    printer::data(out.display());
    Ok(())
}

/// Mean over the last tenth.
fn end_mean(values: &[f64]) -> f64 {
    let last = &values[values.len() - values.len().div_ceil(10)..];
    last.iter().sum::<f64>() / last.len() as f64
}

/// Steps between the adapters that a kill leaves behind, to go on from with `--from`.
const KEEP_EVERY: usize = 25;

fn keep(learner: &Learner, out: &Path, step: usize, of: usize) -> Result<()> {
    if step.is_multiple_of(KEEP_EVERY) || step == of { learner.save_adapter(out) } else { Ok(()) }
}

fn prompt_hash(format: Format) -> Result<String> {
    Ok(sha256(serde_json::to_string(&prompt::messages(format, ""))?))
}

fn dump_corpus(folder: &Path, args: &Args) -> Result<()> {
    std::fs::create_dir_all(folder).at("make the folder", folder)?;
    for (name, source) in starts() {
        put(folder, &format!("start-{name}.py"), source)?;
    }
    let mut costs = String::new();
    for i in 0..200 {
        let mut rng = seed::rng(args.seed, "dump", &[i]);
        let network = random_network(&mut rng);
        let changed = mutate(&mut rng, &network);
        let (parent, child) = (render(&network), render(&changed));
        for (kind, cost) in [("parent", network.cost()), ("child", changed.cost())] {
            let _ = writeln!(costs, "{i:04}-{kind}.py\t{}\t{}", cost.parameters, cost.macs);
        }
        put(folder, &format!("{i:04}-parent.py"), &parent)?;
        put(folder, &format!("{i:04}-child.py"), &child)?;
        put(folder, &format!("{i:04}.delta"), &delta::write(args.format, &parent, &child).unwrap_or_default())?;
        if let Some(text) = mutate_source(&mut rng, &parent) {
            put(folder, &format!("{i:04}-text.py"), &text)?;
        }
    }
    put(folder, "costs.tsv", &costs)
}

fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).at("write", &path)
}
