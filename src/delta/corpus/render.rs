//! From structure to source text.

use std::fmt::Write as _;

use super::network::{Activation, Block, Kind, Layout, Map, Network, Norm, Pool, Pooling, Style, Unit, depthwise, squeezed};

/// The source of a network: a file that runs as it is.
#[must_use]
pub fn render(network: &Network) -> String {
    let style = &network.style;
    let mut page = Page { text: String::new(), step: style.indent };
    page.line(0, "import torch");
    page.line(0, if style.names == 3 { "from torch import nn" } else { "import torch.nn as nn" });
    if !(style.head_inside && matches!(style.layout, Layout::Flat | Layout::Loop)) {
        page.line(0, "import torch.nn.functional as F");
    }
    page.gap(style);
    if style.layout == Layout::Helper {
        helpers(&mut page, network);
    }
    page.line(0, "class Net(nn.Module):");
    page.line(1, if style.classes { "def __init__(self, num_classes=10):" } else { "def __init__(self):" });
    page.line(2, "super().__init__()");
    let mut forward = Vec::new();
    match style.layout {
        Layout::Flat | Layout::Helper => sequence_of_all(&mut page, &mut forward, network),
        Layout::Loop => looped(&mut page, &mut forward, network),
        Layout::Staged | Layout::Layers => {
            for (block, map) in network.blocks.iter().zip(network.maps()) {
                match style.layout {
                    Layout::Staged => staged(&mut page, &mut forward, style, block, map),
                    _ => layered(&mut page, &mut forward, style, block, map),
                }
            }
        }
    }
    if !inside(style) {
        head(&mut page, &mut forward, network);
    }
    page.line(0, "");
    page.line(1, "def forward(self, x):");
    let last = forward.len() - 1;
    for (i, line) in forward.iter().enumerate() {
        page.line(2, &if i == last { line.replacen("x = ", "return ", 1) } else { line.clone() });
    }
    page.text
}

struct Page {
    text: String,
    step: usize,
}

impl Page {
    fn line(&mut self, level: usize, line: &str) {
        if !line.is_empty() {
            self.text.extend(std::iter::repeat_n(' ', level * self.step));
            self.text.push_str(line);
        }
        self.text.push('\n');
    }

    fn gap(&mut self, style: &Style) {
        self.text.push_str(if style.compact { "\n" } else { "\n\n" });
    }

    /// `self.name = nn.Sequential(layers)`; a single layer stands alone.
    fn sequence(&mut self, style: &Style, name: &str, layers: &[String]) {
        if let [only] = layers {
            return self.line(2, &format!("self.{name} = {only}"));
        }
        let short = format!("self.{name} = nn.Sequential({})", layers.join(", "));
        if style.compact && short.len() <= 100 {
            return self.line(2, &short);
        }
        self.line(2, &format!("self.{name} = nn.Sequential("));
        for layer in layers {
            self.line(3, &format!("{layer},"));
        }
        self.line(2, ")");
    }
}

/// Names of the parts, by [`Style::names`].
fn name(style: &Style, part: &str) -> &'static str {
    let names = match part {
        "features" => ["features", "layers", "body", "backbone"],
        "head" => ["head", "fc", "classifier", "out"],
        "stage" => ["stage", "block", "layer", "part"],
        "residual" => ["res", "residual", "inner", "skip"],
        "branch" => ["branch", "path", "branch", "arm"],
        "norm" => ["bn", "norm", "bn", "norm"],
        "skip" => ["Residual", "Skip", "Residual", "Res"],
        "branches" => ["Branches", "Parallel", "Concat", "Branches"],
        _ => ["conv_block", "unit", "conv", "block"],
    };
    names[style.names]
}

fn inside(style: &Style) -> bool {
    style.head_inside && matches!(style.layout, Layout::Flat | Layout::Helper | Layout::Loop)
}

fn classes(style: &Style) -> &'static str {
    if style.classes { "num_classes" } else { "10" }
}

fn percent(value: usize) -> f64 {
    value as f64 / 100.0
}

fn conv(style: &Style, unit: &Unit, groups: usize) -> String {
    let Unit { width, kernel, stride, norm, .. } = unit;
    let mut text = if style.kernel_keyword {
        format!("nn.LazyConv2d({width}, kernel_size={kernel}")
    } else {
        format!("nn.LazyConv2d({width}, {kernel}")
    };
    if *stride != 1 {
        let _ = write!(text, ", stride={stride}");
    }
    if *kernel != 1 {
        let same = style.same_padding && *stride == 1;
        let _ = if same { write!(text, ", padding='same'") } else { write!(text, ", padding={}", kernel / 2) };
    }
    if groups != 1 {
        let _ = write!(text, ", groups={groups}");
    }
    if style.bare_conv && *norm != Norm::None {
        text += ", bias=False";
    }
    text + ")"
}

fn norm(norm: Norm, channels: usize) -> Option<String> {
    match norm {
        Norm::None => None,
        Norm::Batch => Some("nn.LazyBatchNorm2d()".to_owned()),
        Norm::Group(most) => {
            let groups = [most, most / 2, most / 4].into_iter().find(|&groups| groups > 0 && channels.is_multiple_of(groups)).unwrap_or(1);
            Some(format!("nn.GroupNorm({groups}, {channels})"))
        }
    }
}

fn activation(activation: Activation) -> String {
    match activation {
        Activation::Relu => "nn.ReLU()".to_owned(),
        Activation::Gelu => "nn.GELU()".to_owned(),
        Activation::Silu => "nn.SiLU()".to_owned(),
        Activation::Hardswish => "nn.Hardswish()".to_owned(),
        Activation::Elu => "nn.ELU()".to_owned(),
        Activation::LeakyRelu(slope) => format!("nn.LeakyReLU({})", percent(slope)),
    }
}

fn activated(activation: Option<Activation>, x: &str) -> String {
    match activation {
        None => x.to_owned(),
        Some(Activation::Relu) => format!("F.relu({x})"),
        Some(Activation::Gelu) => format!("F.gelu({x})"),
        Some(Activation::Silu) => format!("F.silu({x})"),
        Some(Activation::Hardswish) => format!("F.hardswish({x})"),
        Some(Activation::Elu) => format!("F.elu({x})"),
        Some(Activation::LeakyRelu(slope)) => format!("F.leaky_relu({x}, {})", percent(slope)),
    }
}

fn pool(pool: Pool) -> &'static str {
    match pool {
        Pool::Max => "nn.MaxPool2d(2)",
        Pool::Avg => "nn.AvgPool2d(2)",
        Pool::Max3 => "nn.MaxPool2d(3, stride=2, padding=1)",
    }
}

fn pooled(pool: Pool) -> &'static str {
    match pool {
        Pool::Max => "x = F.max_pool2d(x, 2)",
        Pool::Avg => "x = F.avg_pool2d(x, 2)",
        Pool::Max3 => "x = F.max_pool2d(x, 3, stride=2, padding=1)",
    }
}

fn unit_layers(style: &Style, unit: &Unit) -> Vec<String> {
    let parts = [Some(conv(style, unit, 1)), norm(unit.norm, unit.width), unit.activation.map(activation)];
    parts.into_iter().flatten().collect()
}

/// A block as layers of a sequence.
fn block_layers(style: &Style, kind: &Kind, map: Map) -> Vec<String> {
    match kind {
        Kind::Conv(unit) if style.layout == Layout::Helper => vec![helper_call(style, unit)],
        Kind::Conv(unit) => unit_layers(style, unit),
        Kind::Separable { kernel, stride, norm: norm_, point } => {
            let depth = depthwise(*kernel, *stride, *norm_, map.channels);
            let mut layers = vec![conv(style, &depth, map.channels)];
            layers.extend(norm(*norm_, map.channels));
            layers.extend(unit_layers(style, point));
            layers
        }
        Kind::Pool(kind) => vec![pool(*kind).to_owned()],
        Kind::Dropout(p) => vec![format!("nn.Dropout({})", percent(*p))],
        Kind::Residual { units, .. } if style.layout == Layout::Helper => {
            let calls: Vec<String> = units.iter().map(|unit| helper_call(style, unit)).collect();
            vec![format!("{}({})", name(style, "skip"), calls.join(", "))]
        }
        Kind::Concat(branches) if style.layout == Layout::Helper => {
            let calls: Vec<String> = branches.iter().flatten().map(|unit| helper_call(style, unit)).collect();
            vec![format!("{}({})", name(style, "branches"), calls.join(", "))]
        }
        Kind::Residual { units, .. } => units.iter().flat_map(|unit| unit_layers(style, unit)).collect(),
        Kind::Concat(branches) => branches.iter().flatten().flat_map(|unit| unit_layers(style, unit)).collect(),
        Kind::Gate { reduction, activation: inner } => vec![
            "nn.AdaptiveAvgPool2d(1)".to_owned(),
            format!("nn.LazyConv2d({}, 1)", squeezed(map.channels, *reduction)),
            activation(*inner),
            format!("nn.LazyConv2d({}, 1)", map.channels),
            "nn.Sigmoid()".to_owned(),
        ],
    }
}

fn helper_call(style: &Style, unit: &Unit) -> String {
    let mut text = format!("{}({}", name(style, "helper"), unit.width);
    if unit.kernel != style.shared.kernel {
        let _ = write!(text, ", kernel={}", unit.kernel);
    }
    if unit.stride != 1 {
        let _ = write!(text, ", stride={}", unit.stride);
    }
    text + ")"
}

fn helpers(page: &mut Page, network: &Network) {
    let (style, shared) = (&network.style, &network.style.shared);
    let helper = name(style, "helper");
    page.line(0, &format!("def {helper}(width, kernel={}, stride=1):", shared.kernel));
    page.line(1, "return nn.Sequential(");
    let bias = if style.bare_conv && shared.norm != Norm::None { ", bias=False" } else { "" };
    page.line(2, &format!("nn.LazyConv2d(width, kernel, stride=stride, padding=kernel // 2{bias}),"));
    let norm_line = match shared.norm {
        Norm::None => None,
        Norm::Batch => norm(Norm::Batch, 0),
        Norm::Group(_) => Some("nn.GroupNorm(4, width)".to_owned()),
    };
    for layer in norm_line.into_iter().chain(shared.activation.map(activation)) {
        page.line(2, &format!("{layer},"));
    }
    page.line(1, ")");
    page.gap(style);
    let (skip, branches) = (name(style, "skip"), name(style, "branches"));
    page.line(0, &format!("class {skip}(nn.Module):"));
    page.line(1, "def __init__(self, *layers):");
    page.line(2, "super().__init__()");
    page.line(2, "self.body = nn.Sequential(*layers)");
    page.line(0, "");
    page.line(1, "def forward(self, x):");
    page.line(2, "y = self.body(x)");
    page.line(2, "return x + y if x.shape == y.shape else y");
    page.gap(style);
    page.line(0, &format!("class {branches}(nn.Module):"));
    page.line(1, "def __init__(self, *branches):");
    page.line(2, "super().__init__()");
    page.line(2, "self.branches = nn.ModuleList(branches)");
    page.line(0, "");
    page.line(1, "def forward(self, x):");
    page.line(2, "return torch.cat([branch(x) for branch in self.branches], 1)");
    page.gap(style);
}

fn sequence_of_all(page: &mut Page, forward: &mut Vec<String>, network: &Network) {
    let style = &network.style;
    let features = name(style, "features");
    let mut layers: Vec<String> =
        network.blocks.iter().zip(network.maps()).flat_map(|(block, map)| block_layers(style, &block.kind, map)).collect();
    if inside(style) {
        layers.extend(head_layers(network, true));
    }
    page.line(2, &format!("self.{features} = nn.Sequential("));
    for layer in layers {
        page.line(3, &format!("{layer},"));
    }
    page.line(2, ")");
    forward.push(format!("x = self.{features}(x)"));
}

fn looped(page: &mut Page, forward: &mut Vec<String>, network: &Network) {
    let style = &network.style;
    let features = name(style, "features");
    let widths: Vec<String> = network
        .blocks
        .iter()
        .filter_map(|block| if let Kind::Conv(unit) = &block.kind { Some(unit.width.to_string()) } else { None })
        .collect();
    let shared = &style.shared;
    let (kernel, padding) = (shared.kernel, shared.kernel / 2);
    page.line(2, "layers = []");
    page.line(2, &format!("for width in [{}]:", widths.join(", ")));
    page.line(3, &format!("layers.append(nn.LazyConv2d(width, {kernel}, padding={padding}))"));
    match shared.norm {
        Norm::None => {}
        Norm::Batch => page.line(3, "layers.append(nn.LazyBatchNorm2d())"),
        Norm::Group(_) => page.line(3, "layers.append(nn.GroupNorm(4, width))"),
    }
    for layer in shared.activation.map(activation).into_iter().chain(style.loop_pool.map(|kind| pool(kind).to_owned())) {
        page.line(3, &format!("layers.append({layer})"));
    }
    if inside(style) {
        for layer in head_layers(network, true) {
            page.line(2, &format!("layers.append({layer})"));
        }
    }
    page.line(2, &format!("self.{features} = nn.Sequential(*layers)"));
    forward.push(format!("x = self.{features}(x)"));
}

fn staged(page: &mut Page, forward: &mut Vec<String>, style: &Style, block: &Block, map: Map) {
    let n = block.number;
    let kind = &block.kind;
    match kind {
        Kind::Conv(_) | Kind::Separable { .. } => {
            let stage = format!("{}{n}", name(style, "stage"));
            page.sequence(style, &stage, &block_layers(style, kind, map));
            forward.push(format!("x = self.{stage}(x)"));
        }
        Kind::Pool(_) | Kind::Dropout(_) => plain(page, forward, style, n, kind),
        Kind::Residual { after, .. } => {
            let residual = format!("{}{n}", name(style, "residual"));
            page.sequence(style, &residual, &block_layers(style, kind, map));
            forward.push(format!("x = {}", activated(*after, &format!("x + self.{residual}(x)"))));
        }
        Kind::Concat(branches) => {
            let mut calls = Vec::new();
            for (letter, units) in ('a'..).zip(branches) {
                let branch = format!("{}{n}{letter}", name(style, "branch"));
                let layers: Vec<String> = units.iter().flat_map(|unit| unit_layers(style, unit)).collect();
                page.sequence(style, &branch, &layers);
                calls.push(format!("self.{branch}(x)"));
            }
            forward.push(format!("x = torch.cat([{}], 1)", calls.join(", ")));
        }
        Kind::Gate { .. } => {
            page.sequence(style, &format!("gate{n}"), &block_layers(style, kind, map));
            forward.push(format!("x = x * self.gate{n}(x)"));
        }
    }
}

fn layered(page: &mut Page, forward: &mut Vec<String>, style: &Style, block: &Block, map: Map) {
    let n = block.number;
    // The attributes of one unit, and the call of it.
    let unit = |page: &mut Page, unit: &Unit, id: &str, x: &str| {
        page.line(2, &format!("self.conv{id} = {}", conv(style, unit, 1)));
        let mut call = format!("self.conv{id}({x})");
        if let Some(layer) = norm(unit.norm, unit.width) {
            let bn = name(style, "norm");
            page.line(2, &format!("self.{bn}{id} = {layer}"));
            call = format!("self.{bn}{id}({call})");
        }
        activated(unit.activation, &call)
    };
    match &block.kind {
        Kind::Conv(only) => forward.push(format!("x = {}", unit(page, only, &n.to_string(), "x"))),
        Kind::Separable { kernel, stride, norm: norm_, point } => {
            let depth = depthwise(*kernel, *stride, *norm_, map.channels);
            page.line(2, &format!("self.depth{n} = {}", conv(style, &depth, map.channels)));
            let mut call = format!("self.depth{n}(x)");
            if let Some(layer) = norm(*norm_, map.channels) {
                let bn = name(style, "norm");
                page.line(2, &format!("self.{bn}{n}d = {layer}"));
                call = format!("self.{bn}{n}d({call})");
            }
            forward.push(format!("x = {call}"));
            forward.push(format!("x = {}", unit(page, point, &n.to_string(), "x")));
        }
        Kind::Residual { units, after } => {
            let mut x = "x";
            for (letter, one) in ('a'..).zip(units) {
                forward.push(format!("y = {}", unit(page, one, &format!("{n}{letter}"), x)));
                x = "y";
            }
            forward.push(format!("x = {}", activated(*after, "x + y")));
        }
        Kind::Concat(branches) => {
            let letters: Vec<String> = ('a'..).take(branches.len()).map(String::from).collect();
            for (letter, units) in letters.iter().zip(branches) {
                let mut x = "x";
                for (k, one) in (1..).zip(units) {
                    let id = if k == 1 { format!("{n}{letter}") } else { format!("{n}{letter}{k}") };
                    forward.push(format!("{letter} = {}", unit(page, one, &id, x)));
                    x = letter;
                }
            }
            forward.push(format!("x = torch.cat([{}], 1)", letters.join(", ")));
        }
        kind @ (Kind::Pool(_) | Kind::Dropout(_) | Kind::Gate { .. }) => plain(page, forward, style, n, kind),
    }
}

/// Blocks without weights.
fn plain(page: &mut Page, forward: &mut Vec<String>, style: &Style, n: usize, kind: &Kind) {
    match kind {
        Kind::Pool(kind) if style.functional => forward.push(pooled(*kind).to_owned()),
        Kind::Pool(kind) => {
            page.line(2, &format!("self.pool{n} = {}", pool(*kind)));
            forward.push(format!("x = self.pool{n}(x)"));
        }
        Kind::Dropout(p) => {
            page.line(2, &format!("self.drop{n} = nn.Dropout({})", percent(*p)));
            forward.push(format!("x = self.drop{n}(x)"));
        }
        _ => {}
    }
}

/// The layers of the head; `whole` with pooling and flattening.
fn head_layers(network: &Network, whole: bool) -> Vec<String> {
    let head = &network.head;
    let mut layers: Vec<String> = Vec::new();
    if whole {
        layers.extend(head_pool(head.pooling).map(str::to_owned));
        layers.push("nn.Flatten()".to_owned());
    }
    layers.extend(head.dropout.map(|p| format!("nn.Dropout({})", percent(p))));
    if let Some((width, inner)) = head.hidden {
        layers.extend([format!("nn.LazyLinear({width})"), activation(inner)]);
    }
    layers.push(format!("nn.LazyLinear({})", classes(&network.style)));
    layers
}

fn head_pool(pooling: Pooling) -> Option<&'static str> {
    match pooling {
        Pooling::Mean | Pooling::Adaptive => Some("nn.AdaptiveAvgPool2d(1)"),
        Pooling::AdaptiveMax => Some("nn.AdaptiveMaxPool2d(1)"),
        Pooling::Adaptive2 => Some("nn.AdaptiveAvgPool2d(2)"),
        Pooling::Flatten => None,
    }
}

fn head(page: &mut Page, forward: &mut Vec<String>, network: &Network) {
    let style = &network.style;
    let pooling = network.head.pooling;
    match (pooling, head_pool(pooling)) {
        (Pooling::Mean, _) => {
            forward.push(if style.kernel_keyword { "x = x.mean(dim=(2, 3))" } else { "x = x.mean((2, 3))" }.to_owned());
        }
        (Pooling::AdaptiveMax | Pooling::Adaptive | Pooling::Adaptive2, Some(layer)) => {
            let pooled = match pooling {
                _ if !style.functional => {
                    page.line(2, &format!("self.pool = {layer}"));
                    "self.pool(x)"
                }
                Pooling::AdaptiveMax => "F.adaptive_max_pool2d(x, 1)",
                Pooling::Adaptive2 => "F.adaptive_avg_pool2d(x, 2)",
                _ => "F.adaptive_avg_pool2d(x, 1)",
            };
            forward.push(if style.same_padding { format!("x = torch.flatten({pooled}, 1)") } else { format!("x = {pooled}.flatten(1)") });
        }
        _ => forward.push(if style.kernel_keyword { "x = torch.flatten(x, 1)" } else { "x = x.flatten(1)" }.to_owned()),
    }
    let head = name(style, "head");
    page.sequence(style, head, &head_layers(network, false));
    forward.push(format!("x = self.{head}(x)"));
}
