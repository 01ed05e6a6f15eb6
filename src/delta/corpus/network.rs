//! The structure of a network, and what it costs on a 3 x 32 x 32 image.

pub(super) const WIDTHS: [usize; 12] = [8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128];
const IMAGE: Map = Map { channels: 3, size: 32 };

/// A network: blocks one after another, then a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub(super) style: Style,
    pub(super) blocks: Vec<Block>,
    pub(super) head: Head,
}

/// How the source is laid out; a mutation leaves it as it is, apart from [`Style::shared`] and [`Style::loop_pool`].
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent habits of whoever wrote the source")]
pub(super) struct Style {
    pub(crate) layout: Layout,
    /// The one unit that [`Layout::Helper`] and [`Layout::Loop`] build everything from.
    pub(crate) shared: Unit,
    /// What follows each unit of [`Layout::Loop`].
    pub(crate) loop_pool: Option<Pool>,
    pub(crate) names: usize,
    pub(crate) indent: usize,
    pub(crate) kernel_keyword: bool,
    pub(crate) same_padding: bool,
    pub(crate) bare_conv: bool,
    /// Pooling and activations as functions in `forward` where there is a choice.
    pub(crate) functional: bool,
    /// Short sequences on one line.
    pub(crate) compact: bool,
    /// `Net(num_classes=10)` instead of `Net()`.
    pub(crate) classes: bool,
    /// The head is part of the one sequence.
    pub(crate) head_inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One `nn.Sequential`; chains only.
    Flat,
    /// One attribute a block.
    Staged,
    /// One attribute a layer, composed in `forward`.
    Layers,
    /// A function that builds a unit, and classes for skips and branches that take any shape: each line of the network can be
    /// changed by itself.
    Helper,
    /// A list of widths and a loop.
    Loop,
}

impl Layout {
    pub(super) fn allows(self, kind: &Kind) -> bool {
        match kind {
            Kind::Conv(_) => true,
            Kind::Pool(_) | Kind::Dropout(_) => self != Self::Loop,
            Kind::Separable { .. } => matches!(self, Self::Flat | Self::Staged | Self::Layers),
            Kind::Residual { .. } | Kind::Concat(_) => matches!(self, Self::Staged | Self::Layers | Self::Helper),
            Kind::Gate { .. } => self == Self::Staged,
        }
    }
}

/// A block with the number in its names, which it keeps while its neighbours come and go.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Conv(Unit),
    /// A depthwise convolution, then `point`, whose kernel is 1.
    Separable {
        kernel: usize,
        stride: usize,
        norm: Norm,
        point: Unit,
    },
    Pool(Pool),
    /// Probability in percent.
    Dropout(usize),
    /// `x + units(x)`; the last unit has as many channels as x.
    Residual {
        units: Vec<Unit>,
        after: Option<Activation>,
    },
    /// `torch.cat` of the branches, each of one or more units.
    Concat(Vec<Vec<Unit>>),
    /// `x * gate(x)` with a gate for each channel (squeeze and excitation).
    Gate {
        reduction: usize,
        activation: Activation,
    },
}

/// Convolution, normalisation, activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    pub(crate) width: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) norm: Norm,
    pub(crate) activation: Option<Activation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Norm {
    None,
    Batch,
    /// At most this many groups; a power of two.
    Group(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Relu,
    Gelu,
    Silu,
    Hardswish,
    Elu,
    /// Slope in percent.
    LeakyRelu(usize),
}

/// Halves the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    Max,
    Avg,
    /// Windows of 3 that overlap.
    Max3,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    pub(crate) pooling: Pooling,
    /// In percent.
    pub(crate) dropout: Option<usize>,
    pub(crate) hidden: Option<(usize, Activation)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    Adaptive,
    AdaptiveMax,
    Adaptive2,
    /// No pooling: every position of a small map.
    Flatten,
}

/// Shape of what flows between blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(crate) channels: usize,
    pub(crate) size: usize,
}

/// Parameters and multiply-accumulates for one image, normalisation's left out of the latter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub parameters: usize,
    pub macs: usize,
    /// Convolutions before a normalisation have no bias.
    bare: bool,
}

impl Cost {
    fn conv(&mut self, map: &mut Map, unit: &Unit, groups: usize) {
        let Unit { width, kernel, stride, norm, .. } = *unit;
        let weights = map.channels / groups * width * kernel * kernel;
        *map = Map { channels: width, size: map.size / stride };
        let bias = if self.bare && norm != Norm::None { 0 } else { width };
        let scale_and_shift = if norm == Norm::None { 0 } else { 2 * width };
        self.parameters += weights + bias + scale_and_shift;
        self.macs += weights * map.size * map.size;
    }

    fn unit(&mut self, map: &mut Map, unit: &Unit) {
        self.conv(map, unit, 1);
    }

    fn linear(&mut self, inputs: usize, outputs: usize) {
        self.parameters += (inputs + 1) * outputs;
        self.macs += inputs * outputs;
    }
}

impl Kind {
    /// The map after this block; adds what the block costs.
    pub(super) fn pass(&self, mut map: Map, cost: &mut Cost) -> Map {
        match self {
            Self::Conv(unit) => cost.unit(&mut map, unit),
            Self::Separable { kernel, stride, norm, point } => {
                let channels = map.channels;
                cost.conv(&mut map, &depthwise(*kernel, *stride, *norm, channels), channels);
                cost.unit(&mut map, point);
            }
            Self::Pool(_) => map.size /= 2,
            Self::Dropout(_) => {}
            Self::Residual { units, .. } => {
                for unit in units {
                    cost.unit(&mut map, unit);
                }
            }
            Self::Concat(branches) => {
                let ends: Vec<Map> = branches
                    .iter()
                    .map(|units| {
                        let mut map = map;
                        for unit in units {
                            cost.unit(&mut map, unit);
                        }
                        map
                    })
                    .collect();
                map.channels = ends.iter().map(|end| end.channels).sum();
            }
            Self::Gate { reduction, .. } => {
                let squeezed = squeezed(map.channels, *reduction);
                cost.linear(map.channels, squeezed);
                cost.linear(squeezed, map.channels);
            }
        }
        map
    }

    pub(super) fn units_mut(&mut self) -> Vec<&mut Unit> {
        match self {
            Self::Conv(unit) | Self::Separable { point: unit, .. } => vec![unit],
            Self::Residual { units, .. } => units.iter_mut().collect(),
            Self::Concat(branches) => branches.iter_mut().flatten().collect(),
            Self::Pool(_) | Self::Dropout(_) | Self::Gate { .. } => Vec::new(),
        }
    }

    fn halves(&self) -> bool {
        match self {
            Self::Conv(unit) => unit.stride == 2,
            Self::Separable { stride, .. } => *stride == 2,
            Self::Pool(_) => true,
            _ => false,
        }
    }
}

/// The depthwise half of a separable convolution, which has the channels it reads.
pub(super) fn depthwise(kernel: usize, stride: usize, norm: Norm, channels: usize) -> Unit {
    Unit { width: channels, kernel, stride, norm, activation: None }
}

/// Channels between the two convolutions of a gate.
pub(super) fn squeezed(channels: usize, reduction: usize) -> usize {
    (channels / reduction).max(4)
}

impl Network {
    /// The blocks as they run: a loop's pooling is in its place.
    fn unrolled(&self) -> impl Iterator<Item = Kind> {
        let pool = self.style.loop_pool.filter(|_| self.style.layout == Layout::Loop).map(Kind::Pool);
        self.blocks.iter().flat_map(move |block| std::iter::once(block.kind.clone()).chain(pool.clone()))
    }

    /// What each block reads, and at the end what the head reads.
    pub(super) fn maps(&self) -> Vec<Map> {
        let mut map = IMAGE;
        let mut maps = vec![map];
        for kind in self.unrolled() {
            map = kind.pass(map, &mut Cost::default());
            maps.push(map);
        }
        maps
    }

    #[must_use]
    pub fn cost(&self) -> Cost {
        let bare = self.style.bare_conv && self.style.layout != Layout::Loop;
        let mut cost = Cost { bare, ..Cost::default() };
        let map = self.unrolled().fold(IMAGE, |map, kind| kind.pass(map, &mut cost));
        let mut features = self.head.pooling.features(map);
        if let Some((width, _)) = self.head.hidden {
            cost.linear(features, width);
            features = width;
        }
        cost.linear(features, 10);
        cost
    }

    /// Whether the network runs on a 32 x 32 image and is laid out as its style can say.
    pub(super) fn is_valid(&self) -> bool {
        let units = self.blocks.iter().filter(|block| matches!(block.kind, Kind::Conv(_) | Kind::Separable { .. })).count();
        if units == 0 || self.blocks.len() > 9 || !self.blocks.iter().all(|block| self.style.layout.allows(&block.kind)) {
            return false;
        }
        if self.unrolled().filter(Kind::halves).count() > 4 {
            return false;
        }
        let maps = self.maps();
        let raw = |kind: &Kind, map: &Map| map.channels == 3 && !matches!(kind, Kind::Conv(_) | Kind::Separable { .. });
        if self.unrolled().zip(&maps).any(|(kind, map)| raw(&kind, map)) {
            return false;
        }
        let last = maps[maps.len() - 1];
        last.channels <= 256
            && match self.head.pooling {
                Pooling::Flatten => last.size <= 4 && self.head.pooling.features(last) <= 1024,
                Pooling::Adaptive2 => last.size >= 4,
                _ => true,
            }
    }

    /// Makes what one part implies for another true again: a residual ends in the channels it started with, and layouts that
    /// build everything from one unit have no other.
    pub(super) fn settle(&mut self) {
        let shared = self.style.shared.clone();
        let mut map = IMAGE;
        for block in &mut self.blocks {
            match (self.style.layout, &mut block.kind) {
                (Layout::Helper, Kind::Conv(unit)) => {
                    *unit = Unit { width: unit.width, kernel: unit.kernel, stride: unit.stride, ..shared.clone() };
                }
                (Layout::Helper, Kind::Residual { units, after }) => {
                    for unit in units.iter_mut() {
                        *unit = Unit { width: unit.width, kernel: unit.kernel, stride: 1, ..shared.clone() };
                    }
                    if let Some(last) = units.last_mut() {
                        last.width = map.channels;
                    }
                    *after = None;
                }
                (Layout::Helper, Kind::Concat(branches)) => {
                    for units in branches.iter_mut() {
                        units.truncate(1);
                        for unit in units {
                            *unit = Unit { width: unit.width, kernel: unit.kernel, stride: 1, ..shared.clone() };
                        }
                    }
                }
                (Layout::Loop, Kind::Conv(unit)) => *unit = Unit { width: unit.width, stride: 1, ..shared.clone() },
                (_, Kind::Separable { point, .. }) => (point.kernel, point.stride) = (1, 1),
                (_, Kind::Residual { units, .. }) => {
                    if let Some(last) = units.last_mut() {
                        last.width = map.channels;
                    }
                }
                _ => {}
            }
            map = block.kind.pass(map, &mut Cost::default());
        }
    }

    /// A number that no block has.
    pub(super) fn next_number(&self) -> usize {
        self.blocks.iter().map(|block| block.number).max().unwrap_or(0) + 1
    }
}

impl Pooling {
    fn features(self, map: Map) -> usize {
        match self {
            Self::Mean | Self::Adaptive | Self::AdaptiveMax => map.channels,
            Self::Adaptive2 => 4 * map.channels,
            Self::Flatten => map.channels * map.size * map.size,
        }
    }
}
