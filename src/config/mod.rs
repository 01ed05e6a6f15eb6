//! The settings of a run: small nested tables, each documented once, the defaults inline.
//!
//! A file is TOML. Presets are such files built into the program; `--set key=value` overrides one key. What results is
//! stored with the run as `run.toml`, so nothing about a run depends on a default that may change later.

mod elite;
pub(crate) mod layers;
mod parents;
mod policy;
mod record;
pub mod reference;
mod retired;
mod update;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Table;

pub(crate) use self::elite::check_shares;
pub use self::elite::{EliteBy, EliteConfig, EliteSource, EliteWeights};
pub(crate) use self::layers::differences;
use self::layers::{Settings, given, merge, parse, read};
pub(crate) use self::parents::ParentsConfig;
pub(crate) use self::parents::check_power;
pub use self::policy::Policy;
pub(crate) use self::record::RecordConfig;
pub use self::reference::Reference;
pub(crate) use self::retired::retired_key;
pub use self::update::{Gate, TuneData, UpdateConfig, departures};
use crate::base::device::Place;
use crate::base::error::{Error, Result};
use crate::base::home;
use crate::base::range::{Check, MANY, MOST_WORKERS, check_seed, refused, whole};
use crate::decoder::settings::llm::LlmConfig;
use crate::decoder::settings::lora::LoraConfig;
use crate::decoder::settings::tune::Until;
use crate::delta::settings::DeltaConfig;
use crate::gates::settings::ScreenConfig;
use crate::proxy::settings::{On, ProxyConfig};
use crate::tracer::settings::NoveltyConfig;

/// All settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Every random stream of the run is derived from it.
    pub seed: u64,
    /// Cycles in all, counted from 1; the start networks are trained before the first.
    pub cycles: u64,
    /// N: samples asked of the policy in a cycle, invalid ones counted.
    pub candidates: u64,
    /// Threads for the LLM; proxies use `proxy.workers` processes of one thread each.
    pub threads: usize,
    /// What proposes: the tuned LLM or one of its controls.
    #[serde(deserialize_with = "policy::of_run")]
    pub policy: Policy,
    /// Which LLM proposes, where it computes and what memory it may take.
    pub llm: LlmConfig,
    /// How changes are written and sampled.
    pub delta: DeltaConfig,
    /// Which networks are shown to the policy.
    pub parents: ParentsConfig,
    /// The limits of tracing and the budget of a network.
    pub screen: ScreenConfig,
    /// How like a known network a candidate may be.
    pub novelty: NoveltyConfig,
    /// The short trainings that give a candidate its quality.
    pub proxy: ProxyConfig,
    /// Which candidates the LLM is tuned on.
    pub elite: EliteConfig,
    /// Of a new adapter; None beside one that has all of it fixed, see `llm.adapter`.
    pub lora: Option<LoraConfig>,
    /// What the update is made of, how the LLM is tuned, and whether the update is adopted.
    pub tune: UpdateConfig,
    /// What stays on disk of the adapters.
    pub record: RecordConfig,
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
            lora: None,
            tune: UpdateConfig::default(),
            record: RecordConfig::default(),
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
        let mut table = match preset {
            None => Table::new(),
            Some(name) => {
                let (_, text) = PRESETS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                    let names: Vec<_> = PRESETS.iter().map(|(known, _)| *known).collect();
                    Error::input(format!("there is no preset '{name}'")).hint(format!("presets: {}", names.join(", ")))
                })?;
                text.parse().expect("built-in presets parse")
            }
        };
        // A preset's numbers are of its own data set.
        let own = given::<Self>(file, overrides)?;
        merge(&mut table, own.clone());
        let mut config = Self::of(&table, "the settings")?;
        config.proxy.suit(&own, &home::data())?;
        Ok(config)
    }

    /// These settings with `key=value` overrides over them.
    ///
    /// # Errors
    /// See [`RunConfig::resolve`].
    pub fn overridden(&self, overrides: &[String]) -> Result<Self> {
        let mut table = parse(&self.to_toml(), "the settings")?;
        let own = given::<Self>(None, overrides)?;
        let other_set = own.get("proxy").is_some_and(|table| table.get("dataset").is_some());
        merge(&mut table, own.clone());
        let mut config = Self::of(&table, "the settings")?;
        if other_set {
            config.proxy.suit(&own, &home::data())?;
        }
        Ok(config)
    }

    /// Reads the settings stored with a run; keys that an earlier version had are left out, and so is the `[lora]` that it stored beside
    /// an adapter and did not use.
    ///
    /// # Errors
    /// See [`RunConfig::resolve`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self> {
        let mut table = parse(text, origin)?;
        retired::remove_from(&mut table);
        let stored: Self = read(&table, origin)?;
        if stored.llm.adapter != "none" {
            table.remove("lora");
        }
        Self::of(&table, origin)
    }

    fn of(given: &Table, origin: &str) -> Result<Self> {
        let mut config: Self = read(given, origin)?;
        config.lora = LoraConfig::beside(&config.llm.adapter, config.lora.take(), given)?;
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

    /// These settings without those that change time and place only and no result: in two runs of one seed what is left makes the same rows.
    #[must_use]
    pub(crate) fn essential(&self) -> Self {
        let mut same = Self { threads: 0, record: RecordConfig::default(), ..self.clone() };
        (same.proxy.workers, same.proxy.cpu_seconds, same.proxy.memory_mib, same.proxy.card_memory_mib) = (0, 0, 0, 0);
        (same.proxy.on, same.proxy.slurm_script) = (On::Local, String::new());
        same
    }

    /// Where LLM and proxies compute; each `auto` becomes a device that is there. Gives what to tell where that is the processor.
    pub fn settle_devices(&mut self) -> Option<String> {
        let (llm, why) = self.llm.device.settle();
        // An engine trains on processors.
        let away = self.proxy.on != On::Local && self.proxy.device == Place::Auto;
        let (proxy, also) = if away { (Place::Cpu, None) } else { self.proxy.device.settle() };
        (self.llm.device, self.proxy.device) = (llm, proxy);
        why.or(also)
    }
}

impl RunConfig {
    /// What every setting of a run is.
    pub fn reference() -> Reference {
        let defaults = Self { lora: Some(LoraConfig::default()), ..Self::default() };
        let mut given = defaults.clone();
        given.elite.threshold = Some(0.5);
        given.tune.tuning.until = Until { steps: Some(1), share: Some(0.5), kl: Some(0.5) };
        Reference::of(&defaults, &given)
    }
}

impl Settings for RunConfig {
    fn instead_of(key: &str) -> Option<String> {
        retired::hint(key).map(String::from)
    }
}

impl Check for RunConfig {
    /// Every table by itself, then what spans them.
    fn check(&self) -> Result<()> {
        check_seed(self.seed)?;
        whole("cycles", self.cycles, 1..=MANY as u64)?;
        whole("candidates", self.candidates, 1..=MANY as u64)?;
        whole("threads", self.threads, 1..=MOST_WORKERS)?;
        let tables: [&dyn Check; 9] =
            [&self.llm, &self.delta, &self.parents, &self.screen, &self.novelty, &self.proxy, &self.elite, &self.tune, &self.record];
        tables.into_iter().try_for_each(Check::check)?;
        self.lora.as_ref().map_or(Ok(()), Check::check)?;
        if self.elite.weights != EliteWeights::Truncation && self.tune.data != TuneData::Elites {
            return Err(Error::input("setting elite.weights: they are of the elites, and tune.data takes something else")
                .hint("set tune.data = elites, or elite.weights = truncation"));
        }
        if self.elite.weights == EliteWeights::Entropic && self.elite.source == EliteSource::Cumulative {
            return Err(Error::input(
                "setting elite.weights = entropic: it is about the samples of one policy, and elite.source = cumulative",
            )
            .hint("set elite.source = cycle"));
        }
        if self.delta.max_tokens >= self.llm.max_context {
            let wanted = format!("less than llm.max_context = {}", self.llm.max_context);
            return Err(refused("delta.max_tokens", self.delta.max_tokens, &wanted));
        }
        Ok(())
    }
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
    fn what_does_the_trainings_is_no_part_of_what_a_run_is() {
        let of = |set: &[&str]| RunConfig::resolve(None, None, &set.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
        let away = of(&["proxy.on=slurm", "proxy.slurm_script=mine.sh"]);
        assert_eq!((away.proxy.on, away.essential()), (On::Slurm, of(&[]).essential()));
        assert_eq!(RunConfig::from_toml(&away.to_toml(), "run.toml").unwrap(), away);
    }

    #[test]
    fn values_without_meaning_are_refused() {
        for bad in ["elite.rho=0", "tune.smoothing=1.5", "cycles=0", "delta.max_tokens=100000", "lora.targets=[]"] {
            assert!(RunConfig::resolve(None, None, &[bad.into()]).is_err(), "{bad}");
        }
    }
}
