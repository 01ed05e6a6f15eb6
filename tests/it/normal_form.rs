//! Ordinary sources to their normal form and back: the network stays the same, and what cannot be rewritten stays as it is.

use std::path::Path;

use eliteloop::tracer::canonical;
use eliteloop::tracer::graph::Graph;
use eliteloop::tracer::normal_form::{Form, normal, ordinary};
use eliteloop::tracer::{TraceOptions, trace};

fn options() -> TraceOptions {
    TraceOptions { program: env!("CARGO_BIN_EXE_eliteloop").into(), ..TraceOptions::new([3, 32, 32], 10) }
}

fn traced(source: &str) -> Graph {
    trace(source, &options()).unwrap_or_else(|e| panic!("{e}\n{source}"))
}

fn normal_of(source: &str) -> Form {
    normal(source, &traced(source), &options()).unwrap()
}

fn ordinary_of(source: &str) -> Form {
    ordinary(source, &traced(source), &options()).unwrap()
}

/// A network in the style of tutorials: every width written out.
const TUTORIAL: &str = r#"import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    """Two convolutions: nn.Conv2d(3, 16, 3) and another."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(in_channels=16, out_channels=32, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(num_features=32)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(32 * 8 * 8, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = x.view(-1, 32 * 8 * 8)
        return self.fc(x)
"#;

/// One line makes the convolutions of three blocks, each of another width.
const BLOCKS: &str = r"from torch import nn


class Block(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.conv = nn.Conv2d(
            width,
            out,
            3,
            padding=1,
        )
        self.norm = nn.GroupNorm(4, out)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.body = nn.Sequential(Block(3, 8), nn.MaxPool2d(4), Block(8, 16), nn.MaxPool2d(4), Block(16, 8))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, num_classes))

    def forward(self, x):
        return self.head(self.body(x))
";

#[test]
fn widths_that_are_read_are_left_to_lazy_modules() {
    let form = normal_of(TUTORIAL);
    assert_eq!((form.rewritten, form.places), (6, 6));
    for line in [
        "    \"\"\"Two convolutions: nn.Conv2d(3, 16, 3) and another.\"\"\"",
        "self.conv1 = nn.LazyConv2d(16, 3, padding=1)",
        "self.bn1 = nn.LazyBatchNorm2d()",
        "self.conv2 = nn.LazyConv2d(out_channels=32, kernel_size=3, padding=1)",
        "self.bn2 = nn.LazyBatchNorm2d()",
        "self.fc = nn.LazyLinear(10)",
        "x = x.flatten(1)",
    ] {
        assert!(form.source.contains(line), "{line}\n{}", form.source);
    }
    assert_eq!(traced(&form.source).tensors, traced(TUTORIAL).tensors);
    assert_eq!(canonical::hash(&traced(&form.source)).unwrap(), canonical::hash(&traced(TUTORIAL)).unwrap());
    assert_eq!(normal_of(&form.source), Form { source: form.source.clone(), rewritten: 0, places: 0 }, "it is its own normal form");
}

#[test]
fn a_wider_layer_does_not_break_the_next_line_any_more() {
    let wider = |source: &str| source.replacen("16, 3, padding=1", "24, 3, padding=1", 1);
    trace(&wider(TUTORIAL), &options()).expect_err("the layers after it read 16 channels");
    assert!(traced(&wider(&normal_of(TUTORIAL).source)).tensors.iter().any(|t| t.shape == [32, 24, 3, 3]));
}

#[test]
fn the_ordinary_form_has_the_widths_of_the_trace() {
    let back = ordinary_of(&normal_of(TUTORIAL).source);
    assert_eq!((back.rewritten, back.places), (5, 5));
    for line in
        ["nn.Conv2d(3, 16, 3, padding=1)", "nn.BatchNorm2d(16)", "nn.Conv2d(16, out_channels=32, kernel_size=3", "nn.Linear(2048, 10)"]
    {
        assert!(back.source.contains(line), "{line}\n{}", back.source);
    }
    assert!(!back.source.contains("Lazy"));
    assert_eq!(traced(&back.source).tensors, traced(TUTORIAL).tensors);
    assert_eq!(ordinary_of(TUTORIAL).source, TUTORIAL, "what is ordinary stays as it is");
}

#[test]
fn a_line_of_several_widths_is_lazy_in_both_forms() {
    needs!(Minutes);
    let form = normal_of(BLOCKS);
    assert_eq!((form.rewritten, form.places), (2, 2));
    assert!(form.source.contains("nn.LazyConv2d(\n            out,\n            3,"), "{}", form.source);
    let back = ordinary_of(&form.source);
    assert_eq!((back.rewritten, back.places), (1, 2));
    assert!(back.source.contains("nn.LazyConv2d(") && back.source.contains("nn.Linear(32, num_classes)"), "{}", back.source);
    assert_eq!(traced(&back.source).tensors, traced(BLOCKS).tensors);
}

#[test]
fn what_a_source_reads_back_or_names_by_itself_is_left() {
    let read_back = TUTORIAL.replace("        return self.fc(x)", "        assert self.conv1.in_channels == 3\n        return self.fc(x)");
    let in_constructor = TUTORIAL
        .replace("        self.pool =", "        self.twice = nn.Parameter(torch.zeros(self.conv2.weight.shape[1]))\n        self.pool =");
    let in_forward = in_constructor.replace("return self.fc(x)", "return self.fc(x) + self.twice.sum()");
    let form = normal_of(&in_forward);
    assert!(
        form.source.contains("nn.Conv2d(in_channels=16, out_channels=32"),
        "its weight is looked at before it is known: {}",
        form.source
    );
    assert_eq!((form.rewritten, form.places), (5, 6));
    assert_eq!(normal_of(&read_back).rewritten, 6, "a lazy layer knows its width once it ran");
    let by_name =
        TUTORIAL.replace("nn.Linear", "Linear").replace("import torch.nn as nn\n", "import torch.nn as nn\nfrom torch.nn import Linear\n");
    assert!(normal_of(&by_name).source.contains("self.fc = Linear(32 * 8 * 8, 10)"));
}

#[test]
fn every_network_of_the_fixtures_stays_the_same_there_and_back() {
    needs!(Minutes);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks");
    let (mut rewritten, mut places) = (0, 0);
    for name in
        ["depthwise", "factory", "highway", "inception", "module_list", "positional", "residual", "shared", "shuffle", "squeeze_excite"]
    {
        let source = std::fs::read_to_string(folder.join(name).with_extension("py")).unwrap();
        let graph = traced(&source);
        let form = normal(&source, &graph, &options()).unwrap();
        let there = traced(&form.source);
        let back = ordinary(&form.source, &there, &options()).unwrap();
        for graph_of in [&there, &traced(&back.source)] {
            assert_eq!(graph_of.tensors, graph.tensors, "{name}");
            assert_eq!(canonical::hash(graph_of).unwrap(), canonical::hash(&graph).unwrap(), "{name}");
        }
        rewritten += form.rewritten;
        places += form.places;
    }
    assert!(rewritten * 10 >= places * 7 && places >= 20, "{rewritten} of {places}");
}
