//! The study file: which models, arms and seeds, and the settings that they change.
//!
//! ```toml
//! kind = "audit"                    # or "run": real networks on real images
//! cycles = 22
//! candidates = 50
//! seeds = [0, 1, 2]                 # or { first = 0, count = 20 }
//! workers = 1                       # runs at the same time
//! retrain = 0                       # of real runs: seeds with which the best network of each is trained again and tested
//!
//! [settings]                        # of every run, as for `run --set` and `audit --set`
//! threads = 2
//!
//! [models.smollm2-135m]             # what a model changes
//! llm.model = "smollm2-135m-instruct"
//! seeds = [0]                       # fewer than the study's, where a model is slow
//!
//! [arms.llm]                        # what an arm changes: nothing
//! [arms.random]
//! policy = "random"
//! ```
//!
//! An arm without an LLM has no use for a model: it is run once for all of them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::job::Job;
use super::kinds::resolve;
use crate::base::error::{Error, Result};
use crate::base::files::read_text;
use crate::base::range::{MOST_WORKERS, whole};
use crate::config::layers::nearest_key;
use crate::proxy::settings::On;
use crate::record::Kind;

/// The folder of the arms without an LLM.
pub const NO_MODEL: &str = "no-llm";
/// Far more than tell two arms apart.
const MOST_SEEDS: usize = 10_000;
/// In a model's table.
const OWN_SEEDS: &str = "seeds";

/// A study as its file has it: what is run, with which models, arms and seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// One line for the report; the file's name by default.
    #[serde(default)]
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) cycles: u64,
    /// Asked of the policy in a cycle.
    pub(crate) candidates: u64,
    pub(crate) seeds: Seeds,
    /// Runs at the same time.
    #[serde(default = "one")]
    pub workers: usize,
    /// Of real runs: the best network of each is trained so many times again, on other images, and tested (see [`super::retrain`]).
    #[serde(default)]
    pub(crate) retrain: u64,
    /// Built-in settings below all others; for `run` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preset: Option<String>,
    #[serde(default)]
    pub(crate) settings: Table,
    /// By name, a table of settings each.
    #[serde(default)]
    pub(crate) models: Table,
    pub(crate) arms: Table,
    /// What does the trainings of all runs, in place of what the settings say: no part of the file, since it changes none of them.
    #[serde(skip)]
    pub on: Option<On>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Seeds {
    List(Vec<u64>),
    Range(SeedRange),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeedRange {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Seeds {
    fn all(&self) -> Vec<u64> {
        match self {
            Self::List(seeds) => seeds.clone(),
            Self::Range(range) => (range.first..range.first.saturating_add(range.count)).take(MOST_SEEDS + 1).collect(),
        }
    }
}

fn one() -> usize {
    1
}

/// A file that is no study, with its line and the nearest key that there is.
pub(super) fn misread(text: &str, origin: &str, error: &toml::de::Error) -> Error {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let place = error.span().map_or_else(String::new, |span| format!(", line {}", line(span.start)));
    let wrong = Error::input(format!("{origin}{place}: {}", error.message()));
    match nearest_key(error.message()) {
        Some(key) => wrong.hint(format!("did you mean '{key}'?")),
        None => wrong.hint("scripts/studies has studies to start from"),
    }
}

impl Study {
    /// # Errors
    /// Says what is wrong with the file: a typo with the nearest right key, a name that is no folder, a setting without meaning.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path, "read the study")?;
        let mut study = Self::parse(&text, &path.display().to_string())?;
        if study.title.is_empty() {
            study.title = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        }
        Ok(study)
    }

    /// # Errors
    /// See [`Study::read`].
    pub(crate) fn parse(text: &str, origin: &str) -> Result<Self> {
        let study: Self = toml::from_str(text).map_err(|e| misread(text, origin, &e))?;
        study.check(origin)?;
        Ok(study)
    }

    fn check(&self, origin: &str) -> Result<()> {
        let wrong = |why: String| Err(Error::input(format!("{origin}: {why}")));
        whole("retrain", self.retrain, 0..=1000)?;
        if self.retrain > 0 && self.kind == Kind::Audit {
            return wrong("retrain: an audit trains no networks, and queries what is known of them".into());
        }
        let seeds = self.seeds.all();
        if seeds.is_empty() || self.workers == 0 || self.arms.is_empty() {
            return wrong("a study has at least one seed, one worker and one arm".into());
        }
        if seeds.len() > MOST_SEEDS || self.workers > MOST_WORKERS {
            return wrong(format!("a study has at most {MOST_SEEDS} seeds and {MOST_WORKERS} workers"));
        }
        if let Some(twice) = (1..seeds.len()).find(|&i| seeds[..i].contains(&seeds[i])) {
            return wrong(format!("seed {} is there twice", seeds[twice]));
        }
        for (what, table) in [("model", &self.models), ("arm", &self.arms)] {
            for (name, value) in table {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) || name == NO_MODEL {
                    return wrong(format!(
                        "{what} '{name}': a name is a folder's, of letters, digits, '-', '_' and '.', and not '{NO_MODEL}'"
                    ));
                }
                let Value::Table(settings) = value else {
                    return wrong(format!("{what} {name}: its settings are a table, as [{what}s.{name}]"));
                };
                if settings.contains_key("seed") || (what == "arm" && settings.contains_key(OWN_SEEDS)) {
                    return wrong(format!("{what} {name}: the seeds are those of the study"));
                }
            }
        }
        for name in self.models.keys() {
            match self.seeds_of(name) {
                Ok(own) if own.iter().all(|seed| seeds.contains(seed)) => {}
                Ok(_) => return wrong(format!("model {name}: its seeds are some of the study's")),
                Err(why) => return wrong(format!("model {name}: seeds: {why}")),
            }
        }
        if self.settings.contains_key("seed") {
            return wrong("settings: the seeds are those of the study".into());
        }
        Ok(())
    }

    /// All runs, seed by seed, so that a study that is half done has each arm about as often.
    ///
    /// # Errors
    /// Settings that a run refuses, with the model and the arm; an arm with an LLM where no model is named.
    pub(crate) fn jobs(&self) -> Result<Vec<Job>> {
        let mut jobs: Vec<Job> = Vec::new();
        for seed in self.seeds.all() {
            for (arm, value) in &self.arms {
                let own = value.as_table().expect("it was checked");
                let plain = self.job(NO_MODEL, &Table::new(), arm, own, seed)?;
                if !plain.settings.has_llm() {
                    jobs.push(plain);
                    continue;
                }
                if self.models.is_empty() {
                    return Err(Error::input(format!("arm {arm} has an LLM, but the study names no model"))
                        .hint("add a table as [models.smollm2-135m] with llm.model = \"smollm2-135m-instruct\""));
                }
                for (model, value) in &self.models {
                    if self.seeds_of(model).expect("they were checked").contains(&seed) {
                        let mut of_model = value.as_table().expect("it was checked").clone();
                        of_model.remove(OWN_SEEDS);
                        jobs.push(self.job(model, &of_model, arm, own, seed)?);
                    }
                }
            }
        }
        Ok(jobs)
    }

    /// The threads that the largest of its runs computes with.
    ///
    /// # Errors
    /// Settings of a run are wrong.
    pub fn threads(&self) -> Result<usize> {
        Ok(self.jobs()?.iter().map(|job| job.settings.threads()).max().unwrap_or(1))
    }

    /// The study's seeds, each once, in the order of the file; a model may have fewer.
    pub fn all_seeds(&self) -> Vec<u64> {
        self.seeds.all()
    }

    /// Those of a model: the study's, or fewer of its own.
    fn seeds_of(&self, model: &str) -> std::result::Result<Vec<u64>, toml::de::Error> {
        match self.models.get(model).and_then(|settings| settings.get(OWN_SEEDS)) {
            None => Ok(self.seeds.all()),
            Some(own) => own.clone().try_into().map(|own: Seeds| own.all()),
        }
    }

    fn job(&self, model: &str, of_model: &Table, arm: &str, of_arm: &Table, seed: u64) -> Result<Job> {
        let mut assignments = vec![format!("cycles={}", self.cycles), format!("candidates={}", self.candidates)];
        for table in [&self.settings, of_model, of_arm] {
            flatten("", table, &mut assignments);
        }
        assignments.push(format!("seed={seed}"));
        if let Some(on) = self.on {
            if self.kind == Kind::Audit {
                return Err(Error::input(format!("--on {}: an audit trains no networks", on.name())).hint("leave --on out"));
            }
            assignments.push(format!("proxy.on={}", on.name()));
        }
        let settings = resolve(self.kind, self.preset.as_deref(), &assignments).map_err(|e| {
            let error = Error::input(format!("model {model}, arm {arm}: {e}"));
            match e.hint_text() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        Ok(Job { model: model.into(), arm: arm.into(), seed, settings, preset: self.preset.clone(), assignments, on: self.on })
    }

    /// As it is kept with the runs.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string(self).expect("a study is plain TOML")
    }

    /// What differs from `before` and would make other runs, as `key: old -> new`.
    pub(crate) fn changes(&self, before: &Self) -> Vec<String> {
        let flat = |study: &Self| {
            let mut assignments = Vec::new();
            let mut table: Table = study.to_toml().parse().expect("a study is plain TOML");
            for free in ["title", "workers", "retrain"] {
                table.remove(free);
            }
            // An arm without changes is an arm too.
            for part in ["models", "arms"] {
                let names = table.get(part).and_then(Value::as_table).map_or_else(Vec::new, |t| t.keys().cloned().collect::<Vec<_>>());
                table.insert(format!("{part} are"), names.join(" ").into());
            }
            flatten("", &table, &mut assignments);
            assignments
        };
        let (old, new) = (flat(before), flat(self));
        let key = |assignment: &str| assignment.split_once('=').map_or_else(String::new, |(key, _)| key.to_owned());
        let value = |of: &[String], wanted: &str| {
            let found = of.iter().find(|a| key(a) == wanted);
            found.and_then(|a| a.split_once('=')).map_or_else(|| "nothing".to_owned(), |(_, value)| value.to_owned())
        };
        let mut keys: Vec<String> = old.iter().chain(&new).map(|a| key(a)).collect();
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        let changed = keys.into_iter().map(|key| (value(&old, &key), value(&new, &key), key)).filter(|(old, new, _)| old != new);
        changed.map(|(old, new, key)| format!("{key}: {old} -> {new}")).collect()
    }
}

/// `a.b=value` for each value, as `--set` takes it.
pub(super) fn flatten(prefix: &str, table: &Table, into: &mut Vec<String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, into),
            value => into.push(format!("{key}={value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        kind = "audit"
        cycles = 3
        candidates = 10
        seeds = { first = 4, count = 2 }
        settings.audit_every = 0
        [models.one]
        llm.model = "a.gguf"
        [models.two]
        llm.model = "b.gguf"
        [arms.llm]
        [arms.random]
        policy = "random"
        [arms.evolution]
        policy = "evolution"
        cycles = 5
    "#;

    #[test]
    fn an_arm_without_an_llm_is_run_once_for_all_models() {
        let jobs = Study::parse(FILE, "file").unwrap().jobs().unwrap();
        let names: Vec<String> = jobs.iter().map(Job::name).collect();
        assert_eq!(names[..4], ["one/llm/seed-4", "two/llm/seed-4", "no-llm/random/seed-4", "no-llm/evolution/seed-4"]);
        assert_eq!(jobs.len(), 8);
        assert_eq!(jobs[3].settings.cycles(), 5);
        for setting in ["candidates=10", "audit_every=0", "seed=4", "llm.model=\"b.gguf\""] {
            assert!(jobs[1].assignments.iter().any(|own| own == setting), "{setting}: {:?}", jobs[1].assignments);
        }
    }

    #[test]
    fn a_slow_model_may_have_fewer_seeds() {
        let jobs = Study::parse(&FILE.replace("[models.two]", "[models.two]\nseeds = [5]"), "file").unwrap().jobs().unwrap();
        let names: Vec<String> = jobs.iter().map(Job::name).collect();
        let expected = ["one/llm/seed-4", "no-llm/random/seed-4", "no-llm/evolution/seed-4", "one/llm/seed-5", "two/llm/seed-5"];
        assert_eq!(names[..5], expected);
        assert_eq!(jobs.len(), 7);
    }

    #[test]
    fn changes_are_named_and_how_many_run_at_once_is_none() {
        let before = Study::parse(FILE, "file").unwrap();
        let now = Study { workers: 2, title: "other".into(), ..before.clone() };
        assert!(now.changes(&before).is_empty());
        let text = FILE.replace("cycles = 5", "cycles = 6").replace("[arms.llm]", "[arms.llm]\n[arms.frozen]");
        let changes = Study::parse(&text, "file").unwrap().changes(&before);
        assert_eq!(changes, ["arms.evolution.cycles: 5 -> 6", "arms are: \"llm random evolution\" -> \"llm frozen random evolution\""]);
        assert_eq!(Study::parse(&before.to_toml(), "again").unwrap(), before);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fails = |from: &str, to: &str| Study::parse(&FILE.replace(from, to), "file").and_then(|s| s.jobs()).unwrap_err();
        let typo = fails("candidates = 10", "candidate = 10");
        assert!(typo.to_string().contains("line 4") && typo.hint_text().unwrap().contains("candidates"), "{typo}");
        let setting = fails("policy = \"evolution\"", "polcy = \"evolution\"");
        assert!(setting.to_string().contains("arm evolution") && setting.hint_text().unwrap().contains("policy"), "{setting}");
        for (from, to, word) in [
            ("{ first = 4, count = 2 }", "[]", "at least one seed"),
            ("{ first = 4, count = 2 }", "[1, 1]", "twice"),
            ("[models.one]", "[models.\"../one\"]", "folder"),
            ("[models.one]", "[models.no-llm]", "folder"),
            ("cycles = 5", "seed = 5", "seeds are those of the study"),
            ("cycles = 5", "seeds = [4]", "seeds are those of the study"),
            ("count = 2", "count = 9223372036854775807", "at most 10000 seeds"),
            ("kind = \"audit\"", "kind = \"audit\"\nworkers = 9223372036854775807", "1024 workers"),
            ("[models.two]", "[models.two]\nseeds = { first = 4, count = 9223372036854775807 }", "some of the study's"),
            ("[models.two]", "[models.two]\nseeds = [6]", "some of the study's"),
            ("[models.two]", "[models.two]\nseeds = 4", "model two: seeds"),
            ("kind = \"audit\"", "kind = \"audit\"\npreset = \"quick\"", "preset"),
            ("kind = \"audit\"", "kind = \"audits\"", "audits"),
        ] {
            assert!(fails(from, to).to_string().contains(word), "{to}: {}", fails(from, to));
        }
    }
}
