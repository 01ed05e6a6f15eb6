//! Adapters that leave the program and come into it: PEFT's folders in both directions, merged models, chat templates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use eliteloop::config::RunConfig;
use eliteloop::decoder::files::hf_writer::Stored;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::provenance::Provenance;
use eliteloop::decoder::lora::adamw::AdamW;
use eliteloop::decoder::lora::adapter::Precision;
use eliteloop::decoder::lora::matrices::Lora;
use eliteloop::decoder::lora::merge::merge;
use eliteloop::decoder::lora::tune::{Plan, Schedule, tune};
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use eliteloop::decoder::model::pack::Example;
use eliteloop::decoder::settings::llm::LlmConfig;
use eliteloop::decoder::settings::lora::LoraConfig;
use eliteloop::decoder::settings::tune::TuneConfig;
use eliteloop::delta::starts::starts;
use eliteloop::policy::Learner;
use eliteloop::record::folder::{self, Folder};
use eliteloop::record::{CycleRow, Kind};
use serde::Deserialize;
use serde_json::Value;

use crate::models::smollm_file;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(name: &str) -> (ModelFile, Decoder) {
    let file = ModelFile::open(&fixture(name)).unwrap();
    let decoder = load(&file);
    (file, decoder)
}

fn load(file: &ModelFile) -> Decoder {
    Decoder::open(file, eliteloop::decoder::settings::llm::Dtype::F32).unwrap()
}

/// What PEFT gave; see scripts/goldens/peft_roundtrip.py.
#[derive(Deserialize)]
struct Golden {
    ids: Vec<u32>,
    /// Of the last four tokens.
    logits: Vec<Vec<f32>>,
    #[serde(default)]
    losses: Vec<f64>,
}

fn golden(text: &str) -> Golden {
    serde_json::from_str(text).unwrap()
}

fn logits(decoder: &Decoder, lora: Option<&Lora>, ids: &[u32]) -> Vec<Vec<f32>> {
    decoder.logits(&decoder.hidden(&Rows::single(ids), lora, Mode::Evaluate).unwrap()).unwrap().to_vec2().unwrap()
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Three completions, two of one prompt: those of scripts/goldens/peft_roundtrip.py.
fn examples() -> Vec<Example> {
    let prompts: [Vec<u32>; 2] = [(0..12).map(|i| (7 * i + 3) % 320).collect(), (0..9).map(|i| (5 * i + 40) % 320).collect()];
    let all = [(0, vec![11, 60, 2]), (0, vec![12, 61, 90, 91, 2]), (1, vec![200, 2])];
    all.iter().map(|(p, c)| Example { id: format!("{c:?}"), prompt: prompts[*p].clone(), completion: c.clone() }).collect()
}

/// Tunes on the examples, all in each step; gives the loss before each.
fn steps(decoder: &Decoder, lora: &mut Lora, count: usize) -> Vec<f64> {
    let config = TuneConfig { lr: 1e-2, epochs: count, warmup_steps: 0, clip: 0.0, ..TuneConfig::default() };
    let abort = AtomicBool::new(false);
    let plan = Plan {
        config: &config,
        batch: None,
        schedule: Schedule::Constant,
        budget: 128,
        seed: 1,
        abort: &abort,
        weights: &[],
        reference: None,
    };
    let mut optimiser = AdamW::new(lora.snapshot().unwrap().iter().map(Vec::len));
    let log = tune(decoder, lora, &mut optimiser, &examples(), &plan, |_, _, _| ()).unwrap();
    log.steps.iter().map(|step| step.loss).collect()
}

fn tuned_here(file: &ModelFile, decoder: &Decoder) -> Lora {
    let config = LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::default() };
    let mut lora = Lora::new(file.config(), &config, 5).unwrap();
    steps(decoder, &mut lora, 6);
    lora
}

/// With `ELITELOOP_ADAPTER` set to a folder the adapter is written there, for `scripts/goldens/peft_roundtrip.py`.
#[test]
fn an_adapter_tuned_here_gives_the_same_logits_in_peft() {
    let (file, decoder) = open("tiny-llama3");
    let tuned = tuned_here(&file, &decoder);
    if let Some(folder) = std::env::var_os("ELITELOOP_ADAPTER") {
        tuned.save(Path::new(&folder), "tiny-llama3", Precision::F32).unwrap();
    }
    let golden = golden(include_str!("../goldens/adapter-tuned-here.json"));
    let stored = Lora::load(&fixture("adapter-tuned-here"), file.config()).unwrap();
    let ours = logits(&decoder, Some(&stored), &golden.ids);
    let apart = largest_difference(&ours[36..], &golden.logits);
    assert!(apart < 1e-3, "{apart}");
    assert!(largest_difference(&logits(&decoder, None, &golden.ids)[36..], &golden.logits) > 0.1, "the adapter does something");
    // The file PEFT read is what tuning gives today.
    let again = tuned.snapshot().unwrap().concat();
    for (stored, again) in stored.snapshot().unwrap().concat().iter().zip(again) {
        assert!((stored - again).abs() < 1e-3, "{stored} then, {again} now");
    }
}

#[test]
fn an_adapter_made_by_peft_answers_and_goes_on_here_as_it_does_there() {
    let (file, decoder) = open("tiny-llama3");
    let golden = golden(include_str!("../goldens/adapter-by-peft.json"));
    let mut lora = Lora::load(&fixture("adapter-by-peft"), file.config()).unwrap();
    assert_eq!((lora.config.rank, lora.config.alpha, lora.config.targets.len()), (3, 9.0, 5));
    let ours = logits(&decoder, Some(&lora), &golden.ids);
    let apart = largest_difference(&ours[36..], &golden.logits);
    assert!(apart < 1e-3, "{apart}");
    let losses = steps(&decoder, &mut lora, golden.losses.len());
    assert_eq!(losses.len(), 4);
    assert!(losses[3] < losses[0]);
    for (ours, theirs) in losses.iter().zip(&golden.losses) {
        assert!((ours - theirs).abs() < 1e-3 * theirs, "{losses:?} against {:?}", golden.losses);
    }
}

/// An adapter by PEFT whose settings are changed.
fn changed(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(fixture("adapter-by-peft").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("adapter_config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
    folder
}

#[test]
fn variants_of_lora_are_read_rightly_or_refused() {
    let (file, _) = open("tiny-llama3");
    let rank_stabilised = changed(|config| config["use_rslora"] = true.into());
    let lora = Lora::load(rank_stabilised.path(), file.config()).unwrap();
    assert!((f64::from(lora.layout().scale) - 9.0 / 3f64.sqrt()).abs() < 1e-6);
    for (key, value) in [
        ("use_dora", true.into()),
        ("init_lora_weights", "pissa_niter_4".into()),
        ("init_lora_weights", "lora_ga".into()),
        ("init_lora_weights", "olora".into()),
        ("init_lora_weights", "CorDA".into()),
        ("init_lora_weights", "loftq".into()),
        ("init_lora_weights", "some_later_one".into()),
        ("use_bdlora", serde_json::json!({"nblocks": 2})),
        ("some_later_switch", true.into()),
        ("trainable_token_indices", vec![1, 2].into()),
        ("rank_pattern", serde_json::json!({"q_proj": 8})),
        ("peft_type", "IA3".into()),
        ("target_modules", r".*\.experts".into()),
    ] {
        let folder = changed(|config| config[key] = value);
        let error = Lora::load(folder.path(), file.config()).err().unwrap_or_else(|| panic!("{key} was let through"));
        assert!(error.to_string().contains(key), "{error}");
    }
}

/// The matrices are those of the golden; only how the modules are named differs, or where the adapter came from.
#[test]
fn modules_may_be_named_by_ends_and_patterns_and_plain_starts_are_read() {
    let (file, _) = open("tiny-llama3");
    let hash = |folder: &Path| Lora::load(folder, file.config()).unwrap().hash().unwrap();
    let plain = hash(&fixture("adapter-by-peft"));
    for (key, value) in [
        ("target_modules", serde_json::json!(["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"])),
        ("target_modules", r".*\.(?:[qvo]_proj|(?:up|down)_proj)".into()),
        ("target_modules", r"model\.layers\.\d+\.(self_attn|mlp)\.(?!k_proj|gate_proj).*".into()),
        ("init_lora_weights", "gaussian".into()),
        ("init_lora_weights", "eva".into()),
        ("init_lora_weights", false.into()),
        ("some_later_switch", false.into()),
    ] {
        assert_eq!(hash(changed(|config| config[key] = value.clone()).path()), plain, "{key} {value}");
    }
    let folder = changed(|config| config["target_modules"] = "all-linear".into());
    let error = Lora::load(folder.path(), file.config()).err().unwrap();
    assert!(error.to_string().contains("k_proj.lora_A.weight is missing"), "{error}");
}

/// An adapter by PEFT whose tensors have other names.
fn renamed(name: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = changed(|_| ());
    let path = folder.path().join("adapter_model.safetensors");
    let tensors: BTreeMap<String, Tensor> =
        candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap().into_iter().map(|(key, t)| (name(&key), t)).collect();
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    folder
}

#[test]
fn what_is_wrong_with_an_adapter_s_folder_is_said_as_it_is() {
    let (file, _) = open("tiny-llama3");
    let refused = |folder: &Path, word: &str, hint: &str| {
        let error = Lora::load(folder, file.config()).err().unwrap();
        let hinted = error.hint_text().unwrap_or_default();
        assert!(error.exit_code() == 2 && error.to_string().contains(word) && hinted.contains(hint), "{error}\nhint: {hinted}");
        assert!(hint.contains("another") || !hinted.contains("another model"), "{hinted}");
    };
    let module = |key: &str| key.strip_prefix("base_model.model.").unwrap().to_owned();
    for (folder, hint) in [
        (renamed(|key| key.replace(".weight", ".default.weight")), "lora_A.default.weight, where PEFT would not find it either"),
        (renamed(module), "it is there as model.layers.0.self_attn.q_proj.lora_A.weight"),
        (renamed(|key| format!("base_model.model.{key}")), "it is there as base_model.model.base_model.model.model.layers.0"),
        (renamed(|key| module(key).replace("lora_A.weight", "lora_a").replace("lora_B.weight", "lora_b")), "mlx-lm"),
        (renamed(|key| key.replace("layers.1.", "layers.7.")), "the adapter goes to layer 8, this model has 2"),
    ] {
        refused(folder.path(), "is missing", hint);
    }
    let folder = changed(|config| config["base_model_name_or_path"] = "acme/Wide-1B".into());
    let path = folder.path().join("adapter_model.safetensors");
    let tensors: std::collections::HashMap<String, Tensor> = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    let wider = tensors.into_iter().map(|(key, t)| (key, Tensor::cat(&[&t, &t], 1).unwrap())).collect();
    candle_core::safetensors::save(&wider, &path).unwrap();
    refused(folder.path(), "this model wants", "another model; it names the base model acme/Wide-1B");

    let folder = changed(|config| config["r"] = 4.into());
    refused(folder.path(), "of rank 3, r in adapter_config.json is 4", "different adapters");
    let folder = changed(|_| ());
    std::fs::rename(folder.path().join("adapter_model.safetensors"), folder.path().join("adapter_model.bin")).unwrap();
    refused(folder.path(), "adapter_model.safetensors is missing", "torch.load('adapter_model.bin'");
    let above = tempfile::tempdir().unwrap();
    for step in ["checkpoint-20", "checkpoint-100"] {
        std::fs::create_dir(above.path().join(step)).unwrap();
        std::fs::copy(folder.path().join("adapter_config.json"), above.path().join(step).join("adapter_config.json")).unwrap();
    }
    refused(above.path(), "holds no adapter_config.json", "it holds 2 checkpoints of a training; give one, the last is");
    assert!(Lora::load(above.path(), file.config()).err().unwrap().hint_text().unwrap().ends_with("checkpoint-100"));
    let lfs = changed(|_| ());
    std::fs::write(lfs.path().join("adapter_model.safetensors"), "version https://git-lfs.github.com/spec/v1\nsize 12\n").unwrap();
    refused(lfs.path(), "a pointer of Git LFS", "git lfs pull");
    refused(tempfile::tempdir().unwrap().path(), "holds no adapter_config.json", "save_pretrained");
}

#[test]
fn an_adapter_that_names_another_base_is_taken_with_a_word_and_without_a_record() {
    let model = fixture("tiny-llama3");
    let import = |base: &str, more: &[&str]| {
        let folder = changed(|config| config["base_model_name_or_path"] = base.into());
        let arguments = [&["import", folder.path().to_str().unwrap(), "--model", model.to_str().unwrap()][..], more].concat();
        let assert = eliteloop(&arguments).assert().success();
        (said(&assert), Provenance::read(folder.path()).unwrap().is_some())
    };
    let (stderr, recorded) = import("meta-llama/Llama-3.2-1B", &[]);
    assert!(stderr.contains("names the base model meta-llama/Llama-3.2-1B") && !stderr.contains("does not say"), "{stderr}");
    assert!(!recorded, "a wrong --model would stick");
    assert!(import("meta-llama/Llama-3.2-1B", &["--force"]).1);
    for same in ["tiny-llama3", "acme/Tiny_Llama3", "./models/tiny-llama3/", "unsloth/tiny-llama3-bnb-4bit"] {
        let (stderr, recorded) = import(same, &[]);
        assert!(!stderr.contains("names the base") && recorded, "{same}: {stderr}");
    }
}

/// Every family; f32 and bf16 sources; tied and separate heads.
#[test]
fn a_merged_model_opens_again_and_answers_as_the_unmerged_one() {
    for name in ["tiny-llama", "tiny-llama3", "tiny-qwen2", "tiny-qwen3"] {
        let (file, decoder) = open(name);
        let mut lora = Lora::new(file.config(), &LoraConfig { rank: 4, ..LoraConfig::default() }, 5).unwrap();
        steps(&decoder, &mut lora, 4);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("merged");
        let likeness = merge(&file, &lora, &out, Stored::F32, starts()[0].1).unwrap();
        assert!(likeness.difference < 1e-5 * likeness.spread && likeness.effect > 0.01 * likeness.spread, "{name}: {likeness:?}");
        let again = ModelFile::open(&out).unwrap();
        assert_eq!(again.config(), file.config(), "{name}");
        let ids: Vec<u32> = (0..60).map(|i| (i * 13 + 1) % 320).collect();
        let (merged, unmerged) = (logits(&load(&again), None, &ids), logits(&decoder, Some(&lora), &ids));
        assert!(largest_difference(&merged, &unmerged) < 1e-3, "{name}");
        let text = "self.conv1 = nn.LazyConv2d(32, 3)<|im_end|>\n";
        assert_eq!(again.tokenizer().unwrap().encode(text), file.tokenizer().unwrap().encode(text));
        assert_eq!(Provenance::of(&again).unwrap().chat_template_sha256, Provenance::of(&file).unwrap().chat_template_sha256);
        assert!(merge(&file, &lora, &out, Stored::F32, starts()[0].1).unwrap_err().to_string().contains("exists already"));
    }
}

/// The default model is a GGUF file: `config.json` and `tokenizer.json` are made from its keys.
#[test]
fn the_default_model_becomes_a_folder() {
    needs!(Model);
    let file = smollm_file();
    let mut lora = Lora::new(file.config(), &LoraConfig::default(), 5).unwrap();
    let mut count = 0_u32;
    lora.fill(|_, shape| {
        count += 1;
        Ok((0..shape[0] * shape[1]).map(|i| 0.02 * (0.7 * i as f32 + count as f32).sin()).collect())
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged");
    let likeness = merge(&file, &lora, &out, Stored::Bf16, starts()[0].1).unwrap();
    assert!(likeness.difference > 0.0 && likeness.difference < 0.2 * likeness.effect, "{likeness:?}");
    let again = ModelFile::open(&out).unwrap();
    assert_eq!(again.config(), file.config());
    let (ours, theirs) = (again.tokenizer().unwrap(), file.tokenizer().unwrap());
    for text in [
        "",
        "x = self.conv1(x)\n",
        "  12345  ",
        "\u{e9}t\u{e9} \u{4f60}\u{597d} \u{1f680}",
        "<|im_start|>user\nhi<|im_end|>",
        "\tif x:\r\n\t\ty = 22\r\n",
    ] {
        assert_eq!(ours.encode(text), theirs.encode(text), "{text:?}");
        assert_eq!(ours.encode_plain(text), theirs.encode_plain(text), "{text:?}");
    }
    assert_eq!((ours.bos(), ours.eos(), ours.vocab_size()), (theirs.bos(), theirs.eos(), theirs.vocab_size()));
    assert_eq!(again.chat_template().unwrap().unwrap().hash(), file.chat_template().unwrap().unwrap().hash());
}

#[test]
fn a_merge_that_would_answer_differently_leaves_nothing_behind() {
    let (file, _) = open("tiny-llama");
    let filled = |size: f32| {
        let mut lora = Lora::new(file.config(), &LoraConfig { rank: 2, ..LoraConfig::default() }, 5).unwrap();
        lora.fill(|_, shape| Ok((0..shape[0] * shape[1]).map(|i| size * (i as f32).cos()).collect())).unwrap();
        lora
    };
    let folder = tempfile::tempdir().unwrap();
    let refused = |lora: &Lora, stored: Stored, hint: &str| {
        let error = merge(&file, lora, &folder.path().join("merged"), stored, starts()[0].1).unwrap_err();
        assert!(error.to_string().contains("not merged"), "{error}");
        assert!(error.hint_text().unwrap().contains(hint), "{:?}", error.hint_text());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    };
    // Smaller than what bf16 can add to a weight.
    refused(&filled(1e-3), Stored::Bf16, "--dtype f32");
    refused(&filled(1e25), Stored::F32, "too large");
    merge(&file, &filled(1e-3), &folder.path().join("merged"), Stored::F32, starts()[0].1).unwrap();
}

/// The folder of a run whose cycles 0 and 1 are closed.
fn run_folder(base: &Path, lora: &[&Lora]) -> PathBuf {
    let run = base.join("some-run");
    let model = fixture("tiny-llama3");
    let mut config = RunConfig { seed: 9, ..RunConfig::default() };
    config.llm.model = model.display().to_string();
    let (_place, store) = Folder::create(&run, Kind::Run, &config.to_toml(), |_| Ok(())).unwrap();
    store.set_meta("model", &ModelFile::open(&model).unwrap().sha256().unwrap()).unwrap();
    for (cycle, lora) in (0..).zip(lora) {
        lora.save(&folder::checkpoint(&run, cycle), "tiny", Precision::F32).unwrap();
        store.put_cycle(&CycleRow { cycle, gamma: None, adapter_hash: lora.hash().unwrap(), tuning: None }).unwrap();
    }
    store.seal().unwrap();
    run
}

fn eliteloop(arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("eliteloop"));
    command.arg("adapter").args(arguments);
    command
}

fn said(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

#[test]
fn the_commands_carry_an_adapter_from_one_run_to_the_next() {
    let (file, decoder) = open("tiny-llama3");
    let base = tempfile::tempdir().unwrap();
    let fresh = Lora::new(file.config(), &LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::default() }, 5).unwrap();
    let tuned = tuned_here(&file, &decoder);
    let run = run_folder(base.path(), &[&fresh, &tuned]);
    let (run, out, merged) = (run.to_str().unwrap(), base.path().join("out"), base.path().join("merged"));
    let (out, merged, model) = (out.to_str().unwrap(), merged.to_str().unwrap(), fixture("tiny-llama3"));
    let model = model.to_str().unwrap();

    let failed = eliteloop(&["export", run, "--cycle", "7", "--out", out]).assert().code(2);
    assert!(said(&failed).contains("its cycles are 0 to 1"), "{}", said(&failed));
    eliteloop(&["export", run, "--cycle", "1", "--out", out]).assert().success();
    assert_eq!(Lora::load(Path::new(out), file.config()).unwrap().hash().unwrap(), tuned.hash().unwrap());
    let provenance = Provenance::read(Path::new(out)).unwrap().unwrap();
    let origin = provenance.run.as_ref().unwrap();
    assert_eq!((origin.run.as_str(), origin.cycle, origin.seed), ("some-run", 1, 9));
    assert_eq!(provenance.model_sha256, file.sha256().unwrap());
    assert_eq!(provenance.chat_template_sha256, Some(file.chat_template().unwrap().unwrap().hash()));

    let shown = eliteloop(&["import", out, "--model", model, "--json"]).assert().success().get_output().stdout.clone();
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!((&shown["lora"]["rank"], &shown["same_chat_template"], &shown["same_model"]), (&4.into(), &true.into(), &true.into()));
    assert_eq!(shown["sha256"], tuned.hash().unwrap());
    let llm = LlmConfig { model: model.into(), adapter: out.into(), max_context: 128, ..LlmConfig::default() };
    assert_eq!(Learner::open(&llm, &LoraConfig::default(), 0).unwrap().adapter_hash().unwrap(), tuned.hash().unwrap());

    eliteloop(&["merge", run, "--out", merged]).assert().success();
    let ids: Vec<u32> = (0..40).map(|i| (i * 17 + 1) % 320).collect();
    let again = load(&ModelFile::open(Path::new(merged)).unwrap());
    assert!(largest_difference(&logits(&again, None, &ids), &logits(&decoder, Some(&tuned), &ids)) < 1e-3);

    // A checkpoint that was changed is not exported.
    fresh.save(&folder::checkpoint(Path::new(run), 1), "tiny", Precision::F32).unwrap();
    let failed = eliteloop(&["export", run, "--out", base.path().join("other").to_str().unwrap()]).assert().code(2);
    assert!(said(&failed).contains("is not the one that was stored"));
}

#[test]
fn an_adapter_of_another_chat_template_is_refused_unless_forced() {
    let model = fixture("tiny-llama3");
    let folder = changed(|_| ());
    let (adapter, model) = (folder.path().to_str().unwrap(), model.to_str().unwrap());
    let llm = LlmConfig { model: model.into(), adapter: adapter.into(), max_context: 128, ..LlmConfig::default() };
    let starts = || Learner::open(&llm, &LoraConfig::default(), 0);
    assert!(starts().is_ok(), "nothing is known of its template");

    // Imported, it counts as tuned for this model's.
    eliteloop(&["import", adapter, "--model", model]).assert().success();
    let mut provenance = Provenance::read(folder.path()).unwrap().unwrap();
    assert_eq!(provenance, Provenance::of(&ModelFile::open(Path::new(model)).unwrap()).unwrap());
    provenance.chat_template_sha256 = Some("0".repeat(64));
    provenance.write(folder.path()).unwrap();
    let failed = eliteloop(&["import", adapter, "--model", model]).assert().code(2);
    assert!(said(&failed).contains("another chat template") && said(&failed).contains("--force"), "{}", said(&failed));
    let error = starts().err().unwrap();
    assert!(error.to_string().contains("another chat template") && error.exit_code() == 2, "{error}");

    eliteloop(&["import", adapter, "--model", model, "--force"]).assert().success();
    assert!(starts().is_ok());
    eliteloop(&["import", adapter, "--model", model]).assert().success();
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let (file, _) = open("tiny-qwen2");
    let error = Lora::load(&fixture("adapter-by-peft"), file.config()).err().unwrap();
    assert!(error.hint_text().unwrap().contains("another model"), "{error}");
}

/// The names in the file are PEFT's own, none more and none less.
#[test]
fn the_files_have_the_tensors_that_peft_writes() {
    let shapes = |folder: &str| -> BTreeMap<String, Vec<usize>> {
        let path = fixture(folder).join("adapter_model.safetensors");
        let tensors: std::collections::HashMap<String, Tensor> = candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap();
        tensors.into_iter().map(|(name, tensor)| (name, tensor.dims().to_vec())).collect()
    };
    let (file, _) = open("tiny-llama3");
    let lora = Lora::load(&fixture("adapter-by-peft"), file.config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    lora.save(folder.path(), "tiny", Precision::F32).unwrap();
    assert_eq!(shapes("adapter-by-peft"), shapes(folder.path().to_str().unwrap()));
}

/// The order of the rows is held against that of the model's own file, read by candle: where row `i` of a weight there is row `j` of Hugging
/// Face's layout, so it is with the adapter's rows. That llama.cpp answers as we do with it was tried by `scripts/peers/llama_adapter.py`.
#[test]
fn an_adapter_for_llama_cpp_has_its_names_and_the_order_of_the_rows_of_the_model_s_file() {
    needs!(Model);
    let file = smollm_file();
    let path = file.path().to_owned();
    let mut lora = Lora::new(file.config(), &LoraConfig { rank: 4, alpha: 6.0, ..LoraConfig::default() }, 5).unwrap();
    let mut next = 0f32;
    lora.fill(|_, [rows, columns]| {
        next += 1.0;
        Ok((0..rows * columns).map(|i| ((i as f32 + next) * 0.618_034).fract() - 0.5).collect())
    })
    .unwrap();
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("adapter.gguf");
    lora.save_gguf(&out, &file, Precision::F32).unwrap();
    let read = |path: &Path| {
        let mut file = std::fs::File::open(path).unwrap();
        let content = gguf_file::Content::read(&mut file).unwrap();
        (content, file)
    };
    let ((written, mut bytes), (model, mut weights)) = (read(&out), read(&path));
    let text = |key: &str| written.metadata[key].to_string().unwrap().clone();
    assert_eq!(["general.architecture", "general.type", "adapter.type"].map(text), ["llama", "adapter", "lora"]);
    assert_eq!(written.metadata["adapter.lora.alpha"].to_f32().unwrap(), 6.0);
    let folder = tempfile::tempdir().unwrap();
    lora.save(folder.path(), "x", Precision::F32).unwrap();
    let peft = candle_core::safetensors::load(folder.path().join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(written.tensor_infos.len(), peft.len());
    for (module, theirs) in
        [("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("mlp.down_proj", "ffn_down")]
    {
        let rows = |tensor: Tensor| tensor.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
        let ours = rows(file.tensor(&format!("model.layers.3.{module}.weight")).unwrap());
        let stored = model.tensor(&mut weights, &format!("blk.3.{theirs}.weight"), &Device::Cpu).unwrap();
        let stored = rows(stored.dequantize(&Device::Cpu).unwrap());
        let mut matrix = |part: &str| {
            let name = format!("blk.3.{theirs}.weight.lora_{part}");
            rows(written.tensor(&mut bytes, &name, &Device::Cpu).unwrap().dequantize(&Device::Cpu).unwrap())
        };
        let own = |part: &str| rows(peft[&format!("base_model.model.model.layers.3.{module}.lora_{part}.weight")].clone());
        assert_eq!(matrix("a"), own("A"), "{module}");
        let (theirs, ours_b) = (matrix("b"), own("B"));
        for (i, row) in stored.iter().enumerate() {
            let j = ours.iter().position(|other| other == row).unwrap();
            assert_eq!(theirs[i], ours_b[j], "{module}, row {i}");
        }
    }
}

#[test]
fn what_an_adapter_announces_is_held_against_its_matrices_before_any_is_made() {
    let model = ModelFile::open(&fixture("tiny-llama3")).unwrap();
    let text = std::fs::read_to_string(fixture("adapter-by-peft/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let weights = "adapter_model.safetensors";
    std::fs::copy(fixture("adapter-by-peft").join(weights), folder.path().join(weights)).unwrap();
    let load = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        Lora::load(folder.path(), model.config())
    };
    load("r", config["r"].clone()).unwrap();
    for rank in [0, 1, 1000, 65_536, 100_000_000, 1_000_000_000_000, 1 << 62, u64::MAX] {
        let error = load("r", rank.into()).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("rank"), "{rank}: {error}");
    }
    for alpha in [0.0, -1.0, 1e308] {
        assert!(load("lora_alpha", alpha.into()).err().unwrap().to_string().contains("lora_alpha"), "{alpha}");
    }
}
