//! A network of a run, written for other programs. What `PyTorch` and onnxruntime make of it: `scripts/goldens/export.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_core::{DType, Device};
use eliteloop::base::device::Kernels;
use eliteloop::export::{builder, onnx, proto};
use eliteloop::record::{NetworkId, Store, folder};
use eliteloop::tracer::{TraceOptions, trace};
use prost::Message;

use crate::goldens::{cases, here};
use crate::program::{self, program, stderr, succeed};

/// A run of one cycle without an LLM, from a plain network and one with shared tensors.
fn run() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join("run");
        let starts = format!("parents.start={:?}", ["networks/shared", "export/norms"].map(|n| here(&format!("tests/fixtures/{n}.py"))));
        let settings = [
            "policy=random",
            "seed=5",
            "cycles=1",
            "candidates=4",
            "proxy.dataset=synthetic",
            "proxy.train_images=128",
            "proxy.valid_images=100",
            "proxy.epochs=1",
            "proxy.repeats=1",
            &starts,
        ];
        succeed(program::run(&run, &settings));
        (base, run)
    });
    run
}

/// Exports into a new folder, of which nothing may be left where it fails.
fn export(run: &Path, base: &Path, arguments: &[&str]) -> Result<PathBuf, String> {
    let out = base.join("out");
    let output = program(&["export"]).arg(run).arg("--out").arg(&out).args(arguments).output().unwrap();
    if output.status.success() {
        return Ok(out);
    }
    Err(stderr(&output))
}

fn files(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn model(folder: &Path) -> proto::Model {
    proto::Model::decode(&std::fs::read(folder.join("network.onnx")).unwrap()[..]).unwrap()
}

fn operators(model: &proto::Model) -> BTreeSet<&str> {
    model.graph.as_ref().unwrap().node.iter().map(|n| &n.op_type[..]).collect()
}

/// A model is whole when every value is there before it is read, and made once.
fn check(model: &proto::Model) {
    let graph = model.graph.as_ref().unwrap();
    let mut known: BTreeSet<&str> = graph.input.iter().map(|i| &i.name[..]).collect();
    for tensor in &graph.initializer {
        let size = if tensor.data_type == Some(proto::FLOAT) { 4 } else { 8 };
        assert_eq!(tensor.raw_data.len() as i64, size * tensor.dims.iter().product::<i64>(), "{}", tensor.name);
        assert!(known.insert(&tensor.name), "{} twice", tensor.name);
    }
    for node in &graph.node {
        assert!(node.input.iter().all(|i| i.is_empty() || known.contains(&i[..])), "{} reads {:?}", node.name, node.input);
        node.output.iter().for_each(|o| assert!(known.insert(o), "{o} twice"));
    }
    assert!(graph.output.iter().all(|o| known.contains(&o.name[..])));
}

#[test]
fn the_state_dict_has_the_names_and_shapes_of_the_trace_and_every_name_of_a_shared_tensor() {
    let base = tempfile::tempdir().unwrap();
    let out = export(run(), base.path(), &["--candidate", "start/shared"]).unwrap();
    assert_eq!(
        files(&out),
        ["card.md", "input.json", "network.onnx", "network.py", "predict.py", "sample.safetensors", "weights.safetensors"]
            .map(String::from)
            .into()
    );
    assert_eq!(files(base.path()), ["out".to_owned()].into(), "nothing else is left");
    let source = std::fs::read_to_string(out.join("network.py")).unwrap();
    let options = TraceOptions { program: env!("CARGO_BIN_EXE_eliteloop").into(), ..TraceOptions::new([3, 32, 32], 10) };
    let graph = trace(&source, &options).unwrap();
    let mut expected: BTreeMap<String, Vec<usize>> = graph.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
    // `self.first` is a slice of `self.body`: PyTorch lists its convolution and its normalisation a second time.
    let again = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"];
    for name in again {
        let shape = expected[&format!("body.{name}")].clone();
        assert!(expected.insert(format!("first.{name}"), shape).is_none());
    }
    let stored = candle_core::safetensors::load(out.join("weights.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(stored.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())).collect::<BTreeMap<_, _>>(), expected);
    assert_eq!(stored["body.1.num_batches_tracked"].dtype(), DType::I64);
    assert_eq!(stored["body.1.num_batches_tracked"].to_scalar::<i64>().unwrap(), 8, "four calls in each of two steps");
    let values = |name: &str| stored[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values("body.0.weight"), values("first.0.weight"));
}

#[cfg(unix)]
#[test]
fn every_file_can_be_read_by_whom_new_files_can() {
    use std::os::unix::fs::PermissionsExt;
    let base = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let ordinary = base.path().join("ordinary");
    std::fs::write(&ordinary, "").unwrap();
    let out = export(run(), base.path(), &["--candidate", "start/shared"]).unwrap();
    for name in files(&out) {
        assert_eq!(mode(&out.join(&name)), mode(&ordinary) & 0o644, "{name}");
    }
}

#[test]
fn the_onnx_model_has_the_operators_of_the_network_and_a_free_batch() {
    let base = tempfile::tempdir().unwrap();
    let out = export(run(), base.path(), &["--candidate", "start/norms"]).unwrap();
    let model = model(&out);
    check(&model);
    let found = operators(&model);
    for op in ["Conv", "InstanceNormalization", "BatchNormalization", "LayerNormalization", "MatMul", "Gemm", "ReduceMean", "Identity"] {
        assert!(found.contains(op), "{op} not in {found:?}");
    }
    assert!(!found.contains("Dropout"));
    let graph = model.graph.unwrap();
    let shape = |info: &proto::ValueInfo| info.kind.clone().unwrap().tensor.unwrap().shape.unwrap().dim;
    let batch = proto::Extent { value: None, name: Some("batch".into()) };
    assert_eq!(shape(&graph.input[0])[0], batch);
    assert_eq!(shape(&graph.output[0]), [batch, proto::Extent { value: Some(10), name: None }]);
    // A parameter of the input's name is another value.
    assert!(graph.initializer.iter().all(|t| t.name != builder::INPUT));
}

#[test]
fn the_best_network_is_written_with_its_recorded_accuracy_and_lineage() {
    let base = tempfile::tempdir().unwrap();
    let out = export(run(), base.path(), &[]).unwrap();
    let store = Store::read(&folder::store_path(run())).unwrap();
    let (id, quality) = eliteloop::record::best::of(&store).unwrap().unwrap();
    let card = std::fs::read_to_string(out.join("card.md")).unwrap();
    assert!(card.starts_with(&format!("# Network {id}\n")), "{card}");
    let training = store.trainings().unwrap().into_iter().find(|t| t.network == id && t.seed_index == 0).unwrap();
    assert!(card.contains(&format!("| these weights | {} | {quality} |", training.seed)), "{card}");
    let row = store.network(&id).unwrap();
    assert!(card.contains(&format!("- {} parameters", row.parameters)) && card.contains(&format!("- {} multiply-acc", row.macs)));
    let source = std::fs::read_to_string(out.join("network.py")).unwrap();
    let options = TraceOptions { program: env!("CARGO_BIN_EXE_eliteloop").into(), ..TraceOptions::of(&row.graph) };
    assert_eq!(trace(&source, &options).unwrap().tensors, row.graph.tensors, "{source}");
    if let NetworkId::Candidate { .. } = id {
        let candidate = store.candidates().unwrap().into_iter().find(|c| c.id() == id).unwrap();
        assert!(card.contains(candidate.text().trim_end()) && card.contains(&format!("From {}", candidate.parent)), "{card}");
    }
    let refused = export(run(), base.path(), &["--best"]).unwrap_err();
    assert!(refused.contains("exists already"), "{refused}");
}

#[test]
fn another_accuracy_than_the_recorded_one_is_an_error_that_leaves_nothing() {
    needs!(Minutes);
    let base = tempfile::tempdir().unwrap();
    let copy = base.path().join("run");
    std::fs::create_dir(&copy).unwrap();
    for file in ["run.toml", "run.sqlite"] {
        std::fs::copy(run().join(file), copy.join(file)).unwrap();
    }
    let db = rusqlite::Connection::open(copy.join("run.sqlite")).unwrap();
    assert_eq!(db.execute("UPDATE training SET accuracy = accuracy + 1e-9 WHERE network = 'start/shared'", []).unwrap(), 1);
    drop(db);
    let error = export(&copy, base.path(), &["--candidate", "start/shared"]).unwrap_err();
    assert!(error.contains("trained again its accuracy is"), "{error}");
    assert_eq!(files(base.path()), ["run".to_owned()].into());
    let error = export(&copy, base.path(), &["--candidate", "1/99"]).unwrap_err();
    assert!(error.contains("no network 1/99"), "{error}");
}

/// With `ELITELOOP_ONNX` set to a folder the models are written there, for `scripts/goldens/export.py --operations`.
#[test]
fn every_operation_has_an_onnx_form() {
    let folder = std::env::var_os("ELITELOOP_ONNX").map(PathBuf::from);
    for (number, case) in cases().iter().enumerate() {
        let model = onnx::model(&case.network(Kernels::Own, &Device::Cpu), &[]).unwrap_or_else(|e| panic!("{}: {e}", case.label));
        check(&model);
        assert!(model.graph.as_ref().unwrap().node.len() > 1, "{}: nothing but the output's name", case.label);
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("{number}.onnx")), model.encode_to_vec()).unwrap();
        }
    }
}

/// A Python that can run `predict.py`.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("ELITELOOP_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let here = std::process::Command::new(&path).args(["-c", "import numpy, PIL, onnxruntime, torch, safetensors"]).output();
    here.is_ok_and(|output| output.status.success()).then_some(path)
}

/// Pictures as the user has them, of any shape; what `predict.py` says of them is what the program says of their images.
#[test]
fn the_exported_folder_classifies_a_user_s_picture_as_the_program_does() {
    use image::{Rgb, RgbImage};
    needs!(Minutes);
    let (images, data, base) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut pictures = Vec::new();
    for (class, shift) in [("dark red", 10u32), ("light", 120)] {
        std::fs::create_dir(images.path().join(class)).unwrap();
        for number in 0..12u32 {
            let (width, height) = [(40, 25), (17, 50), (32, 32), (90, 91)][number as usize % 4];
            let pixel = |x: u32, y: u32| {
                Rgb([shift + (x * 7 + y * 13 + number * 29) % 90, (x * y + number) % 200, (3 * x + number) % 120].map(|v| v as u8))
            };
            let path = images.path().join(class).join(format!("{number}.png"));
            RgbImage::from_fn(width, height, pixel).save(&path).unwrap();
            pictures.push(path);
        }
    }
    for fit in ["crop", "pad", "stretch"] {
        let name = format!("mine-{fit}");
        let folder = images.path().to_str().unwrap();
        succeed(program::with_data(data.path(), &["data", "import", folder, "--name", &name, "--size", "20x28", "--fit", fit]));
        let run = base.path().join(fit);
        let set = format!("proxy.dataset={name}");
        let start = format!("parents.start={:?}", [here("tests/fixtures/networks/shared.py")]);
        let settings = ["policy=random", "cycles=1", "candidates=1", "proxy.epochs=1", "proxy.batch=4", "proxy.repeats=0", &set, &start];
        succeed(program::run(&run, &settings).env("ELITELOOP_DATA", data.path()));
        let out = base.path().join(format!("out-{fit}"));
        let arguments = ["export", run.to_str().unwrap(), "--out", out.to_str().unwrap(), "--candidate", "start/shared"];
        succeed(program::with_data(data.path(), &arguments));

        let card = std::fs::read_to_string(out.join("card.md")).unwrap();
        let word = match fit {
            "crop" => "cut to the largest middle part of the shape 20 x 28",
            "pad" => "scaled to fit into 20 x 28 with black around it",
            _ => "scaled to 20 x 28, its shape changed",
        };
        assert!(card.contains(word) && card.contains("dark red, light") && card.contains("Catmull-Rom"), "{card}");
        let properties: BTreeMap<String, String> = model(&out).metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
        assert_eq!(
            (properties["class_names"].as_str(), properties["fit"].as_str()),
            (r#"["dark red","light"]"#, format!("\"{fit}\"").as_str())
        );
        assert_eq!((properties["height"].as_str(), properties["width"].as_str()), ("20", "28"));
        assert_eq!(serde_json::from_str::<Vec<f32>>(&properties["mean"]).unwrap().len(), 3);

        let Some(python) = python() else {
            crate::needs::skipped("no Python with numpy, pillow, onnxruntime, torch and safetensors, so predict.py was not run");
            continue;
        };
        let sample = candle_core::safetensors::load(out.join("sample.safetensors"), &Device::Cpu).unwrap();
        let ours = sample["logits"].to_vec2::<f32>().unwrap();
        for more in [&["--json"][..], &["--json", "--torch"]] {
            let output = std::process::Command::new(&python).arg(out.join("predict.py")).args(more).args(&pictures).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            let said: Vec<serde_json::Value> =
                String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(said.len(), pictures.len());
            let theirs: Vec<Vec<f32>> = said.iter().map(|line| serde_json::from_value(line["logits"].clone()).unwrap()).collect();
            for row in &ours {
                let apart = |other: &Vec<f32>| row.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let (nearest, at) =
                    theirs.iter().zip(&said).map(|(other, line)| (apart(other), line)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
                assert!(nearest < 1e-3, "{fit} {more:?}: {row:?} is nobody's, the nearest is {nearest} off");
                let best = usize::from(row[1] > row[0]);
                assert_eq!(at["class"], ["dark red", "light"][best]);
            }
        }
    }
}
