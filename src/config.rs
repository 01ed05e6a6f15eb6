//! The settings of a run: small nested tables, each documented once, the defaults inline.
//!
//! A file is TOML. Presets are such files built into the program; `--set key=value` overrides one key. What results is
//! stored with the run as `run.toml`, so nothing about a run depends on a default that may change later.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::Place;
use crate::error::{AtPath, Error, Result};
use crate::halving::Halving;

/// All settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Every random stream of the run is derived from it.
    pub seed: u64,
    pub cycles: u64,
    /// N: samples asked of the policy in a cycle, invalid ones counted.
    pub candidates: u64,
    /// Threads for the LLM; proxies use `proxy.workers` processes of one thread each.
    pub threads: usize,
    /// What proposes: the tuned LLM or one of its controls.
    pub policy: Policy,
    pub llm: LlmConfig,
    pub delta: DeltaConfig,
    pub parents: ParentsConfig,
    pub screen: ScreenConfig,
    pub novelty: NoveltyConfig,
    pub proxy: ProxyConfig,
    pub elite: EliteConfig,
    pub lora: LoraConfig,
    pub tune: TuneConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            cycles: 3,
            candidates: 12,
            threads: 2,
            policy: Policy::Llm,
            llm: LlmConfig::default(),
            delta: DeltaConfig::default(),
            parents: ParentsConfig::default(),
            screen: ScreenConfig::default(),
            novelty: NoveltyConfig::default(),
            proxy: ProxyConfig::default(),
            elite: EliteConfig::default(),
            lora: LoraConfig::default(),
            tune: TuneConfig::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The LLM, tuned on the elites of each cycle.
    Llm,
    /// The same LLM, never tuned.
    Frozen,
    /// Random mutations of the parent by the generator of the warm-up corpus; no LLM.
    Random,
    /// The same mutations under regularised evolution (Real et al. 2019): see [`crate::parents::tournaments`].
    Evolution,
}

impl Policy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Frozen => "frozen",
            Self::Random => "random",
            Self::Evolution => "evolution",
        }
    }

    /// Whether an LLM proposes.
    pub const fn has_llm(self) -> bool {
        matches!(self, Self::Llm | Self::Frozen)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    /// A name that `eliteloop models list` shows, a path to a GGUF file or a Hugging Face folder, or `hf:owner/name` in the local
    /// Hugging Face cache.
    pub model: String,
    /// The adapter a run starts from: `warmup` (shipped, for the default model), `none`, or a PEFT folder.
    pub adapter: String,
    /// Longest prompt plus completion, in tokens; a longer prompt is refused with its length.
    pub max_context: usize,
    /// How the frozen weights are kept. Narrow ones are widened one matrix at a time, and tuning computes each layer's activations
    /// twice instead of keeping them: much less memory, more time.
    pub dtype: Dtype,
    /// What the LLM may take by the estimate: tuning's passes are made as long as that allows, and a model that does not fit is
    /// refused before it is loaded. Of the processor's memory, where it computes there.
    pub memory_mib: u64,
    /// Where it computes: `cpu`, `cuda:N`, `metal:N`, or `auto`. `--device` sets this and `proxy.device`.
    pub device: Place,
    /// How a card keeps the frozen weights, in place of `dtype`; adapter and optimiser are f32 always. Products of bf16 weights are
    /// rounded to bf16.
    pub card_dtype: CardDtype,
    /// Memory of the card it may take, in MiB; 0 is what is free when it is opened.
    pub card_memory_mib: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CardDtype {
    #[default]
    Bf16,
    F32,
}

/// The type the frozen weights are kept in. Everything is computed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    F32,
    Bf16,
    /// As the GGUF file has them.
    Quantized,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            model: "smollm2-135m-instruct".into(),
            adapter: "warmup".into(),
            max_context: 1536,
            dtype: Dtype::F32,
            memory_mib: 6144,
            device: Place::Cpu,
            card_dtype: CardDtype::Bf16,
            card_memory_mib: 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeltaConfig {
    pub format: Format,
    /// What the sampler may write; anything but `none` draws from q, which is p cut to what is allowed.
    pub mask: Masking,
    /// 1 with `top_p` 1 samples from the model itself (q = p), which claims 1-3 need.
    pub temperature: f64,
    pub top_p: f64,
    /// Longest completion in tokens, the end token included; one that has not ended by then is invalid.
    pub max_tokens: usize,
}

impl Default for DeltaConfig {
    fn default() -> Self {
        Self { format: Format::Edit, mask: Masking::None, temperature: 1.0, top_p: 1.0, max_tokens: 160 }
    }
}

/// How a change is written; see [`crate::delta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Numbered edits: `5`, `5-8` or `5+`, then lines.
    Edit,
    /// Unified diff.
    Diff,
    /// The whole new source.
    Full,
}

/// What the sampler may write; see [`crate::delta::grammar`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// Anything.
    #[default]
    None,
    /// Deltas that apply to their parent.
    Patch,
    /// The same, and the lines they give are Python as it occurs in networks, with layers that there are.
    Layers,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParentsConfig {
    /// Source files to start from; empty means the start networks built into the program.
    pub start: Vec<PathBuf>,
    /// Distinct parents shown in a cycle; the candidates are shared out evenly among them.
    pub per_cycle: usize,
    /// Elites (best first) that may become parents; the start networks always may.
    pub pool: usize,
    /// The r-th best of the pool, from 0, is drawn with weight `(1 + r)^-power`.
    pub power: f64,
    /// Of `policy = evolution`: how many of the youngest trained networks are alive, and how many of these a tournament draws.
    pub population: usize,
    pub tournament: usize,
}

impl Default for ParentsConfig {
    fn default() -> Self {
        Self { start: Vec::new(), per_cycle: 3, pool: 12, power: 2.0, population: 24, tournament: 6 }
    }
}

/// The cheap gates before training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScreenConfig {
    pub max_parameters: u64,
    /// Multiply-accumulates for one image.
    pub max_macs: u64,
    /// Activations of one training step, in MiB.
    pub max_memory_mib: u64,
    /// Limits of the sandboxed trace.
    pub trace_seconds: f64,
    pub trace_memory_mib: u64,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self { max_parameters: 1_000_000, max_macs: 40_000_000, max_memory_mib: 1024, trace_seconds: 5.0, trace_memory_mib: 512 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoveltyConfig {
    /// Off only for the control arm of claim 5; exact duplicates (same graph) are then trained again too.
    pub enabled: bool,
    /// A candidate whose Jaccard similarity to anything accepted before reaches this is refused.
    pub threshold: f64,
    /// The same against its own parent; a delta is close to its parent by construction.
    pub parent_threshold: f64,
    /// Operations in one shingle.
    pub shingle: usize,
    /// MinHash functions; the standard error of an estimate is sqrt(J(1-J)/hashes).
    pub hashes: usize,
}

impl Default for NoveltyConfig {
    fn default() -> Self {
        Self { enabled: true, threshold: 0.98, parent_threshold: 1.0, shingle: 3, hashes: 128 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// `cifar10`, `fashion-mnist`, `mnist`, `synthetic`, or a set of your own by the name it was imported under.
    pub dataset: String,
    /// Images of the training split used for training and for the quality; drawn once per run, balanced by class.
    pub train_images: usize,
    pub valid_images: usize,
    pub epochs: usize,
    pub batch: usize,
    pub optimizer: Optimizer,
    /// Multi-fidelity: `"off"`, or `{ epochs = 1, eta = 3 }`: only the best 1/eta of a cycle's candidates go on after so many epochs, and
    /// so on; the others keep the accuracy they have then. See [`crate::halving`].
    pub halving: Halving,
    /// Peak learning rate; one warm-up epoch at most, then a cosine to zero.
    pub lr: f64,
    /// Of SGD (Nesterov off).
    pub momentum: f64,
    pub weight_decay: f64,
    /// Largest gradient norm; 0 is no clipping.
    pub clip: f64,
    pub label_smoothing: f64,
    /// Random horizontal flip (not for digits) and crop from a border of 4 zeros.
    pub augment: bool,
    /// Independent trainings of a candidate; quality is their mean.
    pub seeds: u64,
    /// Candidates drawn at random in each cycle that are trained once more with another seed, to measure the noise of the
    /// quality (claim 6). It does not change the quality.
    pub repeats: usize,
    /// Processes of one thread that train at the same time.
    pub workers: usize,
    /// A training that takes longer fails alone.
    pub deadline_seconds: f64,
    /// Address space of a worker, where it trains on the processor.
    pub memory_mib: u64,
    /// Where the workers train: see `llm.device`.
    pub device: Place,
    /// Memory of the card that the workers may take together, in MiB; 0 is what is free when a cycle's trainings begin. It bounds how many
    /// work at a time, and changes no result.
    pub card_memory_mib: u64,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            dataset: "cifar10".into(),
            train_images: 4000,
            valid_images: 2000,
            epochs: 2,
            halving: Halving::Off,
            batch: 64,
            optimizer: Optimizer::Sgd,
            lr: 0.05,
            momentum: 0.9,
            weight_decay: 5e-4,
            clip: 5.0,
            label_smoothing: 0.0,
            augment: true,
            seeds: 1,
            repeats: 2,
            workers: 2,
            deadline_seconds: 120.0,
            memory_mib: 4096,
            device: Place::Cpu,
            card_memory_mib: 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    Sgd,
    Adamw,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EliteConfig {
    /// Elite fraction of the N samples; gamma is the (1-rho) quantile of the qualities, invalid ones at the bottom.
    pub rho: f64,
    /// An absolute threshold instead of the quantile.
    pub threshold: Option<f64>,
    pub source: EliteSource,
    /// Share of the elites kept out of tuning to see whether the update generalises.
    pub held_out: f64,
}

impl Default for EliteConfig {
    fn default() -> Self {
        Self { rho: 0.25, threshold: None, source: EliteSource::Cycle, held_out: 0.2 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EliteSource {
    /// Elites of this cycle only: the CE update.
    Cycle,
    /// Elites of all cycles so far.
    Cumulative,
}

/// Low-rank adapters (Hu et al. 2021): W x + (alpha/rank) B A x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    pub rank: usize,
    pub alpha: f64,
    /// On the adapter's input, in tuning only.
    pub dropout: f64,
    /// Of `q_proj k_proj v_proj o_proj gate_proj up_proj down_proj`.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        Self { rank: 16, alpha: 32.0, dropout: 0.0, targets: targets.map(String::from).to_vec() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuneConfig {
    /// What the update is tuned on; anything but the elites is a control.
    pub data: TuneData,
    /// What happens to an update under which the logged samples promise less quality.
    pub gate: Gate,
    pub objective: Objective,
    pub lr: f64,
    /// Passes over the elites.
    pub epochs: usize,
    /// Tuning ends early once a step's loss is below this, so that the policy stays able to explore; 0 is never.
    pub stop_below: f64,
    /// Optimiser steps over which the learning rate rises.
    pub warmup_steps: usize,
    pub weight_decay: f64,
    /// Largest gradient norm; 0 is no clipping.
    pub clip: f64,
    /// CE smoothing alpha: new = alpha * tuned + (1 - alpha) * old, on the adapter's weights.
    pub smoothing: f64,
    /// Whether the moments of AdamW go on from cycle to cycle.
    pub moments: Moments,
}

impl Default for TuneConfig {
    fn default() -> Self {
        Self {
            data: TuneData::Elites,
            gate: Gate::Off,
            objective: Objective::Sum,
            lr: 1e-4,
            epochs: 4,
            stop_below: 0.0,
            warmup_steps: 2,
            weight_decay: 0.0,
            clip: 1.0,
            smoothing: 1.0,
            moments: Moments::Fresh,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TuneData {
    /// The elites: the CE update.
    Elites,
    /// Every candidate that was trained.
    AllValid,
    /// As many of these as there are elites, drawn whatever their quality.
    RandomSubset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    Off,
    /// A significant fall is put on record.
    Warn,
    /// The adapter goes back to what it was before the update.
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Mean over elites of the summed negative log-likelihood of the completion: the CE update.
    Sum,
    /// Mean over tokens: weights each elite by 1/length, so not the CE update.
    TokenMean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moments {
    Fresh,
    Keep,
}

const PRESETS: [(&str, &str); 2] = [("quick", include_str!("presets/quick.toml")), ("cifar10", include_str!("presets/cifar10.toml"))];

impl RunConfig {
    /// Resolves a preset, then a file, then `key=value` overrides, each over the one before.
    ///
    /// # Errors
    /// Names the key that is unknown and the nearest right one, or the value that makes no sense.
    pub fn resolve(preset: Option<&str>, file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let mut table = toml::Table::new();
        if let Some(name) = preset {
            let text = PRESETS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let names: Vec<_> = PRESETS.iter().map(|(known, _)| *known).collect();
                Error::input(format!("there is no preset '{name}'")).hint(format!("presets: {}", names.join(", ")))
            })?;
            merge(&mut table, text.1.parse().expect("built-in presets parse"));
        }
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).at("read the settings", path)?;
            parse(&text, &path.display().to_string())?;
            merge(&mut table, text.parse().expect("it parsed a line ago"));
        }
        for assignment in overrides {
            merge(&mut table, override_table(assignment)?);
        }
        let text = toml::to_string(&table).map_err(|e| Error::input("the settings cannot be combined").caused_by(e))?;
        let config = parse(&text, "the settings")?;
        config.check()?;
        Ok(config)
    }

    /// Reads the settings stored with a run.
    ///
    /// # Errors
    /// See [`RunConfig::resolve`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let config = parse(text, origin)?;
        config.check()?;
        Ok(config)
    }

    /// The settings as TOML, every key written out.
    ///
    /// # Panics
    /// Never: the settings are plain numbers, strings and lists.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain TOML")
    }

    /// Where LLM and proxies compute; each `auto` becomes a device that is there. Gives what to tell where that is the processor.
    pub fn settle_devices(&mut self) -> Option<String> {
        let (llm, why) = self.llm.device.settle();
        let (proxy, also) = self.proxy.device.settle();
        (self.llm.device, self.proxy.device) = (llm, proxy);
        why.or(also)
    }

    fn check(&self) -> Result<()> {
        let wrong = |key: &str, why: &str| Err(Error::input(format!("setting {key}: {why}")));
        if self.cycles == 0 || self.candidates == 0 {
            return wrong("cycles, candidates", "at least 1");
        }
        if self.threads == 0 || self.proxy.workers == 0 {
            return wrong("threads, proxy.workers", "at least 1");
        }
        if !(self.elite.rho > 0.0 && self.elite.rho <= 1.0) {
            return wrong("elite.rho", "above 0 and at most 1");
        }
        if !(0.0..1.0).contains(&self.elite.held_out) {
            return wrong("elite.held_out", "from 0 to below 1");
        }
        if !(self.tune.smoothing > 0.0 && self.tune.smoothing <= 1.0) {
            return wrong("tune.smoothing", "above 0 and at most 1");
        }
        if !(self.delta.temperature > 0.0 && self.delta.top_p > 0.0 && self.delta.top_p <= 1.0) {
            return wrong("delta.temperature, delta.top_p", "temperature above 0, top_p above 0 and at most 1");
        }
        if self.delta.max_tokens == 0 || self.delta.max_tokens >= self.llm.max_context {
            return wrong("delta.max_tokens", "at least 1 and below llm.max_context");
        }
        if self.proxy.train_images == 0
            || self.proxy.valid_images == 0
            || self.proxy.epochs == 0
            || self.proxy.batch == 0
            || self.proxy.seeds == 0
        {
            return wrong("proxy", "train_images, valid_images, epochs, batch and seeds are at least 1");
        }
        if let Halving::On(rungs) = self.proxy.halving
            && (rungs.epochs == 0 || rungs.epochs >= self.proxy.epochs || rungs.eta < 2)
        {
            return wrong("proxy.halving", "epochs from 1 to below proxy.epochs, eta at least 2");
        }
        if self.lora.rank == 0 || self.lora.targets.is_empty() {
            return wrong("lora", "a rank of at least 1 and at least one target");
        }
        if self.parents.per_cycle == 0 {
            return wrong("parents.per_cycle", "at least 1");
        }
        if self.parents.population == 0 || self.parents.tournament == 0 {
            return wrong("parents.population, parents.tournament", "at least 1");
        }
        if self.novelty.shingle == 0 || self.novelty.hashes == 0 {
            return wrong("novelty", "shingle and hashes are at least 1");
        }
        Ok(())
    }
}

fn parse(text: &str, origin: &str) -> Result<RunConfig> {
    toml::from_str(text).map_err(|e| {
        let message = e.message();
        let error = Error::input(format!("{origin}: {message}"));
        match nearest_key(message) {
            Some(key) => error.hint(format!("did you mean '{key}'?")),
            None => error,
        }
    })
}

/// The expected key nearest to the unknown one, out of serde's message: "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn nearest_key(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown ").then(|| quoted.next())??;
    quoted.min_by_key(|key| strsim::damerau_levenshtein(unknown, key))
}

pub(crate) fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `elite.rho=0.2` as a table; a value that is not TOML is taken as a string.
pub(crate) fn override_table(assignment: &str) -> Result<toml::Table> {
    let (key, value) = assignment
        .split_once('=')
        .ok_or_else(|| Error::input(format!("--set {assignment}: there is no '='")).hint("write --set elite.rho=0.2"))?;
    let (key, value) = (key.trim(), value.trim());
    format!("{key} = {value}")
        .parse()
        .or_else(|_| format!("{key} = {}", toml::Value::String(value.into())).parse())
        .map_err(|e| Error::input(format!("--set {assignment}: not a key and a value")).caused_by(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = RunConfig::resolve(None, None, &["elite.roh=0.2".into()]).unwrap_err();
        assert!(error.to_string().contains("roh"), "{error}");
        assert!(error.hint_text().unwrap().contains("rho"));
    }

    #[test]
    fn overrides_win_over_presets_and_survive_a_round_trip() {
        let config = RunConfig::resolve(Some("quick"), None, &["proxy.dataset=synthetic".into(), "seed=7".into()]).unwrap();
        assert_eq!((config.seed, config.proxy.dataset.as_str()), (7, "synthetic"));
        assert_eq!(RunConfig::from_toml(&config.to_toml(), "run.toml").unwrap(), config);
    }

    #[test]
    fn values_without_meaning_are_refused() {
        for bad in ["elite.rho=0", "tune.smoothing=1.5", "cycles=0", "delta.max_tokens=100000", "lora.targets=[]"] {
            assert!(RunConfig::resolve(None, None, &[bad.into()]).is_err(), "{bad}");
        }
    }
}
