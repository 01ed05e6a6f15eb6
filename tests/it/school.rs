//! School: what runs have measured of deltas, as they are read, and an adapter that learns from it which of them help.

use std::path::Path;

use eliteloop::config::EliteBy;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::settings::llm::LlmConfig;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::delta::settings::Format;
use eliteloop::method::elite;
use eliteloop::policy::Learner;
use eliteloop::policy::learner::adapter_folder;
use eliteloop::record::deltas::{self, Cheap, MeasuredDelta};
use eliteloop::record::{Candidate, NetworkId, Store, folder};

use crate::models::smollm_file;
use crate::program::{self, TRAININGS, all_hold, fail, program, succeed};

const SETTINGS: [&str; 4] = ["proxy.epochs=2", "proxy.repeats=3", "novelty.threshold=0.999", "elite.rho=0.4"];

fn run(out: &Path, more: &[&str]) -> Store {
    succeed(program::run(out, &[&TRAININGS[..], &SETTINGS, more].concat()));
    Store::read(&folder::store_path(out)).unwrap()
}

#[test]
fn every_run_leaves_its_measured_deltas() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let (path, table) = (base.path().join("run"), base.path().join("deltas.jsonl"));
    let store = run(&path, &[]);
    succeed(program(&["school"]).arg(&path).arg("--table").arg(&table));
    let rows = deltas::read(&table).unwrap();
    let quality = store.qualities().unwrap();
    let candidates = store.candidates().unwrap();
    let trained: Vec<_> = candidates.iter().filter(|c| quality.contains_key(&c.id())).collect();
    assert!(rows.len() == trained.len() && rows.len() > 6, "{} of {}", rows.len(), trained.len());
    assert!(trained.iter().any(|c| matches!(c.parent, NetworkId::Candidate { .. })), "some have a parent that was a delta itself");
    for (row, c) in rows.iter().zip(&trained) {
        assert_eq!(row.gain(), quality[&c.id()] - quality[&c.parent]);
        assert_eq!((row.parent.as_str(), row.delta.as_str()), (store.network(&c.parent).unwrap().source.as_str(), &*c.text()));
        assert_eq!([row.family.as_str(), row.dataset.as_str()], ["small", "synthetic"]);
        assert!(row.noise.is_some_and(|noise| noise > 0.0) && row.cheap.first_epoch.is_some() && row.cheap.parameters.is_some(), "{row:?}");
    }
    // A table and a run are read alike.
    assert_eq!(deltas::read(&path).unwrap(), rows);
}

#[test]
fn common_random_numbers_are_the_same_for_all_networks_and_on_record() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run");
    let store = run(&path, &["proxy.random_numbers=common"]);
    let trainings = store.trainings().unwrap();
    for index in 0..=1 {
        let mut seeds: Vec<u64> = trainings.iter().filter(|t| t.seed_index == index).map(|t| t.seed).collect();
        assert!(seeds.len() > 4);
        seeds.dedup();
        assert_eq!(seeds.len(), 1);
    }
    assert!(all_hold(&succeed(program(&["verify"]).arg(&path))));
    let own = run(&base.path().join("own"), &[]).trainings().unwrap();
    assert_ne!(own.iter().find(|t| t.seed_index == 0).unwrap().seed, trainings.iter().find(|t| t.seed_index == 0).unwrap().seed);
}

#[test]
fn elites_by_gain_are_those_that_gained_most() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    for (name, by) in [("gain", EliteBy::Gain), ("rank-within-parent", EliteBy::RankWithinParent)] {
        let path = base.path().join(name);
        let store = run(&path, &[&format!("elite.by={name}")]);
        let (quality, candidates) = (store.qualities().unwrap(), store.candidates().unwrap());
        let score = elite::scores(by, &candidates, &quality);
        for cycle in store.cycles().unwrap().iter().filter(|c| c.cycle > 0) {
            let elites: Vec<NetworkId> =
                store.elites().unwrap().into_iter().filter(|e| e.cycle == cycle.cycle).map(|e| e.network).collect();
            let least = elites.iter().map(|id| score[id]).fold(f64::INFINITY, f64::min);
            assert_eq!(cycle.gamma, Some(least));
            let of_cycle = candidates.iter().filter(|c| c.cycle == cycle.cycle && score.contains_key(&c.id()));
            assert!(of_cycle.map(Candidate::id).all(|id| elites.contains(&id) == (score[&id] >= least)));
            let stored = store.elites().unwrap();
            assert!(stored.iter().all(|e| e.quality == quality[&e.network]), "a quality is an accuracy whatever chose it");
        }
        let checks = succeed(program(&["verify"]).arg(&path));
        assert!(all_hold(&checks), "{checks}");
        succeed(program(&["report"]).arg(&path));
    }
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let table = base.path().join("deltas.jsonl");
    std::fs::write(&table, "{\"parent\": 3}\n").unwrap();
    let school = |more: &[&str]| {
        let mut command = program(&["school"]);
        command.arg(&table).args(more);
        command
    };
    let out = base.path().join("adapter");
    let out = out.to_str().unwrap();
    let (code, said) = fail(school(&["--out", out]));
    assert!(code == 2 && said.contains("line 1: no measured delta") && said.contains("eliteloop school RUN.. --table FILE"), "{said}");
    let (code, said) = fail(school(&["--out", out, "--lr", "nan"]));
    assert!(code == 2 && said.contains("--lr, --beta and --epochs are above 0"), "{said}");
    let (code, said) = fail(school(&["--out", out, "--corpus-weight=-1"]));
    assert!(code == 2 && said.contains("--corpus-weight is 0 or above"), "{said}");
    deltas::write(&table, &measured()[..1]).unwrap();
    let (code, said) = fail(school(&["--out", out, "--without", "mnist"]));
    assert!(code == 2 && said.contains("--without mnist: nothing was measured there") && said.contains("there are: cifar10"), "{said}");
    assert!(!Path::new(out).exists());
}

/// What ships was made of the table beside it, of which it has seen all that is not Fashion-MNIST's.
#[test]
fn the_shipped_adapter_learnt_from_the_table_beside_it() {
    needs!(Model);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/schooled-smollm2-135m-instruct");
    let rows = deltas::read(&folder.join("measured-deltas.jsonl")).unwrap();
    let of = |dataset: &str| rows.iter().filter(|row| row.dataset == dataset).count();
    assert_eq!((rows.len(), of("cifar10"), of("fashion-mnist")), (583, 375, 208));
    let record: toml::Table = std::fs::read_to_string(folder.join("school.toml")).unwrap().parse().unwrap();
    assert_eq!(record["without"].as_array().unwrap()[0].as_str(), Some("fashion-mnist"));
    let config = LlmConfig { adapter: "schooled".into(), ..LlmConfig::default() };
    assert_eq!(adapter_folder(&config).unwrap().unwrap().canonicalize().unwrap(), folder.canonicalize().unwrap());
    let from = LlmConfig::default();
    let warm = Learner::open(&from, &LoraConfig::default(), 0).unwrap();
    assert_eq!(record["from"].as_str(), Some(&*warm.adapter_hash().unwrap()));
    assert_eq!(record["model_sha256"].as_str(), Some(&*warm.model.identity.sha256));
    assert_ne!(Learner::open(&config, &LoraConfig::default(), 0).unwrap().adapter_hash().unwrap(), warm.adapter_hash().unwrap());
}

const PARENTS: [(&str, &str, usize); 3] =
    [("wide", "nn.LazyConv2d(16, 3)", 3), ("deep", "nn.LazyConv2d(8, 3), nn.LazyConv2d(8, 3)", 2), ("held", "nn.LazyConv2d(12, 5)", 4)];

/// Deltas of three parents: pooling after the convolution helps, dropout harms, whatever the numbers.
fn measured() -> Vec<MeasuredDelta> {
    let mut rows = Vec::new();
    for (family, convolutions, seed) in PARENTS {
        let parent = format!(
            "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self, num_classes):\n        super().__init__()\n        \
             self.layers = nn.Sequential(\n            {convolutions},\n            nn.ReLU(),\n            nn.Flatten(),\n            \
             nn.LazyLinear(num_classes),\n        )\n\n    def forward(self, x):\n        return self.layers(x)\n"
        );
        for i in 0..6 {
            let (good, bad) = (format!("9+\n            nn.MaxPool2d(2, {}),", 1 + i), format!("9+\n            nn.Dropout(0.{}),", 3 + i));
            let at = |base: f64| base + 0.001 * ((i * seed) % 5) as f64;
            for (delta, quality) in [(good, at(0.55)), (bad, at(0.45))] {
                rows.push(MeasuredDelta {
                    parent: parent.clone(),
                    format: Format::Edit,
                    delta,
                    parent_quality: 0.5,
                    quality,
                    noise: Some(0.01),
                    family: family.into(),
                    dataset: "cifar10".into(),
                    recipe: "made up".into(),
                    cheap: Cheap::default(),
                });
            }
        }
    }
    rows
}

#[test]
fn an_adapter_learns_what_helps_and_knows_it_of_a_parent_it_has_not_seen() {
    needs!(Model);
    let base = tempfile::tempdir().unwrap();
    let (table, out) = (base.path().join("deltas.jsonl"), base.path().join("adapter"));
    deltas::write(&table, &measured()).unwrap();
    let mut school = program(&["school", "--hold-out", "held", "--epochs", "3", "--lr", "3e-4"]);
    let said = succeed(school.arg(&table).arg("--out").arg(&out));
    // The numbers behind the tables: of each delta, in the better half or not, as the table has it.
    let scores: Vec<serde_json::Value> =
        std::fs::read_to_string(out.join("scores.jsonl")).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(scores.len(), measured().len());
    let held: Vec<_> = scores.iter().filter(|row| row["held_out"] == true).collect();
    assert!(held.len() == 12 && held.iter().all(|row| row["family"] == "held" && row["seen_parent"] == false));
    let moved = |row: &serde_json::Value| row["log_p_after"].as_f64().unwrap() - row["log_p_before"].as_f64().unwrap();
    let mean = |is_good: bool| {
        let own: Vec<f64> = held.iter().filter(|row| (row["gain"].as_f64().unwrap() > 0.0) == is_good).map(|row| moved(row)).collect();
        own.iter().sum::<f64>() / own.len() as f64
    };
    assert!(mean(true) > mean(false), "{held:?}");
    let held_out = said.split("on what was held out").nth(1).expect("a table of what was held out");
    let row = held_out.lines().find(|line| line.starts_with("their difference")).expect("a row of the difference");
    let auc: f64 = row.split_whitespace().nth(4).and_then(|cell| cell.parse().ok()).unwrap_or_else(|| panic!("no AUC in {row}"));
    assert!(auc > 0.85, "{said}");
    // An ordinary adapter of the model, and a record of what made it.
    assert!(Lora::load(&out, smollm_file().config()).is_ok());
    let record: toml::Table = std::fs::read_to_string(out.join("school.toml")).unwrap().parse().unwrap();
    assert_eq!(record["school"]["worth"].as_str(), Some("pairs"));
    assert_eq!(record["hold_out"].as_array().unwrap().len(), 1);
    let steps = std::fs::read_to_string(out.join("school.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap();
    assert!(loss(steps.lines().last().unwrap()) < loss(steps.lines().next().unwrap()) - 0.02, "{steps}");
}
