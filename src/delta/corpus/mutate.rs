//! Random changes to a network's structure.

use rand::Rng;
use rand::seq::{IndexedMutRandom, IndexedRandom, IteratorRandom};
use similar::{DiffTag, TextDiff};

use super::draft::{
    Habits, pick, random_activation, random_branch, random_dropout, random_kernel, random_kind, random_norm, random_pool, random_pooling,
    random_unit,
};
use super::network::{Activation, Block, Kind, Layout, Network, Norm, Unit, WIDTHS};
use super::render;

#[derive(Clone, Copy)]
enum Change {
    Width,
    Kernel,
    Activation,
    Norm,
    Insert,
    Delete,
    Duplicate,
    Pool,
    Stride,
    Skip,
    Branch,
    Depthwise,
    Dropout,
    Head,
    Unit,
}

const CHANGES: [(Change, u32); 15] = [
    (Change::Width, 6),
    (Change::Kernel, 3),
    (Change::Activation, 4),
    (Change::Norm, 3),
    (Change::Insert, 5),
    (Change::Delete, 3),
    (Change::Duplicate, 2),
    (Change::Pool, 3),
    (Change::Stride, 2),
    (Change::Skip, 3),
    (Change::Branch, 2),
    (Change::Depthwise, 2),
    (Change::Dropout, 2),
    (Change::Head, 2),
    (Change::Unit, 2),
];

/// A network that runs, is laid out the same way, and whose source differs; one to three changes.
#[must_use]
pub fn mutate(rng: &mut impl Rng, network: &Network) -> Network {
    let source = render(network);
    loop {
        let mut child = network.clone();
        for _ in 0..pick(rng, &[(1, 12), (2, 1)]) {
            let change = pick(rng, &CHANGES);
            // A change that this network does not allow leaves it as it is.
            let _ = change.make(rng, &mut child);
            child.settle();
        }
        let cost = child.cost();
        if child.is_valid() && cost.parameters <= 900_000 && cost.macs <= 40_000_000 {
            let text = render(&child);
            // A small model writes one place well; that two places agree it learns from few examples.
            let wanted = places(&source, &text) == 1 || rng.random_bool(0.08);
            if text != source && text.lines().count() <= 60 && wanted {
                return child;
            }
        }
    }
}

/// Places at which two sources differ.
fn places(a: &str, b: &str) -> usize {
    TextDiff::from_lines(a, b).ops().iter().filter(|op| op.tag() != DiffTag::Equal).count()
}

impl Change {
    fn make(self, rng: &mut impl Rng, network: &mut Network) -> Option<()> {
        let layout = network.style.layout;
        let shared = matches!(layout, Layout::Helper | Layout::Loop);
        let at = rng.random_range(0..network.blocks.len());
        match self {
            Self::Width => match network.head.hidden.as_mut().filter(|_| rng.random_bool(0.1)) {
                Some((width, _)) => *width = *WIDTHS[4..].choose(rng)?,
                None => any_unit(rng, network)?.width = *WIDTHS.choose(rng)?,
            },
            Self::Kernel if layout == Layout::Loop || (shared && rng.random_bool(0.3)) => network.style.shared.kernel = random_kernel(rng),
            Self::Kernel => match &mut network.blocks[at].kind {
                Kind::Separable { kernel, .. } => *kernel = random_kernel(rng).max(3),
                _ => any_unit(rng, network)?.kernel = random_kernel(rng),
            },
            Self::Activation => change_activation(rng, network, at, shared)?,
            Self::Norm if shared => network.style.shared.norm = random_norm(rng),
            Self::Norm => match &mut network.blocks[at].kind {
                Kind::Separable { norm, .. } if rng.random_bool(0.5) => *norm = random_norm(rng),
                _ => any_unit(rng, network)?.norm = random_norm(rng),
            },
            Self::Insert => insert(rng, network),
            Self::Delete => {
                network.blocks.remove(at);
                if network.blocks.is_empty() {
                    return None;
                }
            }
            Self::Duplicate => {
                let number = network.next_number();
                let kind = network.blocks[at].kind.clone();
                network.blocks.insert(at + 1, Block { number, kind });
            }
            Self::Pool if layout == Layout::Loop => network.style.loop_pool = rng.random_bool(0.8).then(|| random_pool(rng)),
            Self::Pool => {
                let pools = positions(network, |kind| matches!(kind, Kind::Pool(_)));
                match pools.choose(rng) {
                    Some(&at) if rng.random_bool(0.4) => network.blocks[at].kind = Kind::Pool(random_pool(rng)),
                    Some(&at) if rng.random_bool(0.5) => drop(network.blocks.remove(at)),
                    _ => {
                        let number = network.next_number();
                        network.blocks.insert(at + 1, Block { number, kind: Kind::Pool(random_pool(rng)) });
                    }
                }
            }
            Self::Stride => match &mut network.blocks[at].kind {
                Kind::Conv(Unit { stride, .. }) | Kind::Separable { stride, .. } => *stride = 3 - *stride,
                _ => return None,
            },
            Self::Skip => skip(rng, network, at)?,
            Self::Branch => branch(rng, network, at)?,
            Self::Depthwise => match &mut network.blocks[at].kind {
                Kind::Conv(unit) => {
                    let point = Unit { kernel: 1, stride: 1, ..unit.clone() };
                    network.blocks[at].kind = Kind::Separable { kernel: unit.kernel.max(3), stride: unit.stride, norm: unit.norm, point };
                }
                Kind::Separable { kernel, stride, point, .. } => {
                    let unit = Unit { kernel: *kernel, stride: *stride, ..point.clone() };
                    network.blocks[at].kind = Kind::Conv(unit);
                }
                _ => return None,
            },
            Self::Dropout => {
                let dropouts = positions(network, |kind| matches!(kind, Kind::Dropout(_)));
                match dropouts.choose(rng) {
                    Some(&at) if rng.random_bool(0.5) => network.blocks[at].kind = Kind::Dropout(random_dropout(rng)),
                    Some(&at) => drop(network.blocks.remove(at)),
                    None => {
                        let number = network.next_number();
                        network.blocks.insert(at + 1, Block { number, kind: Kind::Dropout(random_dropout(rng)) });
                    }
                }
            }
            Self::Head => match rng.random_range(0..3) {
                0 => network.head.pooling = random_pooling(rng),
                1 => {
                    network.head.dropout = match network.head.dropout {
                        Some(_) if rng.random_bool(0.5) => None,
                        _ => Some(random_dropout(rng)),
                    }
                }
                _ => {
                    network.head.hidden = match network.head.hidden {
                        Some(_) => None,
                        None => Some((*WIDTHS[5..].choose(rng)?, habit(network).activation)),
                    }
                }
            },
            Self::Unit => match &mut network.blocks[at].kind {
                Kind::Residual { units, .. } => lengthen(rng, units),
                Kind::Concat(branches) => {
                    let units = branches.choose_mut(rng)?;
                    lengthen(rng, units);
                }
                _ => return None,
            },
        }
        Some(())
    }
}

fn positions(network: &Network, is: impl Fn(&Kind) -> bool) -> Vec<usize> {
    (0..network.blocks.len()).filter(|&at| is(&network.blocks[at].kind)).collect()
}

fn any_unit<'a>(rng: &mut impl Rng, network: &'a mut Network) -> Option<&'a mut Unit> {
    network.blocks.iter_mut().flat_map(|block| block.kind.units_mut()).choose(rng)
}

/// The normalisation and activation that most of the network has.
fn habit(network: &Network) -> Habits {
    let mut blocks = network.blocks.clone();
    let units: Vec<Unit> = blocks.iter_mut().flat_map(|block| block.kind.units_mut()).map(|unit| unit.clone()).collect();
    let most = |count: &dyn Fn(&Unit) -> usize| units.iter().max_by_key(|unit| count(unit));
    let norm = most(&|unit| units.iter().filter(|other| other.norm == unit.norm).count()).map_or(Norm::Batch, |unit| unit.norm);
    let activation = most(&|unit| units.iter().filter(|other| other.activation == unit.activation && unit.activation.is_some()).count());
    Habits { norm, activation: activation.and_then(|unit| unit.activation).unwrap_or(Activation::Relu) }
}

fn change_activation(rng: &mut impl Rng, network: &mut Network, at: usize, shared: bool) -> Option<()> {
    let new = random_activation(rng);
    if shared {
        network.style.shared.activation = Some(new);
    } else if rng.random_bool(0.15) {
        for block in &mut network.blocks {
            for unit in block.kind.units_mut() {
                unit.activation = unit.activation.map(|_| new);
            }
            if let Kind::Residual { after: Some(after), .. } | Kind::Gate { activation: after, .. } = &mut block.kind {
                *after = new;
            }
        }
    } else {
        match &mut network.blocks[at].kind {
            Kind::Residual { after: Some(after), .. } | Kind::Gate { activation: after, .. } => *after = new,
            _ => {
                let unit = any_unit(rng, network)?;
                unit.activation = if unit.activation.is_some() && rng.random_bool(0.1) { None } else { Some(new) };
            }
        }
    }
    Some(())
}

fn insert(rng: &mut impl Rng, network: &mut Network) {
    let habits = habit(network);
    let at = rng.random_range(0..=network.blocks.len());
    // Like the width before, so that the new block fits in.
    let mut width = network.maps()[..=at].last().map_or(32, |map| map.channels).clamp(8, 128);
    let kind = random_kind(rng, network.style.layout, &habits, &mut width);
    let number = network.next_number();
    network.blocks.insert(at, Block { number, kind });
}

/// Adds a skip around a convolution that keeps the shape, or takes one away.
fn skip(rng: &mut impl Rng, network: &mut Network, at: usize) -> Option<()> {
    let habits = habit(network);
    let channels = network.maps().get(at)?.channels;
    let kind = match &network.blocks[at].kind {
        Kind::Conv(unit) if unit.width == channels && unit.stride == 1 => {
            Kind::Residual { units: vec![unit.clone()], after: rng.random_bool(0.3).then_some(habits.activation) }
        }
        Kind::Residual { units, after } if network.style.layout != Layout::Helper && rng.random_bool(0.4) => {
            Kind::Residual { units: units.clone(), after: if after.is_some() { None } else { Some(habits.activation) } }
        }
        Kind::Residual { units, .. } => Kind::Conv(Unit { activation: Some(habits.activation), ..units.first()?.clone() }),
        _ => return None,
    };
    network.blocks[at].kind = kind;
    Some(())
}

/// Adds a branch, takes one away, or makes branches of a convolution.
fn branch(rng: &mut impl Rng, network: &mut Network, at: usize) -> Option<()> {
    let habits = habit(network);
    match &mut network.blocks[at].kind {
        Kind::Concat(branches) if branches.len() > 2 && rng.random_bool(0.5) => drop(branches.pop()),
        Kind::Concat(branches) if branches.len() < 4 => branches.push(random_branch(rng, &habits)),
        Kind::Conv(unit) if unit.stride == 1 && unit.width >= 16 => {
            let half = Unit { width: unit.width / 2, ..unit.clone() };
            let other = Unit { kernel: random_kernel(rng), ..half.clone() };
            network.blocks[at].kind = Kind::Concat(vec![vec![half], vec![other]]);
        }
        _ => return None,
    }
    Some(())
}

fn lengthen(rng: &mut impl Rng, units: &mut Vec<Unit>) {
    if units.len() > 1 && rng.random_bool(0.5) {
        units.remove(0);
    } else if units.len() < 3
        && let Some(first) = units.first().cloned()
    {
        let habits = Habits { norm: first.norm, activation: first.activation.unwrap_or(Activation::Relu) };
        units.insert(0, Unit { stride: 1, ..random_unit(rng, &habits, first.width) });
    }
}
