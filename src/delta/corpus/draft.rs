//! Random networks, and the random parts that mutations put into them.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::network::{Activation, Block, Head, Kind, Layout, Network, Norm, Pool, Pooling, Style, Unit, WIDTHS};

/// A network that runs, most below 300k parameters and none above 40M multiply-accumulates.
#[must_use]
pub fn random_network(rng: &mut impl Rng) -> Network {
    loop {
        let network = draft(rng);
        let cost = network.cost();
        let usual = match cost.parameters {
            0..12_000 => rng.random_bool(0.2),
            12_000..=300_000 => true,
            300_001..=900_000 => rng.random_bool(0.1),
            _ => false,
        };
        if usual && cost.macs <= 40_000_000 && network.is_valid() && super::render(&network).lines().count() <= 52 {
            return network;
        }
    }
}

fn draft(rng: &mut impl Rng) -> Network {
    let layout = pick(rng, &[(Layout::Helper, 10), (Layout::Flat, 7), (Layout::Staged, 2), (Layout::Layers, 1), (Layout::Loop, 1)]);
    let habits = Habits::random(rng);
    let shared = random_unit(rng, &habits, 32);
    let style = Style {
        layout,
        loop_pool: rng.random_bool(0.8).then(|| random_pool(rng)),
        names: rng.random_range(0..4),
        indent: 4,
        kernel_keyword: rng.random_bool(0.2),
        same_padding: rng.random_bool(0.1),
        bare_conv: rng.random_bool(0.2),
        functional: rng.random_bool(0.5),
        compact: rng.random_bool(0.4),
        classes: rng.random_bool(0.6),
        head_inside: rng.random_bool(0.5),
        shared: Unit { kernel: 3, stride: 1, ..shared },
    };
    let mut blocks: Vec<Block> = Vec::new();
    let mut width = *WIDTHS[2..9].choose(rng).expect("not empty");
    for number in 1..=rng.random_range(2..=6) {
        let kind = if number == 1 { Kind::Conv(random_unit(rng, &habits, width)) } else { random_kind(rng, layout, &habits, &mut width) };
        // Two pools in a row are a rare thing to write.
        if matches!((&kind, blocks.last()), (Kind::Pool(_), Some(Block { kind: Kind::Pool(_), .. }))) {
            continue;
        }
        blocks.push(Block { number, kind });
    }
    let head = Head {
        pooling: random_pooling(rng),
        dropout: rng.random_bool(0.2).then(|| random_dropout(rng)),
        hidden: rng.random_bool(0.2).then(|| (*WIDTHS[5..].choose(rng).expect("not empty"), habits.activation)),
    };
    let mut network = Network { style, blocks, head };
    network.settle();
    network
}

/// What the author of a network does most of the time.
pub(super) struct Habits {
    pub(crate) norm: Norm,
    pub(crate) activation: Activation,
}

impl Habits {
    pub(crate) fn random(rng: &mut impl Rng) -> Self {
        Self { norm: random_norm(rng), activation: random_activation(rng) }
    }
}

pub(super) fn random_kind(rng: &mut impl Rng, layout: Layout, habits: &Habits, width: &mut usize) -> Kind {
    loop {
        if rng.random_bool(0.5) {
            let at = WIDTHS.iter().position(|w| w == width).unwrap_or(4) + rng.random_range(0..=3);
            *width = WIDTHS[at.min(WIDTHS.len() - 1)];
        }
        let unit = random_unit(rng, habits, *width);
        let inner = Unit { stride: 1, ..unit.clone() };
        let kind = match rng.random_range(0..20) {
            0..8 => Kind::Conv(unit),
            8 => Kind::Separable {
                kernel: random_kernel(rng).max(3),
                stride: unit.stride,
                norm: unit.norm,
                point: Unit { kernel: 1, ..inner },
            },
            9..13 => Kind::Pool(random_pool(rng)),
            13 => Kind::Dropout(random_dropout(rng)),
            14..17 => {
                let after = rng.random_bool(0.5).then_some(habits.activation);
                let mut units = vec![inner.clone(); rng.random_range(1..=2)];
                if let Some(last) = units.last_mut().filter(|_| after.is_some()) {
                    last.activation = None;
                }
                Kind::Residual { units, after }
            }
            17..19 => {
                let branches = rng.random_range(2..=3);
                Kind::Concat((0..branches).map(|_| random_branch(rng, habits)).collect())
            }
            _ => Kind::Gate { reduction: *[2, 4, 8].choose(rng).expect("not empty"), activation: habits.activation },
        };
        if layout.allows(&kind) {
            return kind;
        }
    }
}

pub(super) fn random_unit(rng: &mut impl Rng, habits: &Habits, width: usize) -> Unit {
    Unit {
        width,
        kernel: random_kernel(rng),
        stride: if rng.random_bool(0.2) { 2 } else { 1 },
        norm: if rng.random_bool(0.85) { habits.norm } else { random_norm(rng) },
        activation: Some(if rng.random_bool(0.9) { habits.activation } else { random_activation(rng) }),
    }
}

pub(super) fn random_branch(rng: &mut impl Rng, habits: &Habits) -> Vec<Unit> {
    let units = if rng.random_bool(0.75) { 1 } else { 2 };
    let unit = |_| {
        let width = *[8, 16, 24, 32].choose(rng).expect("not empty");
        Unit { stride: 1, ..random_unit(rng, habits, width) }
    };
    (0..units).map(unit).collect()
}

pub(super) fn random_kernel(rng: &mut impl Rng) -> usize {
    pick(rng, &[(3, 12), (5, 4), (1, 3), (7, 1)])
}

pub(super) fn random_norm(rng: &mut impl Rng) -> Norm {
    pick(rng, &[(Norm::Batch, 15), (Norm::None, 4), (Norm::Group(4), 1)])
}

pub(super) fn random_activation(rng: &mut impl Rng) -> Activation {
    let slope = pick(rng, &[(10, 2), (1, 1), (20, 1)]);
    pick(
        rng,
        &[
            (Activation::Relu, 8),
            (Activation::Gelu, 3),
            (Activation::Silu, 3),
            (Activation::Hardswish, 2),
            (Activation::Elu, 1),
            (Activation::LeakyRelu(slope), 2),
        ],
    )
}

pub(super) fn random_pool(rng: &mut impl Rng) -> Pool {
    pick(rng, &[(Pool::Max, 6), (Pool::Avg, 3), (Pool::Max3, 1)])
}

pub(super) fn random_pooling(rng: &mut impl Rng) -> Pooling {
    pick(rng, &[(Pooling::Mean, 5), (Pooling::Adaptive, 5), (Pooling::AdaptiveMax, 1), (Pooling::Adaptive2, 1), (Pooling::Flatten, 2)])
}

pub(super) fn random_dropout(rng: &mut impl Rng) -> usize {
    *[5, 10, 20, 25, 30, 50].choose(rng).expect("not empty")
}

/// One of the values, as often as its weight says.
pub(super) fn pick<T: Copy>(rng: &mut impl Rng, values: &[(T, u32)]) -> T {
    values.choose_weighted(rng, |(_, weight)| *weight).expect("weights are positive").0
}
