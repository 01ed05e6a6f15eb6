//! The settings of a run: small nested tables, each documented once, the defaults inline.
//!
//! A file is TOML. Presets are such files built into the program; `--set key=value` overrides one key. What results is
//! stored with the run as `run.toml`, so nothing about a run depends on a default that may change later.

mod delta;
mod elite;
mod layers;
mod llm;
mod lora;
mod novelty;
mod parents;
mod policy;
mod proxy;
mod retired;
mod screen;
mod tune;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::delta::{DeltaConfig, Format, Masking};
pub use self::elite::{EliteConfig, EliteSource};
pub(crate) use self::layers::{merge, nearest_key, override_table};
pub use self::llm::{CardDtype, Dtype, LlmConfig, TuningDtype};
pub use self::lora::LoraConfig;
pub use self::novelty::NoveltyConfig;
pub use self::parents::ParentsConfig;
pub use self::policy::Policy;
pub use self::proxy::{Optimizer, ProxyConfig};
pub use self::retired::retired_key;
pub use self::screen::ScreenConfig;
pub use self::tune::{Gate, Moments, Objective, TuneConfig, TuneData};
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

const PRESETS: [(&str, &str); 2] = [("quick", include_str!("../presets/quick.toml")), ("cifar10", include_str!("../presets/cifar10.toml"))];

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
        Self::of(&table)
    }

    /// Reads the settings stored with a run; keys that an earlier version had are left out.
    ///
    /// # Errors
    /// See [`RunConfig::resolve`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let config = parse(&retired::without(text), origin)?;
        config.check()?;
        Ok(config)
    }

    /// The same with `key=value` overrides.
    ///
    /// # Errors
    /// See [`RunConfig::resolve`].
    pub fn overridden(&self, overrides: &[String]) -> Result<Self> {
        let mut table = self.to_toml().parse().map_err(|e| Error::machine("settings are plain TOML").caused_by(e))?;
        for assignment in overrides {
            merge(&mut table, override_table(assignment)?);
        }
        Self::of(&table)
    }

    fn of(table: &toml::Table) -> Result<Self> {
        let text = toml::to_string(table).map_err(|e| Error::input("the settings cannot be combined").caused_by(e))?;
        let config = parse(&text, "the settings")?;
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
        if self.screen.trace_steps == 0 || self.screen.trace_cpu_seconds == 0 {
            return wrong("screen.trace_steps, screen.trace_cpu_seconds", "at least 1");
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
        if let Some(hint) = retired::hint(message) {
            return error.hint(hint);
        }
        match nearest_key(message) {
            Some(key) => error.hint(format!("did you mean '{key}'?")),
            None => error,
        }
    })
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
    fn a_limit_by_the_clock_is_refused_with_what_took_its_place_and_left_out_of_older_runs() {
        for (key, new) in [("screen.trace_seconds", "screen.trace_steps"), ("proxy.deadline_seconds", "proxy.max_training_macs")] {
            let error = RunConfig::resolve(None, None, &[format!("{key}=5")]).unwrap_err();
            assert!(error.hint_text().unwrap().contains(new), "{error}");
            let (table, name) = key.split_once('.').unwrap();
            let older = RunConfig::default().to_toml().replace(&format!("[{table}]\n"), &format!("[{table}]\n{name} = 5.0\n"));
            assert_eq!(retired_key(&older), Some(key));
            assert_eq!(RunConfig::from_toml(&older, "run.toml").unwrap(), RunConfig::default());
        }
        assert_eq!(retired_key(&RunConfig::default().to_toml()), None);
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
