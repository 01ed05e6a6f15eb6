//! The settings of an audit, stored with it as `run.toml`.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::base::device::Place;
use crate::base::error::{Error, Result};
use crate::base::range::{Check, MANY, MOST_WORKERS, above, check_seed, real, whole};
use crate::config::layers::{Settings, given, is_key, merge, parse, read};
use crate::config::{EliteWeights, Policy, Reference, RunConfig, check_power, check_shares};
use crate::decoder::settings::llm::{Dtype, TuningDtype};
use crate::decoder::settings::lora::LoraConfig;
use crate::decoder::settings::tune::{Moments, TuneConfig, Until};
use crate::method::elite::Cut;
use crate::oracle::Space;
use crate::oracle::space::MOST_CELLS;

/// All settings of an audit. What a run has under the same name is the same thing; a setting that only a run reads is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Every random stream of the audit is derived from it.
    pub seed: u64,
    /// Cycles in all; `budget` and `stop_at_best` may end the audit before.
    pub cycles: u64,
    /// N: cells asked of the policy in a cycle.
    pub candidates: usize,
    /// Threads of the LLM; they change no result.
    pub threads: usize,
    /// What proposes cells: the tuned LLM, the method in closed form, or a control.
    pub policy: Policy,
    /// Whose accuracies the table has: `cifar10`, `cifar100` or `imagenet` of NAS-Bench-201; or the JSON file of a table of your own
    /// ([`crate::oracle::table_file`]), by its path from where the program is started.
    pub dataset: String,
    /// Sampling, scoring and tuning over the words of the format only; without it the LLM may write anything. What is no cell has
    /// no quality. (A run's `delta.mask` is another thing: it is about the lines of a source.)
    pub mask: bool,
    /// What is written: whole cells, or deltas on parents. (A run's `delta.format` is how a delta on a source is written.)
    pub format: CellFormat,
    /// No cycle begins once so many distinct cells were queried.
    pub budget: Option<usize>,
    /// No cycle begins once the best cell was queried, where only the cells until then are wanted. No policy knows of it.
    pub stop_at_best: bool,
    /// The exact distribution is computed in every cycle that this divides; 0 is never.
    pub audit_every: u64,
    /// The accuracy (from 0 to 1) whose probability of being reached is C; by default the 99% quantile of all cells.
    pub gamma_star: Option<f64>,
    /// What a query measures: the accuracy of one training, as a run would, or the mean over the table's trainings, which has no noise.
    pub quality: Measured,
    /// The alpha of the table policy and of `mixture-ce`, as `tune.smoothing` is that of the adapter's weights.
    pub table_smoothing: f64,
    /// How far `tilt-ce` moves in a cycle: KL(p' || p), in nats.
    pub tilt_kl: f64,
    /// Whose deltas are asked for, where the format is `delta`.
    pub parents: AuditParentsConfig,
    /// Whether cells that were queried before are refused.
    pub novelty: AuditNoveltyConfig,
    /// Which samples are elite, and what each weighs in the update.
    pub elite: AuditEliteConfig,
    /// The LLM and where it computes; read by the policies that have one.
    pub llm: AuditLlmConfig,
    /// Tuning before the first cycle, of an LLM.
    pub warmup: WarmupConfig,
    /// Of a new adapter; None beside one that has all of it fixed, see `llm.adapter`.
    pub lora: Option<LoraConfig>,
    /// How the LLM is tuned on the elites of a cycle.
    pub tune: TuneConfig,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            cycles: 22,
            candidates: 50,
            threads: 2,
            policy: Policy::Llm,
            dataset: "cifar10".into(),
            mask: true,
            format: CellFormat::Full,
            budget: None,
            stop_at_best: false,
            audit_every: 1,
            gamma_star: None,
            quality: Measured::OneSeed,
            table_smoothing: 0.5,
            tilt_kl: 0.2,
            parents: AuditParentsConfig::default(),
            novelty: AuditNoveltyConfig::default(),
            elite: AuditEliteConfig::default(),
            llm: AuditLlmConfig::default(),
            warmup: WarmupConfig::default(),
            lora: Some(LoraConfig::default()),
            tune: TuneConfig { lr: 2e-4, epochs: 3, warmup_steps: 0, moments: Moments::Keep, ..TuneConfig::default() },
        }
    }
}

/// What a query of a cell measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// The accuracy of one of the cell's trainings, drawn once for each cell and seed of an audit.
    OneSeed,
    /// The mean accuracy over the cell's trainings.
    Mean,
}

/// How a policy writes cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CellFormat {
    /// The words of all slots.
    Full,
    /// One slot and its new word.
    Delta,
}

impl CellFormat {
    /// As it is written in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Delta => "delta",
        }
    }
}

/// Whose deltas a sample asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditParentsConfig {
    /// The r-th best cell queried so far, from 0, is drawn with weight `(1 + r)^-power`; all of them may be. With the novelty filter
    /// only cells with a neighbour that was not queried; before any were, random cells.
    pub(crate) power: f64,
}

impl Default for AuditParentsConfig {
    fn default() -> Self {
        Self { power: 2.0 }
    }
}

impl Check for AuditParentsConfig {
    fn check(&self) -> Result<()> {
        check_power(self.power)
    }
}

/// The novelty filter of an audit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditNoveltyConfig {
    /// Whether a cell is refused that was queried before: it has then no quality and is no elite. Cells are the same or not; there is
    /// no threshold of similarity.
    pub(crate) enabled: bool,
}

/// Which samples of a cycle are elite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditEliteConfig {
    /// Elite fraction of the N samples.
    pub(crate) rho: f64,
    /// Of what they are the best.
    pub(crate) source: AuditEliteSource,
    /// Which of them: the best, or as many at random, which is the control that selects nothing.
    pub(crate) choice: Choice,
    /// A fixed threshold in place of `rho`, from 0 to 1: what the theorem of geometric convergence supposes.
    pub(crate) threshold: Option<f64>,
    /// As in a run's settings.
    pub(crate) weights: EliteWeights,
    /// Share of the elites kept out of tuning to see whether the update generalises.
    pub(crate) held_out: f64,
}

impl Default for AuditEliteConfig {
    fn default() -> Self {
        Self {
            rho: 0.2,
            source: AuditEliteSource::Cycle,
            choice: Choice::Best,
            threshold: None,
            weights: EliteWeights::Truncation,
            held_out: 0.0,
        }
    }
}

impl Check for AuditEliteConfig {
    fn check(&self) -> Result<()> {
        check_shares(self.rho, self.held_out)?;
        self.threshold.map_or(Ok(()), |threshold| real("elite.threshold", threshold, 0.0..=1.0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Choice {
    /// Those of the highest quality.
    Best,
    /// As many, whatever their quality.
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuditEliteSource {
    /// The best samples of the cycle, a cell sampled twice counting twice: the CE update.
    Cycle,
    /// The best distinct cells of all cycles so far, as many. (A run's `cumulative` keeps the elites of every cycle, ever more.)
    Archive,
    /// All cells above the threshold, with the probabilities that the policy gives them: what the theorems speak of. Of policies in closed
    /// form.
    Population,
}

/// The LLM of an audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditLlmConfig {
    /// A name of the catalogue (`eliteloop models list`), or the path of a GGUF file or a Hugging Face folder.
    pub(crate) model: String,
    /// What stands before a cell.
    pub(crate) prompt: String,
    /// `none`, or the PEFT folder of the adapter that the audit starts from.
    pub(crate) adapter: String,
    /// How the frozen weights are kept.
    pub(crate) dtype: Dtype,
    /// As in a run's settings.
    pub(crate) tuning_dtype: TuningDtype,
    /// Where it computes: `cpu`, `cuda:N`, `metal:N`, or `auto`. A card keeps f32 weights as f32 and narrower ones as bf16.
    pub device: Place,
}

impl Default for AuditLlmConfig {
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WarmupConfig {
    /// Optimiser steps; 0 for no warm-up.
    pub steps: usize,
    /// Random cells of a step.
    pub(crate) batch: usize,
    /// Learning rate, the same in every step.
    pub lr: f64,
}

impl Default for WarmupConfig {
    fn default() -> Self {
        Self { steps: 40, batch: 32, lr: 1e-3 }
    }
}

impl Check for WarmupConfig {
    fn check(&self) -> Result<()> {
        whole("warmup.steps", self.steps, 0..=MANY)?;
        whole("warmup.batch", self.batch, 1..=MANY)?;
        real("warmup.lr", self.lr, above(0.0, 10.0))
    }
}

impl AuditConfig {
    /// The defaults, then a file, then `key=value` overrides, each over the one before.
    ///
    /// # Errors
    /// Names the key that is unknown and the nearest right one, or the value that makes no sense.
    pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let given = given::<Self>(file, overrides)?;
        let mut table: Table = Self::default().to_toml().parse().expect("settings are plain TOML");
        // The one table whose defaults depend on another setting.
        table.remove("lora");
        merge(&mut table, given);
        Self::of(&table, "the settings")
    }

    /// Reads the settings stored with an audit.
    ///
    /// # Errors
    /// See [`AuditConfig::resolve`]. What an older release called otherwise is refused, with the name it has now.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        Self::of(&parse(text, origin)?, origin)
    }

    fn of(given: &Table, origin: &str) -> Result<Self> {
        let mut config: Self = read(given, origin)?;
        config.lora = LoraConfig::beside(&config.llm.adapter, config.lora.take(), given)?;
        config.check()?;
        Ok(config)
    }

    /// The settings as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain TOML")
    }

    /// What every setting of an audit is.
    pub fn reference() -> Reference {
        let defaults = Self::default();
        let mut given = Self { budget: Some(1), gamma_star: Some(0.5), ..defaults.clone() };
        given.elite.threshold = Some(0.5);
        given.tune.until = Until { steps: Some(1), share: Some(0.5), kl: Some(0.5) };
        Reference::of(&defaults, &given)
    }

    /// Holds what only a space can tell against it.
    ///
    /// # Errors
    /// Names the setting, as [`Check::check`] does.
    pub(crate) fn check_in(&self, space: &Space) -> Result<()> {
        self.budget.map_or(Ok(()), |budget| whole("budget", budget, 1..=space.cells()))
    }

    /// How many elites are wanted of a cycle.
    pub(crate) fn elites(&self) -> usize {
        Cut::wanted(self.elite.rho, self.candidates as u64)
    }
}

impl Settings for AuditConfig {
    fn instead_of(key: &str) -> Option<String> {
        let renamed = [("samples", "candidates"), ("parent_power", "parents.power"), ("novelty", "novelty.enabled")];
        match renamed.iter().find(|(old, _)| *old == key) {
            Some((_, now)) => Some(format!("it is called {now} now, as in a run's settings")),
            None if !is_key::<Self>(key) && is_key::<RunConfig>(key) => {
                Some("a run has this setting, and an audit has no use for it".into())
            }
            None => None,
        }
    }
}

impl Check for AuditConfig {
    /// Every table by itself, then what spans them.
    fn check(&self) -> Result<()> {
        check_seed(self.seed)?;
        whole("cycles", self.cycles, 1..=MANY as u64)?;
        whole("candidates", self.candidates, 1..=MANY)?;
        whole("threads", self.threads, 1..=MOST_WORKERS)?;
        self.budget.map_or(Ok(()), |budget| whole("budget", budget, 1..=MOST_CELLS))?;
        whole("audit_every", self.audit_every, 0..=MANY as u64)?;
        if let Some(percent) = self.gamma_star.filter(|gamma| *gamma > 1.0 && *gamma <= 100.0) {
            return Err(Error::input(format!("setting gamma_star = {percent}: an accuracy, from 0 to 1"))
                .hint(format!("accuracies are shares of 1: {}", percent / 100.0)));
        }
        self.gamma_star.map_or(Ok(()), |gamma| real("gamma_star", gamma, 0.0..=1.0))?;
        real("table_smoothing", self.table_smoothing, above(0.0, 1.0))?;
        real("tilt_kl", self.tilt_kl, above(0.0, 10.0))?;
        let tables: [&dyn Check; 4] = [&self.parents, &self.elite, &self.warmup, &self.tune];
        tables.into_iter().try_for_each(Check::check)?;
        self.lora.as_ref().map_or(Ok(()), Check::check)?;
        if self.elite.weights != EliteWeights::Truncation {
            let wrong =
                |why: &str| Err(Error::input(format!("setting elite.weights: {why}")).hint("elite.weights = truncation goes with all"));
            if !matches!(self.policy, Policy::Llm | Policy::Frozen) {
                return wrong("they are those of an LLM's update, and this policy has none");
            }
            if self.elite.weights == EliteWeights::Entropic && self.elite.source == AuditEliteSource::Archive {
                return wrong("entropic ones are about the samples of one policy, and elite.source = archive");
            }
        }
        let deltas = self.policy.has_llm() || matches!(self.policy, Policy::Random | Policy::Uniform);
        if self.format == CellFormat::Delta && !deltas {
            return Err(Error::input(format!("setting format = delta: policy {} writes no deltas", self.policy.name()))
                .hint("the policies llm, frozen, best-of-n, random and uniform do"));
        }
        if self.format == CellFormat::Full && self.policy == Policy::Uniform {
            return Err(Error::input("setting policy = uniform: it is about the parents of deltas, and format is full")
                .hint("set format = delta; whole cells are drawn uniformly by policy = random"));
        }
        let AuditEliteConfig { source, choice, threshold, held_out, .. } = self.elite;
        let wrong = |what: &str, hint: &str| Err(Error::input(what).hint(hint));
        if source == AuditEliteSource::Population {
            if self.policy.has_llm() {
                let hint = "mixture-ce, tilt-ce and table-ce can be, and controls that are not updated";
                return wrong("setting elite.source = population: an LLM is not updated on a distribution", hint);
            }
            if choice == Choice::Random || held_out > 0.0 {
                return wrong(
                    "setting elite.source = population: nothing is drawn of it",
                    "elite.choice = best and elite.held_out = 0 go with it",
                );
            }
        }
        if self.policy == Policy::TiltCe && source != AuditEliteSource::Population {
            return wrong("setting policy = tilt-ce: it weights all cells and has no elites", "elite.source = population says so");
        }
        if threshold.is_some() && source == AuditEliteSource::Archive {
            return wrong(
                "setting elite.threshold: the archive keeps as many as rho says",
                "elite.source = cycle or population has a threshold",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(overrides: &[&str]) -> Result<AuditConfig> {
        AuditConfig::resolve(None, &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn settings_come_back_and_typos_are_named() {
        let config = resolve(&["elite.rho=0.1", "policy=table-ce", "gamma_star=0.9"]).unwrap();
        assert_eq!((config.elite.rho, config.policy, config.gamma_star, config.elites()), (0.1, Policy::TableCe, Some(0.9), 5));
        assert_eq!(AuditConfig::from_toml(&config.to_toml(), "run.toml").unwrap(), config);
        let percent = resolve(&["gamma_star=90.97"]).unwrap_err();
        assert!(percent.hint_text().unwrap().contains("0.9097"), "{percent}");
        let error = resolve(&["elite.roh=0.1"]).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean 'rho'?"));
        assert!(resolve(&["elite.rho=0"]).is_err());
        let error = resolve(&["policy=evolution", "format=delta"]).unwrap_err();
        assert!(error.to_string().contains("evolution writes no deltas"), "{error}");
        assert!(resolve(&["policy=mixture-ce", "elite.source=population", "quality=mean", "elite.threshold=0.9"]).is_ok());
        for refused in [
            vec!["elite.source=population"],
            vec!["policy=tilt-ce"],
            vec!["policy=table-ce", "elite.source=archive", "elite.threshold=0.9"],
            vec!["policy=table-ce", "elite.source=population", "elite.choice=random"],
            vec!["policy=table-ce", "elite.source=population", "elite.held_out=0.2"],
        ] {
            assert!(resolve(&refused).unwrap_err().hint_text().is_some(), "{refused:?}");
        }
    }

    #[test]
    fn what_was_called_otherwise_has_its_new_name_in_the_hint() {
        for (old, new) in [("samples=9", "candidates"), ("parent_power=1.0", "parents.power"), ("novelty=true", "novelty.enabled")] {
            let error = resolve(&[old]).unwrap_err();
            assert!(error.to_string().contains(old.split('=').next().unwrap()) && error.hint_text().unwrap().contains(new), "{error}");
        }
    }

    #[test]
    fn what_only_a_run_reads_is_refused_and_said_to_be_a_runs() {
        for of_runs in [
            "tune.gate=rollback",
            "tune.data=random-subset",
            "parents.pool=3",
            "novelty.threshold=0.9",
            "llm.max_context=64",
            "llm.card_dtype=f32",
            "delta.mask=patch",
            "proxy.lr=0.1",
        ] {
            let error = resolve(&[of_runs]).unwrap_err();
            let (key, _) = of_runs.split_once('=').unwrap();
            assert!(error.to_string().contains(key) && error.hint_text().unwrap().contains("a run has this setting"), "{error}");
        }
    }
}
