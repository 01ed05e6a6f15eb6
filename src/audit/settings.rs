//! The settings of an audit, stored with it as `run.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{self, Dtype, LoraConfig, Moments, TuneConfig, TuningDtype};
use crate::device::Place;
use crate::error::{AtPath, Error, Result};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Every random stream of the audit is derived from it.
    pub seed: u64,
    pub cycles: u64,
    /// N: cells asked of the policy in a cycle.
    pub samples: usize,
    pub threads: usize,
    pub policy: Policy,
    /// Whose accuracies the table has: `cifar10`, `cifar100` or `imagenet`.
    pub dataset: String,
    /// Sampling, scoring and tuning over the words of the format only; without it the LLM may write anything. What is no cell has
    /// no quality.
    pub mask: bool,
    /// What is written: whole cells, or deltas on parents.
    pub format: Format,
    /// Whose deltas a sample asks for: the r-th best cell queried so far, from 0, with weight `(1 + r)^-parent_power`. With the
    /// novelty filter only cells with a neighbour that was not queried; before any were, random cells.
    pub parent_power: f64,
    /// Whether a cell is refused that was queried before: it has then no quality and is no elite.
    pub novelty: bool,
    /// No cycle begins once so many distinct cells were queried.
    pub budget: Option<usize>,
    /// No cycle begins once the best cell was queried, where only the cells until then are wanted. No policy knows of it.
    pub stop_at_best: bool,
    /// The exact distribution is computed in every cycle that this divides; 0 is never.
    pub audit_every: u64,
    /// The accuracy (from 0 to 1) whose probability of being reached is C; by default the 99% quantile of all cells.
    pub gamma_star: Option<f64>,
    /// The alpha of the table policy, as `tune.smoothing` is that of the adapter's weights.
    pub table_smoothing: f64,
    pub elite: EliteConfig,
    pub llm: LlmConfig,
    pub warmup: WarmupConfig,
    pub lora: LoraConfig,
    pub tune: TuneConfig,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            cycles: 22,
            samples: 50,
            threads: 2,
            policy: Policy::Llm,
            dataset: "cifar10".into(),
            mask: true,
            format: Format::Full,
            parent_power: 2.0,
            novelty: false,
            budget: None,
            stop_at_best: false,
            audit_every: 1,
            gamma_star: None,
            table_smoothing: 0.5,
            elite: EliteConfig::default(),
            llm: LlmConfig::default(),
            warmup: WarmupConfig::default(),
            lora: LoraConfig::default(),
            tune: TuneConfig { lr: 2e-4, epochs: 3, warmup_steps: 0, moments: Moments::Keep, ..TuneConfig::default() },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Six operations.
    Full,
    /// One edge and its new operation.
    Delta,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Delta => "delta",
        }
    }
}

/// What proposes cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The LLM, tuned on the elites.
    Llm,
    /// The same LLM after the warm-up, never tuned.
    Frozen,
    /// The cross-entropy method with an independent table for each edge.
    TableCe,
    /// Uniform cells, or uniform deltas on the same parents as the LLM's.
    Random,
    /// Regularised evolution (Real et al. 2019): population 50, the best of 10 is mutated, the oldest dies.
    Evolution,
}

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Frozen => "frozen",
            Self::TableCe => "table-ce",
            Self::Random => "random",
            Self::Evolution => "evolution",
        }
    }

    /// Whether it is made of a language model.
    pub fn is_llm(self) -> bool {
        matches!(self, Self::Llm | Self::Frozen)
    }

    /// Whether it can propose deltas on parents.
    pub fn writes_deltas(self) -> bool {
        matches!(self, Self::Llm | Self::Frozen | Self::Random)
    }

    /// Whether elites change it.
    pub fn is_tuned(self) -> bool {
        matches!(self, Self::Llm | Self::TableCe)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EliteConfig {
    /// Elite fraction of the N samples.
    pub rho: f64,
    pub source: EliteSource,
    /// Share of the elites kept out of tuning to see whether the update generalises.
    pub held_out: f64,
}

impl Default for EliteConfig {
    fn default() -> Self {
        Self { rho: 0.2, source: EliteSource::Cycle, held_out: 0.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EliteSource {
    /// The best samples of the cycle, a cell sampled twice counting twice: the CE update.
    Cycle,
    /// The best distinct cells of all cycles so far, as many.
    Archive,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    /// A name of the catalogue (`eliteloop models list`), or the path of a GGUF file or a Hugging Face folder.
    pub model: String,
    /// What stands before a cell.
    pub prompt: String,
    /// `none`, or the PEFT folder of the adapter that the audit starts from.
    pub adapter: String,
    /// How the frozen weights are kept.
    pub dtype: Dtype,
    /// As in a run's settings.
    pub tuning_dtype: TuningDtype,
    /// Where it computes: `cpu`, `cuda:N`, `metal:N`, or `auto`. A card keeps f32 weights as f32 and narrower ones as bf16.
    pub device: Place,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            model: "smollm2-135m-instruct".into(),
            prompt: "Cell:".into(),
            adapter: "none".into(),
            dtype: Dtype::F32,
            tuning_dtype: TuningDtype::F32,
            device: Place::Cpu,
        }
    }
}

/// Tuning on uniform random cells before the first cycle, so that the search starts from about the uniform distribution: the
/// model as it comes is sure of a few cells for reasons of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmupConfig {
    pub steps: usize,
    pub batch: usize,
    pub lr: f64,
}

impl Default for WarmupConfig {
    fn default() -> Self {
        Self { steps: 40, batch: 32, lr: 1e-3 }
    }
}

impl AuditConfig {
    /// The defaults, then a file, then `key=value` overrides, each over the one before.
    ///
    /// # Errors
    /// Names the key that is unknown and the nearest right one, or the value that makes no sense.
    pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let mut table: toml::Table = Self::default().to_toml().parse().expect("settings are plain TOML");
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).at("read the settings", path)?;
            Self::from_toml(&text, &path.display().to_string())?;
            config::merge(&mut table, text.parse().expect("it parsed a line ago"));
        }
        for assignment in overrides {
            config::merge(&mut table, config::override_table(assignment)?);
        }
        let text = toml::to_string(&table).map_err(|e| Error::input("the settings cannot be combined").caused_by(e))?;
        Self::from_toml(&text, "the settings")
    }

    /// Reads the settings stored with an audit.
    ///
    /// # Errors
    /// See [`AuditConfig::resolve`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let message = e.message();
            let error = Error::input(format!("{origin}: {message}"));
            match config::nearest_key(message) {
                Some(key) => error.hint(format!("did you mean '{key}'?")),
                None => error,
            }
        })?;
        config.check()?;
        Ok(config)
    }

    /// The settings as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain TOML")
    }

    /// How many elites are wanted of a cycle.
    pub fn elites(&self) -> usize {
        ((self.elite.rho * self.samples as f64 - 1e-9).ceil() as usize).max(1)
    }

    fn check(&self) -> Result<()> {
        let wrong = |key: &str, why: &str| Err(Error::input(format!("setting {key}: {why}")));
        if self.cycles == 0 || self.samples == 0 || self.threads == 0 {
            return wrong("cycles, samples, threads", "at least 1");
        }
        if !(self.elite.rho > 0.0 && self.elite.rho <= 1.0) {
            return wrong("elite.rho", "above 0 and at most 1");
        }
        if !(0.0..1.0).contains(&self.elite.held_out) {
            return wrong("elite.held_out", "from 0 to below 1");
        }
        if [self.tune.smoothing, self.table_smoothing].iter().any(|&alpha| !(alpha > 0.0 && alpha <= 1.0)) {
            return wrong("tune.smoothing, table_smoothing", "above 0 and at most 1");
        }
        if !(self.parent_power >= 0.0 && self.parent_power.is_finite()) {
            return wrong("parent_power", "a number from 0 up");
        }
        if let Some(gamma) = self.gamma_star.filter(|gamma| !(0.0..=1.0).contains(gamma)) {
            let error = Error::input(format!("setting gamma_star: from 0 to 1, not {gamma}"));
            return Err(if gamma > 1.0 && gamma <= 100.0 {
                error.hint(format!("accuracies are shares of 1: {}", gamma / 100.0))
            } else {
                error
            });
        }
        if self.budget == Some(0) {
            return wrong("budget", "at least 1");
        }
        if self.format == Format::Delta && !self.policy.writes_deltas() {
            return wrong("format", "only the policies llm, frozen and random write deltas");
        }
        if self.warmup.steps > 0 && self.warmup.batch == 0 {
            return wrong("warmup.batch", "at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_and_typos_are_named() {
        let config = AuditConfig::resolve(None, &["elite.rho=0.1".into(), "policy=table-ce".into(), "gamma_star=0.9".into()]).unwrap();
        assert_eq!((config.elite.rho, config.policy, config.gamma_star, config.elites()), (0.1, Policy::TableCe, Some(0.9), 5));
        assert_eq!(AuditConfig::from_toml(&config.to_toml(), "run.toml").unwrap(), config);
        let error = AuditConfig::resolve(None, &["elite.roh=0.1".into()]).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean 'rho'?"));
        assert!(AuditConfig::resolve(None, &["elite.rho=0".into()]).is_err());
        let percent = AuditConfig::resolve(None, &["gamma_star=90.97".into()]).unwrap_err();
        assert!(percent.hint_text().unwrap().contains("0.9097"), "{percent}");
    }
}
