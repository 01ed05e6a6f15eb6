//! From a source to a graph: equal to PyTorch's state dicts, and clear about what it refuses.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use eliteloop::tracer::graph::{Dim, Graph, Init, Law, Op, Role};
use eliteloop::tracer::{TraceFailure, TraceOptions, cost, trace};
use predicates::prelude::*;
use serde_json::Value;

use crate::program::succeed;

fn options() -> TraceOptions {
    TraceOptions { program: PathBuf::from(env!("CARGO_BIN_EXE_eliteloop")), ..TraceOptions::new([3, 32, 32], 10) }
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks").join(name).with_extension("py");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A network around one `forward`, with `fc` to finish with.
fn network(init: &str, forward: &str) -> String {
    let indent = |text: &str| text.lines().fold(String::new(), |all, line| all + "        " + line + "\n");
    format!(
        "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n\nclass Net(nn.Module):\n    def __init__(self, num_classes=10):\n        \
         super().__init__()\n{}\n    def forward(self, x):\n{}",
        indent(init),
        indent(forward)
    )
}

fn traced(init: &str, forward: &str) -> Graph {
    trace(&network(init, forward), &options()).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(init: &str, forward: &str) -> TraceFailure {
    trace(&network(init, forward), &options()).expect_err("a refusal")
}

#[test]
fn state_dicts_parameters_and_outputs_are_those_of_pytorch() {
    needs!(Minutes);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/networks.json");
    let goldens: serde_json::Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(goldens.len() >= 20);
    for (name, golden) in &goldens {
        let graph = trace(&fixture(name), &options()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let state: Vec<(&str, Vec<usize>)> = graph.tensors.iter().map(|t| (t.name.as_str(), t.shape.clone())).collect();
        let expected: Vec<(&str, Vec<usize>)> = serde::Deserialize::deserialize(&golden["state_dict"]).unwrap();
        assert_eq!(state, expected, "{name}");
        assert_eq!(graph.parameters() as u64, golden["parameters"].as_u64().unwrap(), "{name}");
        let output: Vec<u64> = graph.nodes[graph.output].shape[1..].iter().map(|d| d.at(1) as u64).collect();
        assert_eq!(Value::from(output), golden["output"], "{name}");
        assert_eq!(graph.nodes[graph.output].shape[0], Dim::Batch(1), "{name}");
    }
}

#[test]
fn a_graph_survives_its_json() {
    let graph = trace(&fixture("attention"), &options()).unwrap();
    let text = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
}

#[test]
fn tracing_twice_gives_the_same_graph() {
    assert_eq!(trace(&fixture("recursive"), &options()), trace(&fixture("recursive"), &options()));
}

#[test]
fn tensors_start_from_the_distributions_of_pytorch() {
    let graph = traced(
        "self.conv = nn.Conv2d(3, 8, 3, groups=1)\n\
         self.norm = nn.BatchNorm2d(8)\n\
         self.fc = nn.LazyLinear(num_classes)\n\
         self.a = nn.Parameter(torch.randn(8, 1, 1) * 0.5 + 2)\n\
         self.b = nn.Parameter(torch.rand(8, 1, 1) - 0.5, requires_grad=False)\n\
         self.c = nn.Parameter(torch.tensor([1.0, 2.0]))\n\
         self.w = nn.Linear(4, 6, bias=False)\n\
         nn.init.kaiming_normal_(self.w.weight, mode='fan_out', nonlinearity='relu')",
        "return self.fc((self.norm(self.conv(x)) * self.a + self.b).mean((2, 3)))",
    );
    let of = |name: &str| graph.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let near = |init: &Init, numbers: [f64; 2]| {
        let found = match init {
            Init::Uniform { low, high } => [*low, *high],
            Init::Normal { mean, std } => [*mean, *std],
            other => panic!("{other:?}"),
        };
        assert!(found.iter().zip(numbers).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {numbers:?}");
    };
    let bound = (1.0_f64 / 27.0).sqrt();
    near(&of("conv.weight").init, [-bound, bound]);
    near(&of("conv.bias").init, [-bound, bound]);
    let bound = (1.0_f64 / 8.0).sqrt();
    near(&of("fc.weight").init, [-bound, bound]);
    near(&of("a").init, [2.0, 0.5]);
    near(&of("b").init, [-0.5, 0.5]);
    near(&of("w.weight").init, [0.0, (2.0_f64 / 6.0).sqrt()]);
    assert_eq!(of("norm.weight").init, Init::Constant(1.0));
    assert_eq!(of("c").init, Init::Values(vec![1.0, 2.0]));
    let roles =
        [("a", Role::Parameter), ("b", Role::Frozen), ("norm.running_var", Role::Buffer), ("norm.num_batches_tracked", Role::Counter)];
    for (name, role) in roles {
        assert_eq!(of(name).role, role, "{name}");
    }
}

#[test]
fn in_place_operations_change_what_others_hold() {
    let forward = |change: &str| {
        let graph =
            traced("self.fc = nn.LazyLinear(num_classes)", &format!("x = x * 2\ny = x\n{change}\nreturn self.fc((y + x).flatten(1))"));
        let add = graph.nodes.iter().find(|n| matches!(n.op, Op::Binary(_))).unwrap();
        (add.inputs[0] == add.inputs[1], graph.nodes.len())
    };
    assert_eq!(forward("F.relu(x, inplace=True)"), (true, 6));
    assert_eq!(forward("x = F.relu(x)"), (false, 6));
    assert_eq!(forward("y = x.clone()\nx.relu_()"), (false, 6));
    // A view of a tensor that was changed through another view is refused rather than got wrong.
    let failure = refused("self.fc = nn.LazyLinear(num_classes)", "y = x.flatten(1)\nx.mul_(2)\nreturn self.fc(y)");
    assert!(matches!(failure, TraceFailure::Unsupported { .. }), "{failure}");
}

#[test]
fn unused_operations_are_left_out_but_not_their_tensors() {
    let graph =
        traced("self.fc = nn.LazyLinear(num_classes)\nself.spare = nn.Conv2d(3, 4, 1)", "self.spare(x)\nreturn self.fc(x.flatten(1))");
    assert_eq!(graph.nodes.len(), 3);
    assert!(graph.tensors.iter().any(|t| t.name == "spare.weight"));
}

#[test]
fn classes_and_channels_reach_the_constructor_by_name() {
    let source = |arguments: &str, classes: &str| {
        format!(
            "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self{arguments}):\n        super().__init__()\n        \
             self.fc = nn.LazyLinear({classes})\n\n    def forward(self, x):\n        return self.fc(x.flatten(1))\n"
        )
    };
    let options = TraceOptions { classes: 7, input: [1, 8, 8], ..options() };
    for (arguments, classes) in [
        ("", "7"),
        (", num_classes", "num_classes"),
        (", num_classes=10", "num_classes"),
        (", in_channels, num_classes", "num_classes + in_channels - 1"),
        (", num_classes: int = 100, in_channels=1", "num_classes * in_channels"),
        (", *, n_classes", "n_classes"),
        (", outputs", "outputs"),
        (", width=64, *args, **kwargs", "7"),
    ] {
        trace(&source(arguments, classes), &options).unwrap_or_else(|e| panic!("({arguments}): {e}"));
    }
    let failure = trace(&source(", depth, teacher", "7"), &options).unwrap_err();
    assert!(matches!(&failure, TraceFailure::Arguments { names, .. } if names[0] == "depth" && names[1] == "teacher"), "{failure}");
    let failure = trace(&source("", "10"), &options).unwrap_err();
    assert_eq!(failure, TraceFailure::WrongOutput { found: "[N, 10]".into(), expected: "[N, 7]".into() });
}

#[test]
fn the_constructor_of_the_lemur_data_set_gets_its_shapes_and_hyperparameters() {
    let source = "import torch.nn as nn\n\n\ndef supported_hyperparameters():\n    return {'lr', 'width'}\n\n\nclass Net(nn.Module):\n    \
                  def __init__(self, in_shape: tuple, out_shape: tuple, prm: dict, device) -> None:\n        super().__init__()\n        \
                  self.to(device)\n        assert len(in_shape) == 4 and prm['lr'] > 0\n        self.conv = nn.Conv2d(in_shape[1], int(prm['width'] * 8), 3)\n        \
                  self.fc = nn.LazyLinear(out_shape[0])\n\n    def forward(self, x):\n        return self.fc(self.conv(x).flatten(1))\n";
    let options = TraceOptions { classes: 7, input: [1, 8, 8], ..options() };
    let graph = trace(source, &options).unwrap();
    assert_eq!(graph.tensors[0].shape, [4, 1, 3, 3]);
    assert_eq!(graph.tensors[2].shape, [7, 4 * 36]);
    let failure = trace(&source.replace("prm['width']", "prm['depth']"), &options).unwrap_err();
    assert!(matches!(&failure, TraceFailure::Python { kind, .. } if kind == "KeyError"), "{failure}");
}

#[test]
fn keywords_of_a_factory_carry_the_classes_and_what_is_said() {
    let source = "import torch.nn as nn\n\n\nclass Deep(nn.Module):\n    def __init__(self, block, n_classes=1000, img_size=224):\n        \
                  super().__init__()\n        self.fc = block(3 * img_size**2, n_classes)\n\n    def forward(self, x):\n        \
                  return self.fc(x.flatten(1))\n\n\ndef deep(pretrained=False, **kwargs):\n    return Deep(nn.Linear, **kwargs)\n";
    let options = TraceOptions { classes: 7, input: [3, 8, 8], ..options() };
    let said = vec![("img_size".to_owned(), "8".to_owned())];
    let graph = trace(source, &TraceOptions { arguments: said.clone(), ..options.clone() }).unwrap();
    assert_eq!(graph.tensors[0].shape, [7, 192]);
    let failure = trace(source, &TraceOptions { entry: Some("Deep".into()), arguments: said, ..options.clone() }).unwrap_err();
    assert!(failure.to_string().contains("`block`") && failure.hint().contains("--arg"), "{failure}");
    // The default of the image's size is the source's word.
    assert!(trace(source, &options).is_err());
}

#[test]
fn what_forward_draws_is_drawn_in_each_step_and_switched_off_with_training() {
    for (draw, law) in [
        ("noise = 0.75 + torch.rand((x.shape[0], 1, 1, 1))\nnoise.floor_()", Law::Uniform { low: 0.0, high: 1.0 }),
        ("noise = torch.empty(x.shape[0], 1, 1, 1).bernoulli_(0.75)", Law::Bernoulli { p: 0.75 }),
        ("noise = torch.randn(x.shape[0], 1, 1, 1)", Law::Normal { mean: 0.0, std: 1.0 }),
    ] {
        let indented: String = draw.lines().fold(String::new(), |all, line| all + "    " + line + "\n");
        let source = format!("if self.training:\n{indented}    x = x.div(0.75) * noise\nreturn self.fc(x.flatten(1))");
        let graph = traced("self.fc = nn.LazyLinear(num_classes)", &source);
        let at = graph.nodes.iter().position(|n| matches!(&n.op, Op::Random { law: found, .. } if *found == law)).expect(draw);
        assert_eq!(graph.nodes[at].shape, [Dim::Batch(1), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)]);
        assert_eq!((graph.needed(true)[at], graph.needed(false)[at]), (true, false), "{draw}");
        // Without the condition PyTorch draws in evaluation too.
        let always = traced("self.fc = nn.LazyLinear(num_classes)", &format!("{draw}\nreturn self.fc((x * noise).flatten(1))"));
        assert!(always.nodes.iter().zip(always.needed(false)).any(|(n, needed)| needed && matches!(n.op, Op::Random { .. })));
    }
    // A tensor that is drawn once and stays is neither.
    let failure =
        refused("self.noise = torch.randn(3, 1, 1)\nself.fc = nn.LazyLinear(num_classes)", "return self.fc((x + self.noise).flatten(1))");
    assert!(matches!(&failure, TraceFailure::Unsupported { name, .. } if name.starts_with("a random tensor in forward")), "{failure}");
}

#[test]
fn dropout_alone_is_no_difference_between_the_modes() {
    let graph = traced("self.drop = nn.Dropout(0.2)\nself.fc = nn.LazyLinear(num_classes)", "return self.fc(self.drop(x).flatten(1))");
    assert_eq!(graph.nodes.len(), 4);
    let graph = traced("self.fc = nn.LazyLinear(num_classes)", "x = x * 2 if self.training else x.exp()\nreturn self.fc(x.flatten(1))");
    assert_eq!(graph.nodes.iter().filter(|n| n.op == Op::Switch).count(), 1);
}

/// Sources of `tests/fixtures/operations`: their values and gradients are compared by `scripts/goldens/standin.py`.
#[test]
fn networks_of_choices_masks_and_computed_weights_have_pytorchs_parameters() {
    needs!(Minutes);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/operations");
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let expected: usize = source.lines().find_map(|l| l.strip_prefix("# PyTorch: ")?.split(' ').next()?.parse().ok()).unwrap();
        let graph = trace(&source, &options()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(graph.parameters(), expected, "{}", path.display());
        found.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    // What real sources were refused for once.
    for name in [
        "autograd_function",
        "drop_path_compare",
        "embedding_bias",
        "gate_noise_in_training",
        "log1p_softplus",
        "meshgrid_relpos",
        "shifted_window_mask",
        "topk_gate",
        "unfold",
        "where_activation",
    ] {
        assert!(found.iter().any(|file| file == name), "{name} among {found:?}");
    }
}

/// The case `register_deform` was refused once; what there is no operation for is, with its line, and not computed as another.
#[test]
fn a_deformable_convolution_is_traced_and_what_is_unknown_refused_by_its_name() {
    let source = |name: &str| {
        format!(
            "import torch\nimport torch.nn as nn\nfrom torchvision.ops import {name}\n\n\nclass Net(nn.Module):\n    \
             def __init__(self, num_classes=10):\n        super().__init__()\n        \
             self.off = nn.Conv2d(3, 18, 3, padding=1)\n        self.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))\n        \
             self.fc = nn.Linear(8, num_classes)\n\n    def forward(self, x):\n        \
             return self.fc({name}(x, self.off(x), self.weight, padding=1).mean((2, 3)))\n"
        )
    };
    assert_eq!(trace(&source("deform_conv2d"), &options()).unwrap().parameters(), 810, "PyTorch's");
    let failure = trace(&source("roi_align"), &options()).unwrap_err();
    assert!(matches!(&failure, TraceFailure::Unsupported { name, .. } if name == "torchvision.ops.roi_align"), "{failure}");
}

/// A source whose second layer normalises as `class` says.
fn normalised(class: &str) -> String {
    format!(
        "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n\n{class}\n\nclass Net(nn.Module):\n    \
         def __init__(self, num_classes=10):\n        super().__init__()\n        self.conv = nn.Conv2d(3, 8, 3, stride=2)\n        \
         self.norm = Norm(8)\n        self.fc = nn.Linear(8, num_classes)\n\n    def forward(self, x):\n        \
         return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))\n"
    )
}

/// Copies of PyTorch's own code: statistics as buffers, moved by `F.batch_norm`; `count` counts its batches.
fn own_norm(count: &str) -> String {
    let counter = if count.is_empty() { "" } else { "        self.register_buffer('num_batches_tracked', torch.tensor(0))\n" };
    let count = if count.is_empty() { String::new() } else { format!("        if self.training:\n            {count}\n") };
    normalised(&format!(
        "class Norm(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n        \
         self.weight = nn.Parameter(torch.ones(n))\n        self.bias = nn.Parameter(torch.zeros(n))\n        \
         self.register_buffer('running_mean', torch.zeros(n))\n        self.register_buffer('running_var', torch.ones(n))\n\
         {counter}\n    def forward(self, x):\n{count}        \
         return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, 1e-5)\n"
    ))
}

#[test]
fn a_normalisation_that_keeps_its_statistics_itself_is_pytorchs_own() {
    let seen = |source: &str| {
        let graph = trace(source, &options()).unwrap();
        let nodes: Vec<_> = graph.nodes.iter().map(|node| (node.op.clone(), node.inputs.clone(), node.tensors.clone())).collect();
        (nodes, graph.tensors)
    };
    let own = seen(&normalised("Norm = nn.BatchNorm2d\n"));
    for count in
        ["self.num_batches_tracked += 1", "self.num_batches_tracked.add_(1)", "self.num_batches_tracked = self.num_batches_tracked + 1"]
    {
        assert_eq!(seen(&own_norm(count)), own, "{count}");
    }
    // Whoever counts no batches has a tensor less.
    let (nodes, tensors) = seen(&own_norm(""));
    assert_eq!((nodes.len(), tensors.len() + 1), (own.0.len(), own.1.len()));
    // What no normalisation would count, and what would be read of the count, is refused.
    for count in ["self.num_batches_tracked += 2", "self.running_mean += 1", "x = x * (self.num_batches_tracked.add_(1))"] {
        assert!(matches!(trace(&own_norm(count), &options()), Err(TraceFailure::Unsupported { .. })), "{count}");
    }
}

/// Trained, they come to the same network.
#[test]
fn statistics_that_a_source_keeps_itself_move_as_those_of_pytorchs_layer() {
    needs!(Minutes);
    let folder = tempfile::tempdir().unwrap();
    let trained = |name: &str, source: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, source).unwrap();
        let mut command = crate::program::program(&["eval", "--dataset", "synthetic", "--epochs", "2", "--train-images", "128", "--json"]);
        let found: Value = serde_json::from_str(&succeed(command.arg(&file))).unwrap();
        found["trainings"].as_array().unwrap().iter().map(|one| one["outcome"]["curve"].clone()).collect::<Vec<_>>()
    };
    let own = trained("own.py", &normalised("Norm = nn.BatchNorm2d\n"));
    // The validation losses are by the statistics.
    assert!(own[0][1]["valid_loss"].as_f64().is_some_and(|loss| loss > 0.0), "{own:?}");
    assert_eq!(trained("counted.py", &own_norm("self.num_batches_tracked += 1")), own);
    assert_eq!(trained("uncounted.py", &own_norm("")), own);
}

#[test]
fn what_would_have_another_gradient_or_value_is_refused_by_name() {
    for (init, forward, part) in [
        ("self.register_buffer('n', torch.zeros(1))", "self.n.add_(1)\nreturn x", "a change of a parameter or buffer in forward"),
        (
            "self.fc = nn.Linear(3072, 10)",
            "self.fc.weight.data.clamp_(0, 1)\nreturn self.fc(x.flatten(1))",
            "a change of a parameter or buffer",
        ),
        ("self.e = nn.Embedding(4, 3, padding_idx=0)", "return x", "padding_idx"),
        ("", "return x[x > 0]", "depends on the values of a tensor"),
        ("", "return x // 2", "the operator //"),
        ("", "if (x > 0).any():\n    x = x + 1\nreturn x", "a condition depends on the values of a tensor"),
    ] {
        let failure = refused(init, forward);
        assert!(failure.to_string().contains(part), "{failure}");
    }
    let source = network("self.fc = nn.LazyLinear(10)", "return self.fc(Sum.apply(x).flatten(1))").replace(
        "class Net",
        "class Sum(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        return x * 2\n\n    @staticmethod\n    \
         def backward(ctx, g):\n        return g.mean(1, keepdim=True).expand_as(g)\n\n\nclass Net",
    );
    let failure = trace(&source, &options()).unwrap_err();
    assert!(failure.to_string().contains("the backward of the autograd.Function Sum"), "{failure}");
}

#[test]
fn tables_of_indices_and_masks_keep_their_types_and_infinities() {
    let graph = traced(
        "self.register_buffer('at', torch.arange(6).view(2, 3) % 4)\nself.register_buffer('mask', torch.triu(torch.full((2, 2), float('-inf')), 1))\n\
         self.table = nn.Embedding(4, 5)\nself.fc = nn.LazyLinear(num_classes)",
        "bias = self.table(self.at).sum()\nreturn self.fc((x.mean((2, 3))[:, :2].unsqueeze(1) + self.mask).softmax(-1).flatten(1) + bias)",
    );
    let of = |name: &str| graph.tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!((of("at").role, &of("at").init), (Role::Counter, &Init::Values(vec![0., 1., 2., 3., 0., 1.])));
    assert_eq!((of("mask").role, &of("mask").init), (Role::Buffer, &Init::Values(vec![0.0, f32::NEG_INFINITY, 0.0, 0.0])));
    let failure = refused("self.e = nn.Embedding(3, 2)", "return self.e(torch.arange(4))");
    assert!(failure.to_string().contains("index 3 is out of bounds"), "{failure}");
}

#[test]
fn what_a_source_computes_itself_may_be_assigned_by_parts() {
    let graph = traced(
        "table = torch.zeros(2, 3)\ntable[0, 0::2] = torch.tensor([1.0, 2.0])\ntable[1] = 5\nself.register_buffer('table', table)\nself.fc = nn.LazyLinear(num_classes)",
        "return self.fc(x.mean(3)[:, :, :2].transpose(1, 2) .add(self.table).flatten(1))",
    );
    assert_eq!(graph.tensors[0].init, Init::Values(vec![1.0, 0.0, 2.0, 5.0, 5.0, 5.0]));
    let graph = traced("self.fc = nn.LazyLinear(num_classes)", "x = x * 2\nx[:, 0] = 0\nreturn self.fc(x.flatten(1))");
    assert!(graph.nodes.iter().any(|n| n.op == Op::Cat { dim: 1 }));
    let failure = refused("", "x = x * 2\nx[0] = 0\nreturn x.flatten(1)[:, :10]");
    assert!(failure.to_string().contains("batch"), "{failure}");
}

#[test]
fn another_entry_is_a_class_or_a_function() {
    let source = format!(
        "{}\n\n\ndef small():\n    return Net()\n\n\nclass Other(Net):\n    pass\n",
        network("self.fc = nn.LazyLinear(10)", "return self.fc(x.flatten(1))")
    );
    for entry in ["Net", "Other", "small"] {
        trace(&source, &TraceOptions { entry: Some(entry.into()), ..options() }).unwrap_or_else(|e| panic!("{entry}: {e}"));
    }
    let failure = trace(&source, &TraceOptions { entry: Some("large".into()), ..options() }).unwrap_err();
    assert_eq!(failure, TraceFailure::NoNetwork { wanted: Some("large".into()) });
}

#[test]
fn what_is_not_supported_is_named_with_its_line() {
    for (init, forward, name, line) in [
        ("self.c = nn.ConvTranspose3d(3, 4, 3)", "return x", "torch.nn.ConvTranspose3d", 9),
        ("", "return torch.fft.fft(x)", "torch.fft.fft", 11),
        ("", "return x.cummax(1)", "Tensor.cummax", 11),
        ("", "import cv2\nreturn cv2.blur(x)", "cv2.blur", 12),
        ("", "import cv2\nreturn x * cv2.pi", "cv2.pi", 12),
        ("", "import torchvision.ops as ops\nreturn ops.roi_align(x, x, x)", "torchvision.ops.roi_align", 12),
        ("", "from .blocks import fold\nreturn fold(x)", ".blocks.fold", 12),
    ] {
        let failure = refused(init, forward);
        assert_eq!(failure, TraceFailure::Unsupported { name: name.into(), line: Some(line), also: vec![] });
    }
    // Unknown imports and annotations are harmless until they are used.
    let source = network("self.fc = nn.LazyLinear(num_classes)", "return self.fc(x.flatten(1))");
    let source = format!(
        "import numpy as np\nfrom torchvision.models import resnet18, ResNet\nimport torchvision.transforms as T\nfrom .local import thing\n{source}\n\n\ndef unused(a: np.ndarray) -> T.Compose:\n    return resnet18(a)\n"
    );
    trace(&source, &options()).unwrap();
}

#[test]
fn mistakes_are_pytorchs_mistakes_with_their_line() {
    for (init, forward, part, line) in [
        ("self.c = nn.Conv2d(4, 8, 3)", "return self.c(x)", "to have 4 channels, but got 3 channels", 12),
        ("self.fc = nn.Linear(100, 10)", "return self.fc(x.flatten(1))", "cannot be multiplied", 12),
        ("self.c = nn.Conv2d(3, 8, 3, groups=2)", "return x", "in_channels must be divisible by groups", 9),
        ("", "return x.view(-1, 7)", "is invalid for input of size", 11),
        ("", "return self.missing(x)", "'Net' object has no attribute 'missing'", 11),
        ("", "return torch.cat([x, x[:, :, 1:]], 1)", "concatenation", 11),
        ("", "return x + x[:, :2]", "do not broadcast", 11),
    ] {
        let failure = refused(init, forward);
        assert!(failure.to_string().contains(part), "{failure}");
        assert_eq!(failure.line(), Some(line), "{failure}");
        assert!(matches!(failure, TraceFailure::Python { .. }), "{failure}");
    }
}

#[test]
fn costs_count_by_hand() {
    let graph = traced(
        "self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)\nself.fc = nn.Linear(8, num_classes)",
        "return self.fc(self.conv(x).mean((2, 3)))",
    );
    let cost = cost::cost(&graph);
    assert_eq!(cost.parameters, 8 * 27 + 8 + 80 + 10);
    assert_eq!(cost.macs, 16 * 16 * 8 * 27 + 80);
    assert_eq!(cost.activation_bytes, 4 * (3 * 32 * 32 + 8 * 16 * 16 + 8 + 10));
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_eliteloop"))
}

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_verb_prints_a_table_or_json() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks/plain.py");
    let table = predicate::str::contains("features.0.weight").and(predicate::str::contains("5,482 parameters"));
    program().arg("trace").arg(&path).assert().success().stdout(table);
    let output = program().arg("trace").arg(&path).args(["--input", "3x32x32", "--json"]).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["parameters"], 5482);
    assert_eq!(value["state_dict"][0]["name"], "features.0.weight");
    serde_json::from_value::<Graph>(value["graph"].clone()).unwrap();
}

#[test]
fn the_verb_says_where_a_source_is_wrong() {
    let broken = file(b"import torch\nclass Net(:\n");
    let located = predicate::str::contains(format!("{}:2: syntax error", broken.path().display())).and(predicate::str::contains("hint:"));
    program().arg("trace").arg(broken.path()).assert().code(2).stderr(located);
    let latin = file(b"# caf\xe9\nimport torch\n");
    program().arg("trace").arg(latin.path()).assert().code(2).stderr(predicate::str::contains(":1: not UTF-8"));
    program().args(["trace", "/nowhere/net.py"]).assert().code(2).stderr(predicate::str::contains("cannot read /nowhere/net.py"));
    program().args(["trace", "x.py", "--input", "3x0x32"]).assert().code(2);
}
