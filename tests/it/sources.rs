//! Sources as people have them: what surrounds a network, libraries, Python's own kinds; and how it is told what to make of a file.
//!
//! The right values are PyTorch's (`scripts/goldens/sources.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use eliteloop::tracer::{TraceFailure, TraceOptions, Traced, trace_built};
use predicates::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Goldens {
    sources: BTreeMap<String, Golden>,
    backbones: BTreeMap<String, Backbone>,
}

#[derive(Deserialize)]
struct Golden {
    parameters: usize,
    state_dict: Vec<(String, Vec<usize>)>,
}

#[derive(Deserialize)]
struct Backbone {
    parameters: usize,
    tensors: usize,
    sha256: String,
}

fn goldens() -> Goldens {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/sources.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sources").join(name).with_extension("py")
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn options() -> TraceOptions {
    TraceOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_eliteloop")), ..TraceOptions::new([3, 32, 32], 10) }
}

/// Every name of the state dict, with its shape.
fn state_dict(traced: &Traced) -> Vec<(String, Vec<usize>)> {
    let graph = &traced.graph;
    let further = graph.aliases.iter().map(|(name, tensor)| (name.clone(), graph.tensors[*tensor].shape.clone()));
    graph.tensors.iter().map(|t| (t.name.clone(), t.shape.clone())).chain(further).collect()
}

/// A network around the lines of its constructor; its file begins with `head`.
fn network(head: &str, init: &str) -> String {
    let init = init.lines().fold(String::new(), |all, line| all + "        " + line + "\n");
    format!(
        "import torch\nimport torch.nn as nn\n{head}\n\n\nclass Net(nn.Module):\n    def __init__(self, num_classes=10):\n        super().__init__()\n\
         {init}        self.fc = nn.LazyLinear(num_classes)\n\n    def forward(self, x):\n        return self.fc(x.flatten(1))\n"
    )
}

fn refused(source: &str) -> TraceFailure {
    trace_built(source, &options()).expect_err("a refusal")
}

#[test]
fn sources_as_people_have_them_have_the_names_shapes_and_parameters_of_pytorch() {
    needs!(Minutes);
    let goldens = goldens().sources;
    assert!(goldens.len() >= 40, "{}", goldens.len());
    let mut wrong = Vec::new();
    for (name, golden) in &goldens {
        if name == "numpy_random_forward" {
            continue;
        }
        // Where nothing is said, the size of the position table is the source's own.
        let input = if name == "silent_img_size" { [3, 224, 224] } else { [3, 32, 32] };
        match trace_built(&fixture(name), &TraceOptions { input, ..options() }) {
            Err(failure) => wrong.push(format!("{name}: {failure}")),
            Ok(traced) => {
                let (mut found, mut expected) = (state_dict(&traced), golden.state_dict.clone());
                if traced.graph.aliases.is_empty() {
                    assert_eq!(found, expected, "{name}");
                }
                found.sort();
                expected.sort();
                if found != expected || traced.graph.parameters() != golden.parameters {
                    wrong.push(format!("{name}: {} parameters, not {}: {found:?}", traced.graph.parameters(), golden.parameters));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_differs_from_call_to_call_is_refused_with_its_reason() {
    let failure = refused(&fixture("numpy_random_forward"));
    assert_eq!(failure.to_string(), "line 13: numpy.random.randint in forward is not supported");
}

#[test]
fn ready_made_networks_have_the_names_shapes_and_parameters_of_torchvision() {
    needs!(Minutes);
    let goldens = goldens().backbones;
    assert!(goldens.len() >= 40, "{}", goldens.len());
    // One of each family; scripts/goldens/sources.py has them all.
    for name in [
        "resnet18",
        "resnet50",
        "vgg11_bn",
        "alexnet",
        "squeezenet1_1",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b1",
        "shufflenet_v2_x1_0",
    ] {
        let golden = &goldens[name];
        let source = format!("from torchvision.models import {name}\n\n\ndef make():\n    return {name}(weights=None, num_classes=10)\n");
        let options = TraceOptions { entry: Some("make".into()), input: [3, 64, 64], ..options() };
        let traced = trace_built(&source, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = state_dict(&traced).iter().fold(String::new(), |all, (tensor, shape)| all + &format!("{tensor} {shape:?}\n"));
        assert_eq!(traced.graph.parameters(), golden.parameters, "{name}");
        assert_eq!(traced.graph.tensors.len(), golden.tensors, "{name}");
        assert_eq!(format!("{:x}", Sha256::digest(text.as_bytes())), golden.sha256, "{name}");
    }
}

#[test]
fn weights_to_be_downloaded_are_refused_with_the_reason() {
    for call in
        ["resnet18(weights='DEFAULT')", "resnet18(pretrained=True)", "resnet18(True)", "resnet18(weights=tv.ResNet18_Weights.DEFAULT)"]
    {
        let failure = refused(&network("import torchvision.models as tv", &format!("self.net = tv.{call}")));
        assert!(failure.to_string().contains("leave weights= at None"), "{call}: {failure}");
    }
    for call in ["resnet18()", "resnet18(False)", "resnet18(weights=None)", "resnet18(pretrained=False, progress=True)"] {
        trace_built(&network("import torchvision.models as tv", &format!("self.net = tv.{call}")), &options())
            .unwrap_or_else(|e| panic!("{call}: {e}"));
    }
    let failure = refused(&network("import timm", "self.net = timm.create_model('resnet18')"));
    assert!(failure.to_string().contains("timm.create_model"), "{failure}");
}

#[test]
fn a_loss_may_be_kept_and_not_called() {
    let source = network("", "self.loss = nn.CrossEntropyLoss()")
        .replace("return self.fc(x.flatten(1))", "return self.loss(self.fc(x.flatten(1)), x)");
    let failure = refused(&source);
    assert!(failure.to_string().contains("a loss in forward (torch.nn.CrossEntropyLoss)"), "{failure}");
    let failure = refused(&network("", "self.a = nn.Linear(2, 2)\ntorch.optim.SGD(self.parameters(), 0.1).step()"));
    assert!(failure.to_string().contains("a step of an optimizer"), "{failure}");
}

#[test]
fn numbers_of_numpy_and_of_random_are_those_of_numpy_and_python() {
    // Each line was asked of CPython 3.11 and numpy 2.4.
    let lines = "\
        assert np.round([0.5, 1.5, 2.5]).tolist() == [0.0, 2.0, 2.0] and np.round(1.2345, 2) == 1.23\n\
        assert np.arange(0, 1, 0.25).tolist() == [0.0, 0.25, 0.5, 0.75] and np.arange(5)[::-1].tolist() == [4, 3, 2, 1, 0]\n\
        assert np.linspace(0, 1, 4).tolist() == [0.0, 0.3333333333333333, 0.6666666666666666, 1.0]\n\
        a = np.arange(12).reshape(3, 4)\n\
        assert a.sum(0).tolist() == [12, 15, 18, 21] and a.mean(axis=1).tolist() == [1.5, 5.5, 9.5] and a[a > 8].tolist() == [9, 10, 11]\n\
        assert np.unique([3, 1, 2, 3], return_counts=True)[1].tolist() == [1, 1, 2] and np.std([1, 2, 3, 4]) == 1.118033988749895\n\
        assert np.einsum('m,d->md', np.arange(2.0), np.arange(3.0)).tolist() == [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]\n\
        assert isinstance(np.int64(7) // 2, np.integer) and (np.ceil(7 / 2) * 2).astype(int) == 8 and np.array([1, 2]).dtype == np.int64\n\
        np.random.seed(3)\n\
        assert np.random.rand(2).tolist() == [0.5507979025745755, 0.7081478226181048]\n\
        assert np.random.randint(0, 10, 5).tolist() == [8, 8, 0, 5, 3]\n\
        assert np.random.randn(3).tolist() == [-0.46004212066268363, -0.05792084059435568, 2.077574137112829]\n\
        assert np.random.permutation(6).tolist() == [5, 0, 3, 4, 2, 1] and np.random.choice([4, 5, 6], 2).tolist() == [4, 5]\n\
        random.seed(5)\n\
        assert random.random() == 0.6229016948897019 and random.randint(1, 100) == 95 and random.choice('abcdef') == 'c'\n\
        assert random.uniform(2, 3) == 2.7951935655656968\n\
        x = list(range(10))\n\
        random.shuffle(x)\n\
        assert x == [2, 3, 4, 5, 9, 1, 6, 7, 0, 8] and random.sample(range(50), 7) == [30, 15, 24, 34, 6, 36, 48]\n\
        assert random.sample(range(5), 3) == [0, 1, 3] and random.gauss(0, 1) == -0.4102882238887119\n\
        assert abs(math.erf(2.4) - 0.999311486103355) < 1e-14 and abs(math.erf(2.6) - 0.9997639655834707) < 1e-14";
    trace_built(&network("import math\nimport random\nimport numpy as np", lines), &options()).unwrap_or_else(|e| panic!("{e}"));
    let failure = refused(&network("import numpy as np", "assert np.round(2.5) == 3"));
    assert!(matches!(&failure, TraceFailure::Python { kind, .. } if kind == "AssertionError"), "{failure}");
}

#[test]
fn all_that_a_file_lacks_is_said_at_once_with_the_lines() {
    let source = network(
        "import mmcv\nfrom fvcore.nn import flop_count",
        "self.a = torch.special_thing(3)\nself.b = mmcv.Config()\nflop_count(self)",
    );
    let failure = refused(&source);
    assert_eq!(failure.to_string(), "line 10: torch.special_thing is not supported");
    let hint = failure.hint();
    assert!(
        hint.contains("mmcv.Config (line 11)") && hint.contains("fvcore.nn.flop_count (line 12)") && hint.contains("trace --operations"),
        "{hint}"
    );
}

#[test]
fn an_unsupported_base_has_the_line_of_its_class() {
    let source = "import torch.nn as nn\nimport mmcv\n\n\nclass Block(\n    mmcv.BaseModule\n):\n    a = 1\n\n    def forward(self, x):\n        return x\n";
    let failure = refused(source);
    assert_eq!(failure.to_string(), "line 5: mmcv.BaseModule is not supported");
}

#[test]
fn only_the_classes_and_what_has_no_default_is_passed_and_it_is_said() {
    let traced = trace_built(&fixture("silent_num_channels"), &options()).unwrap();
    assert_eq!(traced.built.to_string(), "Net(num_classes=10)");
    let traced = trace_built(&fixture("argument_name"), &options()).unwrap();
    assert_eq!(traced.built.to_string(), "Net(input_channel=3, n_classes=10)");
    let traced = trace_built(&fixture("factory_of_the_last_class"), &options()).unwrap();
    assert_eq!(traced.built.to_string(), "Deep18()");
    let traced = trace_built(&fixture("timm_vit"), &options()).unwrap();
    assert_eq!(traced.built.to_string(), "small_patch8_32(num_classes=10)");
}

#[test]
fn an_argument_may_be_said() {
    let with = |name: &str, arguments: &[(&str, &str)]| {
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        trace_built(&fixture(name), &TraceOptions { arguments, ..options() })
    };
    let traced = with("silent_num_channels", &[("num_channels", "8 * 2")]).unwrap();
    assert_eq!(traced.graph.tensors[0].shape, [16, 3, 3, 3]);
    assert_eq!(traced.built.to_string(), "Net(num_classes=10, num_channels=16)");
    // A name of the source is that, another word is text.
    let traced = with("enum_choice", &[("pool", "Pool.MAX")]).unwrap();
    assert!(traced.built.to_string().contains("Pool.MAX"), "{}", traced.built);
    let failure = with("enum_choice", &[("depth", "18")]).unwrap_err();
    assert!(failure.to_string().contains("Net() has no argument 'depth'; it takes num_classes, pool"), "{failure}");
    let source = "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self, depth, teacher, num_classes=10):\n        super().__init__()\n";
    let failure = refused(source);
    assert_eq!(failure.to_string(), "line 5: `Net` needs `depth`, `teacher`, and nothing says what to pass");
    assert!(failure.hint().contains("--arg depth=VALUE"), "{}", failure.hint());
}

#[test]
fn an_error_of_the_images_size_says_the_size() {
    let options = TraceOptions { input: [3, 20, 24], ..options() };
    let source = network("", "").replace("x.flatten(1)", "nn.functional.max_pool2d(x, 21).flatten(1)");
    let failure = trace_built(&source, &options).unwrap_err();
    assert!(failure.to_string().contains("(with images of 3x20x24)"), "{failure}");
}

#[test]
fn images_need_not_be_square_and_may_have_one_to_sixteen_channels() {
    let source = "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self, in_chans, img_size, num_classes=10):\n        super().__init__()\n        \
                  h, w = img_size\n        self.conv = nn.Conv2d(in_chans, 4, 3, padding=1)\n        self.fc = nn.Linear(4 * h * w, num_classes)\n\n    \
                  def forward(self, x):\n        return self.fc(self.conv(x).flatten(1))\n";
    for channels in [1, 2, 4, 16] {
        let traced = trace_built(source, &TraceOptions { input: [channels, 40, 48], ..options() }).unwrap();
        assert_eq!(traced.graph.tensors[0].shape, [4, channels, 3, 3]);
        assert_eq!(traced.graph.tensors[2].shape, [10, 4 * 40 * 48]);
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_eliteloop"))
}

#[test]
fn the_verb_says_what_was_made_and_a_shared_tensor_under_both_its_names() {
    program()
        .arg("trace")
        .arg(path("argument_name"))
        .assert()
        .success()
        .stdout(predicate::str::contains("Net(input_channel=3, n_classes=10)"));
    let output = program().arg("trace").arg(path("tied_bias_names")).arg("--json").output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = value["state_dict"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"bias") && names.contains(&"fc.bias"), "{names:?}");
    assert_eq!(value["parameters"], 314);
    assert_eq!(value["entry"], "Net");
    assert_eq!(value["arguments"]["num_classes"], "10");
    let wide = ["--arg", "num_channels=5", "--input", "3x40x48"];
    program()
        .arg("trace")
        .arg(path("silent_num_channels"))
        .args(wide)
        .assert()
        .success()
        .stdout(predicate::str::contains("body.weight  [5, 3, 3, 3]"));
    program().arg("trace").arg(path("enum_choice")).args(["--arg", "pool"]).assert().code(2);
}

#[test]
fn the_known_operations_are_printed() {
    let output = program().args(["trace", "--operations"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line =
        |name: &str| text.lines().find(|l| l.starts_with(&format!("{name}: "))).unwrap_or_else(|| panic!("{name} in {text}")).to_owned();
    let knows = |name: &str, word: &str| line(name).split(' ').any(|w| w == word);
    for (name, word) in [
        ("Tensor", "flatten"),
        ("torch", "cat"),
        ("torch.nn", "Conv2d"),
        ("torch.nn", "CrossEntropyLoss"),
        ("torch.nn.functional", "relu"),
        ("torch.nn.init", "normal_"),
        ("torch.optim", "SGD"),
        ("numpy", "linspace"),
        ("einops", "rearrange"),
        ("timm", "DropPath"),
        ("torchvision.models", "resnet18"),
        ("enum", "IntEnum"),
    ] {
        assert!(knows(name, word), "{name}.{word}");
    }
    assert!(!knows("torch", "fft") && !text.contains("Unsupported"), "{text}");
}
