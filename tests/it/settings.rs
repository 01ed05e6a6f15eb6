//! Settings check themselves: whatever is written in a file, it is refused with its key or comes back as it was.

use std::path::Path;

use eliteloop::audit::settings::AuditConfig;
use eliteloop::base::error::{Error, Result};
use eliteloop::config::{Reference, RunConfig, departures};
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::record::{Store, folder};
use proptest::prelude::*;
use toml::{Table, Value};

use crate::program::{fail, program, run, stderr, succeed};

/// A kind of settings: how its text is read and written again.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    again: fn(&str) -> Result<String>,
    /// As `--config` reads it.
    of_file: fn(&Path) -> Result<String>,
    reference: fn() -> Reference,
    defaults: fn() -> String,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "run",
        again: |text| Ok(RunConfig::from_toml(text, "file")?.to_toml()),
        of_file: |path| Ok(RunConfig::resolve(None, Some(path), &[])?.to_toml()),
        reference: RunConfig::reference,
        defaults: || RunConfig::default().to_toml(),
    },
    Kind {
        name: "audit",
        again: |text| Ok(AuditConfig::from_toml(text, "file")?.to_toml()),
        of_file: |path| Ok(AuditConfig::resolve(Some(path), &[])?.to_toml()),
        reference: AuditConfig::reference,
        defaults: || AuditConfig::default().to_toml(),
    },
];

impl Kind {
    /// Reads one setting over the defaults, beside no adapter, so that `[lora]` counts too.
    fn read(self, key: &str, value: Value) -> Result<String> {
        (self.again)(&text(&[(key, value), ("llm.adapter", Value::from("none"))]))
    }

    /// Every key that there is, as the code itself tells of one that there is not.
    fn keys(self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut tables = vec![String::new()];
        while let Some(table) = tables.pop() {
            let message = self.read(&format!("{table}nonsense"), Value::from(0)).unwrap_err().to_string();
            let Some((_, known)) = message.split_once("unknown field `nonsense`, expected ") else {
                keys.push(table.trim_end_matches('.').to_owned());
                continue;
            };
            tables.extend(known.split('`').skip(1).step_by(2).map(|key| format!("{table}{key}.")));
        }
        assert!(keys.len() > 25, "{}: {keys:?}", self.name);
        keys
    }

    fn takes(self, key: &str, value: Value) -> bool {
        self.read(key, value).err().is_none_or(|e| !e.to_string().contains("invalid type"))
    }

    /// The error of a setting that must not pass.
    fn refuses(self, key: &str, value: Value) -> Error {
        let shown = value.to_string();
        let error = self.read(key, value).err().unwrap_or_else(|| panic!("{}: {key} = {shown} passes", self.name));
        assert!(error.exit_code() == 2 && error.to_string().contains(key), "{}: {key} = {shown}: {error}", self.name);
        error
    }
}

/// Settings as a file, of which the first of a key counts.
fn text(settings: &[(&str, Value)]) -> String {
    let mut table = Table::new();
    for (key, value) in settings {
        let mut inner = &mut table;
        let (above, last) = key.rsplit_once('.').map_or((None, *key), |(above, last)| (Some(above), last));
        for part in above.into_iter().flat_map(|above| above.split('.')) {
            inner = inner.entry(part).or_insert_with(|| Value::Table(Table::new())).as_table_mut().unwrap_or_else(|| panic!("{key}"));
        }
        inner.entry(last).or_insert_with(|| value.clone());
    }
    toml::to_string(&table).unwrap()
}

fn resolve(settings: &[&str]) -> Result<RunConfig> {
    RunConfig::resolve(None, None, &settings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
}

/// Any value that TOML has.
fn any_value() -> impl Strategy<Value = Value> {
    let text = proptest::collection::vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect::<String>());
    let plain = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..40).prop_map(Value::from),
        Just(Value::from(i64::MAX)),
        proptest::num::f64::ANY.prop_map(Value::from),
        (-1.5..3.0).prop_map(Value::from),
        text.prop_map(Value::from),
        proptest::sample::select(vec!["none", "q_proj", "cpu", "cuda:7", "off", "full", "random", "archive"]).prop_map(Value::from),
        Just(Value::Datetime("1979-05-27T07:32:00Z".parse().unwrap())),
    ];
    plain.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            ("[a-z]{1,6}", inner).prop_map(|(key, value)| Value::Table(Table::from_iter([(key, value)]))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_value_of_any_setting_is_refused_with_its_key_or_comes_back(
        kind in proptest::sample::select(KINDS.to_vec()),
        at in any::<proptest::sample::Index>(),
        value in any_value(),
    ) {
        let keys = kind.keys();
        let key = at.get(&keys);
        match kind.read(key, value) {
            Ok(stored) => prop_assert_eq!((kind.again)(&stored).unwrap(), stored),
            Err(error) => prop_assert!(error.exit_code() == 2 && error.to_string().contains(key.as_str()), "{}: {}", key, error),
        }
    }
}

#[test]
fn every_number_has_a_range_and_is_refused_outside_it_in_words() {
    for kind in KINDS {
        let (mut reals, mut wholes) = (0, 0);
        for key in kind.keys() {
            let key = key.as_str();
            if kind.takes(key, Value::from(0.5)) {
                reals += 1;
                for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e300, 1e300] {
                    let error = kind.refuses(key, Value::from(value)).to_string();
                    assert!(error.contains("a number") && error.ends_with("is wanted"), "{error}");
                }
                kind.refuses(key, Value::from(i64::MAX));
            } else if kind.takes(key, Value::from(1)) {
                wholes += 1;
                assert!(kind.refuses(key, Value::from(-1)).to_string().contains("a whole number"));
                if key != "seed" {
                    assert!(kind.refuses(key, Value::from(i64::MAX)).to_string().ends_with("is wanted"));
                }
            }
            // One more than TOML's largest, as a line of a file.
            let error = (kind.again)(&format!("{key} = 9223372036854775808\n")).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(key) && error.to_string().contains("line 1"), "{error}");
        }
        assert!(reals >= 10 && wholes >= 10, "{}: {reals} reals and {wholes} whole numbers", kind.name);
    }
}

#[test]
fn the_numbers_without_meaning_of_the_reliability_report_are_refused() {
    for (setting, range) in [
        ("candidates=9223372036854775807", "from 1 to 1000000"),
        ("novelty.hashes=9223372036854775807", "from 1 to 65536"),
        ("novelty.hashes=1000000000000", "from 1 to 65536"),
        ("novelty.shingle=9223372036854775807", "from 1 to 1000"),
        ("novelty.threshold=9", "above 0 and at most 1"),
        ("screen.trace_memory_mib=9223372036854775807", "from 1 to 1073741824"),
        ("proxy.lr=nan", "above 0"),
        ("proxy.momentum=nan", "from 0 to below 1"),
        ("proxy.label_smoothing=nan", "from 0 to below 1"),
        ("proxy.label_smoothing=5", "from 0 to below 1"),
        ("proxy.clip=nan", "from 0"),
        ("proxy.weight_decay=-1e30", "from 0"),
        ("proxy.memory_mib=0", "from 1"),
        ("proxy.seeds=9223372036854775807", "from 1 to 1000"),
        ("elite.threshold=nan", "from 0 to 1"),
        ("elite.rho=nan", "above 0 and at most 1"),
        ("threads=100000", "from 1 to 1024"),
        ("tune.lr=-1", "above 0"),
        ("seed=9223372036854775808", "too large"),
    ] {
        let error = resolve(&[setting]).unwrap_err();
        let (key, _) = setting.split_once('=').unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains(&format!("setting {key} = ")), "{error}");
        assert!(error.to_string().contains(range), "{setting}: {error}");
    }
    for lora in ["lora.alpha=nan", "lora.alpha=1e308", "lora.rank=0", "lora.rank=1000000", "lora.targets=[]"] {
        assert!(resolve(&["llm.adapter=none", lora]).unwrap_err().to_string().contains("setting lora."), "{lora}");
    }
    for targets in ["[\"q_proj\", \"q_proj\"]", "[\"q_proj\", \"lm_head\"]"] {
        let error = resolve(&["llm.adapter=none", &format!("lora.targets={targets}")]).unwrap_err().to_string();
        assert!(error.contains("lora.targets") && error.contains("gate_proj"), "{error}");
    }
}

#[test]
fn what_cannot_be_read_as_settings_ends_the_program_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    std::fs::write(&file, "# seeds\nseed = 9223372036854775808\n").unwrap();
    let (code, said) = fail(program(&["doctor", "--quick", "--config", file.to_str().unwrap()]));
    assert_eq!(code, 2);
    assert!(said.contains("s.toml, line 2 (seed = 9223372036854775808)") && said.contains("hint: ") && said.contains("2^63-1"), "{said}");
    std::fs::write(&file, b"seed = 1 # \xff\n").unwrap();
    let (code, said) = fail(program(&["doctor", "--quick", "--config", file.to_str().unwrap()]));
    assert!(code == 2 && said.contains(":1: not UTF-8"), "{said}");
    let (code, said) =
        fail(run(&folder.path().join("out"), &["policy=random", "proxy.dataset=synthetic", "parents.start=[\"/dev/zero\"]"]));
    assert!(code == 2 && said.contains("/dev/zero: it is not an ordinary file"), "{said}");
    std::fs::write(&file, "[elite]\nrho = \"much\"\n").unwrap();
    let (code, said) = fail(program(&["doctor", "--quick", "--config", file.to_str().unwrap()]));
    assert!(code == 2 && said.contains("s.toml, elite.rho: ") && said.contains("expected a number"), "{said}");
}

/// ../shared/cases/reports/lora-settings-ignored: four runs whose `[lora]` differed were the same run, and `compare` made them arms.
#[test]
fn lora_settings_ignored() {
    let folder = tempfile::tempdir().unwrap();
    for (key, value) in [("rank", "4"), ("alpha", "8.0"), ("dropout", "0.9"), ("targets", "[\"q_proj\"]")] {
        let setting = format!("lora.{key}={value}");
        let out = folder.path().join(key);
        let (code, said) = fail(run(&out, &["proxy.dataset=synthetic", &setting]));
        assert!(code == 2 && said.contains(&format!("setting lora.{key}: llm.adapter = 'warmup'")), "{said}");
        assert!(said.contains("hint: ") && said.contains("llm.adapter=none") && !out.exists(), "{said}");
        // Of a new adapter it counts, and is what is stored.
        let stored = resolve(&["llm.adapter=none", &setting]).unwrap().to_toml();
        assert_ne!(stored, resolve(&["llm.adapter=none"]).unwrap().to_toml());
        assert!(stored.contains(&format!("{key} = {value}")), "{stored}");
        let audit = AuditConfig::resolve(None, &["llm.adapter=some/folder".into(), setting]).unwrap_err();
        assert!(audit.to_string().contains(&format!("setting lora.{key}: llm.adapter = 'some/folder'")), "{audit}");
    }
}

#[test]
fn no_lora_is_stored_beside_an_adapter_and_one_that_an_older_release_stored_there_is_left_out() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.lora, None);
    assert!(!config.to_toml().contains("[lora]"));
    let older = format!("{}\n[lora]\nrank = 16\nalpha = 32.0\n", config.to_toml());
    assert_eq!(RunConfig::from_toml(&older, "run.toml").unwrap(), config);
    assert_eq!(resolve(&["llm.adapter=none"]).unwrap().lora, Some(LoraConfig::default()));
    let audit = |settings: &[&str]| AuditConfig::resolve(None, &settings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
    assert_eq!((audit(&[]).lora, audit(&["llm.adapter=folder"]).lora), (Some(LoraConfig::default()), None));
    let settled = audit(&["llm.adapter=folder"]);
    assert_eq!(AuditConfig::from_toml(&settled.to_toml(), "audit.toml").unwrap(), settled);
}

#[test]
fn an_update_ends_by_a_table_of_conditions_and_what_contradicts_itself_is_refused() {
    for (given, stored) in [
        ("tune.until={ share = 0.9 }", "share = 0.9"),
        ("tune.until.kl=0.2", "kl = 0.2"),
        ("tune.until.steps=30", "steps = 30"),
        ("tune.optimizer=natural", "optimizer = \"natural\""),
        ("tune.from=prior", "from = \"prior\""),
        ("elite.weights=entropic", "weights = \"entropic\""),
    ] {
        let run = resolve(&[given]).unwrap();
        assert!(run.to_toml().contains(stored), "{given}");
        assert_eq!(RunConfig::from_toml(&run.to_toml(), "run.toml").unwrap(), run);
        let audit = AuditConfig::resolve(None, &[given.into()]).unwrap();
        assert!(audit.to_toml().contains(stored), "{given}");
        assert_eq!(AuditConfig::from_toml(&audit.to_toml(), "audit.toml").unwrap(), audit);
    }
    let typo = resolve(&["tune.until.shares=0.9"]).unwrap_err();
    assert_eq!(typo.hint_text(), Some("did you mean 'share'?"));
    for contradiction in [
        &["tune.from=prior", "tune.until.kl=0.1"][..],
        &["elite.weights=rank", "tune.data=random-subset"],
        &["elite.weights=entropic", "elite.threshold=0.5"],
        &["elite.weights=entropic", "elite.source=cumulative"],
    ] {
        let error = resolve(contradiction).unwrap_err();
        assert!(error.exit_code() == 2 && error.hint_text().is_some(), "{contradiction:?}: {error}");
    }
    for contradiction in [
        &["policy=random", "elite.weights=rank"][..],
        &["elite.weights=entropic", "elite.source=archive"],
        &["policy=uniform"],
        &["policy=local-search", "format=delta"],
    ] {
        let all: Vec<String> = contradiction.iter().map(|s| (*s).to_owned()).collect();
        let error = AuditConfig::resolve(None, &all).unwrap_err();
        assert!(error.exit_code() == 2 && error.hint_text().is_some(), "{contradiction:?}: {error}");
    }
}

#[test]
fn what_makes_an_update_other_than_the_cross_entropy_methods_is_named() {
    let named = |settings: &[&str]| {
        let config = resolve(settings).unwrap();
        departures(config.tune.data, config.elite.weights, &config.tune.tuning).join("; ")
    };
    assert_eq!(named(&["tune.until.share=0.9", "tune.backtrack=true", "tune.optimizer=sgd"]), "");
    for (setting, word) in [
        ("elite.weights=entropic", "REPS"),
        ("elite.weights=rank", "CMA-ES"),
        ("tune.data=archive", "archive"),
        ("tune.data=replay", "earlier"),
        ("tune.data=all-valid", "all valid"),
        ("tune.from=prior", "prior"),
        ("tune.until.kl=0.2", "trust region"),
        ("tune.objective=token-mean", "tokens"),
        ("tune.smoothing=0.5", "smoothed"),
    ] {
        assert!(named(&[setting]).contains(word), "{setting}: {}", named(&[setting]));
    }
}

#[test]
fn the_reference_has_every_key_with_its_doc_its_default_and_its_range() {
    for kind in KINDS {
        let reference = (kind.reference)();
        let mut told: Vec<&str> = reference.settings.iter().map(|setting| setting.key.as_str()).collect();
        told.sort_unstable();
        // Either a word or a table.
        let mut keys = kind.keys();
        keys.iter_mut().filter(|key| key.starts_with("proxy.halving.")).for_each(|key| *key = "proxy.halving".into());
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(told, keys, "{}", kind.name);
        let defaults: Table = (kind.defaults)().parse().unwrap();
        for setting in &reference.settings {
            let key = &setting.key;
            assert!(setting.doc.len() > 10 && !setting.doc.contains("[`"), "{key}: {}", setting.doc);
            let default = key.split('.').try_fold(&Value::Table(defaults.clone()), |at, part| at.get(part)).map(ToString::to_string);
            assert!(default == setting.default || key.starts_with("lora."), "{key}: {:?}, and {default:?} is", setting.default);
            // What the type says: numbers have ranges, words have meanings.
            let is_number = setting.kind.ends_with("number");
            assert!(!is_number || setting.range.is_some() || kind.read(key, Value::from(i64::MAX)).is_ok(), "{key} has no range");
            for (word, doc) in &setting.values {
                assert!(!doc.is_empty(), "{key} = {word} has no doc");
            }
            let is_all = |range: &&String| range.ends_with(&i64::MAX.to_string());
            if let Some(range) = setting.range.as_ref().filter(|range| is_number && !is_all(range)) {
                let refused = kind.refuses(key, if setting.kind == "a number" { Value::from(f64::NAN) } else { Value::from(i64::MAX) });
                assert!(refused.to_string().contains(range.as_str()), "{key}: {range}: {refused}");
            }
        }
    }
}

#[test]
fn the_template_changes_nothing_and_is_right_when_its_keys_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let read = |kind: Kind, text: &str| {
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        (kind.of_file)(&path).unwrap_or_else(|e| panic!("{}: {e}\n{text}", kind.name))
    };
    for kind in KINDS {
        let template = (kind.reference)().template();
        assert_eq!(read(kind, &template), read(kind, ""), "{}", kind.name);
        // Every key but those that have no default, and those of a new adapter.
        let taken =
            template.lines().filter_map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ') && !key.ends_with("= ...")));
        let taken: Vec<&str> = taken.filter(|line| !line.starts_with("lora.")).collect();
        assert!(taken.len() > 25, "{taken:?}");
        assert_eq!(read(kind, &taken.join("\n")), read(kind, ""), "{}", kind.name);
    }
}

#[test]
fn the_verb_tells_of_a_setting_and_names_the_one_that_was_meant() {
    let verb = |words: &[&str]| {
        let mut command = program(&["settings"]);
        command.args(words);
        command
    };
    let said = succeed(verb(&["elite.rho"]));
    assert!(said.starts_with("elite.rho = 0.25\n") && said.contains("A number above 0 and at most 1."), "{said}");
    let said = succeed(verb(&["tune.from"]));
    assert!(said.contains("- \"prior\": ") && !said.contains("[`"), "{said}");
    assert!(succeed(verb(&["tune"])).lines().filter(|line| line.starts_with("tune.")).count() > 15);
    assert!(succeed(verb(&["--audit", "tilt_kl"])).starts_with("tilt_kl = 0.2\n"));
    let (code, said) = fail(verb(&["rho"]));
    assert!(code == 2 && said.contains("did you mean 'elite.rho'?"), "{said}");
    let schema: serde_json::Value = serde_json::from_str(&succeed(verb(&["--schema"]))).unwrap();
    assert!(schema["properties"]["elite"].is_object() && schema["additionalProperties"] == false, "{schema}");
    let template = succeed(verb(&["--template"]));
    assert!(template.contains("\n# ---- elite\n") && template.contains("\n#elite.rho = 0.25\n"), "{template}");
}

#[test]
fn shells_complete_every_verb_and_each_has_a_page_of_the_manual() {
    let help = succeed(program(&["--help"]));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let is_begun = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let verbs: Vec<&str> =
        listed.filter(is_begun).filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").collect();
    assert!(verbs.len() > 15, "{help}");
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&["completions", "--man"]);
    command.arg(folder.path());
    succeed(command);
    let completions = succeed(program(&["completions", "bash"]));
    for verb in verbs {
        assert!(completions.contains(verb), "{verb}");
        let page = std::fs::read_to_string(folder.path().join(format!("eliteloop-{verb}.1"))).unwrap();
        assert!(page.starts_with(".ie") || page.contains(".TH"), "{page:.80}");
    }
    assert!(!folder.path().join("eliteloop-sandbox.1").exists());
}

#[test]
fn where_models_and_data_lie_is_told_with_what_decided_it() {
    let base = tempfile::tempdir().unwrap();
    let told = |variables: &[(&str, &Path)]| -> serde_json::Value {
        let mut command = program(&["dirs", "--json"]);
        command.env_remove("ELITELOOP_MODELS").env_remove("ELITELOOP_DATA").envs(variables.iter().copied());
        serde_json::from_str(&succeed(command)).unwrap()
    };
    let home = told(&[("ELITELOOP_HOME", base.path())]);
    assert_eq!(home["models"]["path"], base.path().join("models").to_str().unwrap());
    assert_eq!((&home["data"]["by"], &home["data"]["there"]), (&"ELITELOOP_HOME".into(), &false.into()));
    assert_eq!(told(&[("ELITELOOP_DATA", base.path())])["data"]["path"], base.path().to_str().unwrap());
    // A build that stands in a checkout has the checkout's.
    let own = told(&[]);
    assert_eq!(own["data"]["path"], Path::new(env!("CARGO_MANIFEST_DIR")).join("data").to_str().unwrap());
    let words = succeed(program(&["dirs"]));
    assert!(words.contains("ELITELOOP_MODELS names another"), "{words}");
}

#[test]
fn a_first_run_is_written_with_the_numbers_of_the_data_and_the_machine_and_runs() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let (networks, file) = (base.path().join("my networks"), base.path().join("first run.toml"));
    std::fs::create_dir(&networks).unwrap();
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/small.py");
    for name in ["a.py", "b.py"] {
        std::fs::copy(&small, networks.join(name)).unwrap();
    }
    let init = |more: &[&str]| {
        let mut command = program(&["init", "--data", "synthetic", "--hours", "0.01", "--start"]);
        command.arg(&networks).arg("--out").arg(&file).args(more);
        command
    };
    let said = stderr(&init(&[]).output().unwrap());
    let next = format!("next: eliteloop run --config '{}' --hours 0.01", file.display());
    assert!(said.contains("start/a: ") && said.contains("images/s a worker") && said.contains(&next), "{said}");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("\nproxy.dataset = \"synthetic\"\n") && written.contains("\n#elite.rho = 0.25\n"), "{written}");
    let (code, said) = fail(init(&[]));
    assert!(code == 2 && said.contains("is there already"), "{said}");
    succeed(init(&["--force"]));
    let out = base.path().join("run");
    let mut command = program(&["run", "--config"]);
    command.arg(&file).arg("--out").arg(&out);
    for setting in ["policy=random", "cycles=1", "candidates=2", "proxy.train_images=64", "proxy.valid_images=40", "proxy.epochs=1"] {
        command.args(["--set", setting]);
    }
    succeed(command);
    let starts = Store::read(&folder::store_path(&out)).unwrap().starts().unwrap();
    assert_eq!(starts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    // What a run would refuse is refused, and a folder without a network is none to start from.
    std::fs::write(networks.join("b.py"), "class Net: pass\n").unwrap();
    let (code, said) = fail(init(&["--force"]));
    assert!(code == 2 && said.contains("start network 'b'"), "{said}");
    for name in ["a.py", "b.py"] {
        std::fs::remove_file(networks.join(name)).unwrap();
    }
    let (code, said) = fail(init(&["--force"]));
    assert!(code == 2 && said.contains("holds no .py file"), "{said}");
}
