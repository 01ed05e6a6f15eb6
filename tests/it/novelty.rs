//! The canonical form and the novelty filter.

use eliteloop::tracer::canonical::{self, Canonical};
use eliteloop::tracer::graph::{Activation, Binary, Dim, Graph, Init, Node, Op, Role, TensorSpec};
use eliteloop::tracer::novelty::{Filter, Fingerprint, NotNovel};
use eliteloop::tracer::settings::NoveltyConfig;
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Writes graphs by hand: maps of 8 x 8, convolutions that keep the size.
struct Sketch(Graph);

impl Sketch {
    fn new() -> Self {
        let input = Node {
            op: Op::Input,
            inputs: vec![],
            tensors: vec![],
            shape: [Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)].to_vec(),
            module: String::new(),
            line: 0,
        };
        Self(Graph { nodes: vec![input], output: 0, tensors: vec![], aliases: vec![] })
    }

    fn push(&mut self, op: Op, inputs: &[usize], channels: usize, tensors: &[Vec<usize>]) -> usize {
        let first = self.0.tensors.len();
        let number = self.0.nodes.len();
        for (i, shape) in tensors.iter().enumerate() {
            let init = Init::Uniform { low: -0.1, high: 0.1 };
            self.0.tensors.push(TensorSpec { name: format!("layer{number}.t{i}"), shape: shape.clone(), role: Role::Parameter, init });
        }
        self.0.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            tensors: (first..self.0.tensors.len()).collect(),
            shape: [Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(8), Dim::Fixed(8)].to_vec(),
            module: format!("layer{number}"),
            line: number as u32 + 10,
        });
        self.0.output = number;
        number
    }

    fn channels(&self, node: usize) -> usize {
        self.0.nodes[node].shape[1].at(1)
    }

    fn conv(&mut self, from: usize, out: usize, kernel: usize) -> usize {
        let pad = kernel / 2;
        let op = Op::Conv2d { out, kernel: [kernel; 2], stride: [1; 2], padding: [pad; 4], dilation: [1; 2], groups: 1, bias: true };
        let shapes = [vec![out, self.channels(from), kernel, kernel], vec![out]];
        self.push(op, &[from], out, &shapes)
    }

    fn act(&mut self, from: usize, activation: Activation) -> usize {
        let channels = self.channels(from);
        self.push(Op::Activation(activation), &[from], channels, &[])
    }

    fn binary(&mut self, kind: Binary, a: usize, b: usize) -> usize {
        let channels = self.channels(a);
        self.push(Op::Binary(kind), &[a, b], channels, &[])
    }
}

fn hash(graph: &Graph) -> String {
    canonical::hash(graph).unwrap()
}

/// conv - relu - (conv3 - relu | conv1) - add - conv.
fn branched(width: usize, kernel: usize, activation: Activation) -> Graph {
    let mut net = Sketch::new();
    let stem = net.conv(0, 16, 3);
    let stem = net.act(stem, Activation::Relu);
    let left = net.conv(stem, width, kernel);
    let left = net.act(left, activation);
    let right = net.conv(stem, width, 1);
    let sum = net.binary(Binary::Add, left, right);
    net.conv(sum, 10, 1);
    net.0
}

/// The same network with its nodes run in another order that respects the inputs, its tensors listed in another order,
/// and everything renamed.
fn scrambled(graph: &Graph, rng: &mut ChaCha8Rng) -> Graph {
    let mut tensor_order: Vec<usize> = (0..graph.tensors.len()).collect();
    tensor_order.shuffle(rng);
    let mut place = vec![usize::MAX; graph.nodes.len()];
    let mut nodes = Vec::new();
    while nodes.len() < graph.nodes.len() {
        let ready: Vec<usize> = (0..graph.nodes.len())
            .filter(|&i| place[i] == usize::MAX && graph.nodes[i].inputs.iter().all(|&input| place[input] != usize::MAX))
            .collect();
        let pick = ready[rng.random_range(0..ready.len())];
        place[pick] = nodes.len();
        let mut node = graph.nodes[pick].clone();
        node.inputs = node.inputs.iter().map(|&input| place[input]).collect();
        if matches!(node.op, Op::Binary(Binary::Add | Binary::Mul)) && rng.random() {
            node.inputs.reverse();
        }
        node.tensors = node.tensors.iter().map(|t| tensor_order.iter().position(|o| o == t).unwrap()).collect();
        node.module = format!("m{}", rng.random::<u32>());
        node.line = rng.random_range(1..500);
        nodes.push(node);
    }
    let tensors = tensor_order.iter().map(|&t| TensorSpec { name: format!("p{}", rng.random::<u32>()), ..graph.tensors[t].clone() });
    Graph { output: place[graph.output], nodes, tensors: tensors.collect(), aliases: vec![] }
}

#[test]
fn names_lines_and_order_of_branches_do_not_change_the_hash() {
    let graph = branched(16, 3, Activation::Relu);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..50 {
        let other = scrambled(&graph, &mut rng);
        assert_eq!(hash(&other), hash(&graph));
        assert_eq!(canonical::tokens(&other).unwrap(), canonical::tokens(&graph).unwrap());
    }
}

#[test]
fn width_kernel_activation_operator_and_initialisation_change_the_hash() {
    let start = branched(16, 3, Activation::Relu);
    let mut initialised = start.clone();
    initialised.tensors[0].init = Init::Constant(0.0);
    let mut subtracted = start.clone();
    let add = subtracted.nodes.iter().position(|node| node.op == Op::Binary(Binary::Add)).unwrap();
    subtracted.nodes[add].op = Op::Binary(Binary::Sub);
    let mut reversed = subtracted.clone();
    reversed.nodes[add].inputs.reverse();
    let all = [
        branched(24, 3, Activation::Relu),
        branched(16, 5, Activation::Relu),
        branched(16, 3, Activation::Gelu),
        branched(16, 3, Activation::LeakyRelu { slope: 0.1 }),
        branched(16, 3, Activation::LeakyRelu { slope: 0.2 }),
        initialised,
        subtracted,
        reversed,
        start,
    ];
    let mut hashes: Vec<String> = all.iter().map(hash).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), all.len(), "each of them is another network");
}

#[test]
fn dead_and_idle_operations_are_dropped() {
    let graph = branched(16, 3, Activation::Relu);
    let mut net = Sketch::new();
    let stem = net.conv(0, 16, 3);
    let stem = net.act(stem, Activation::Relu);
    let idle = net.push(Op::Dropout { p: 0.0, channels: false }, &[stem], 16, &[]);
    let shape = net.0.nodes[idle].shape.clone();
    let idle = net.push(Op::Reshape { shape }, &[idle], 16, &[]);
    let left = net.conv(idle, 16, 3);
    let left = net.act(left, Activation::Relu);
    net.conv(left, 99, 7); // nobody reads it
    let right = net.conv(stem, 16, 1);
    let sum = net.binary(Binary::Add, left, right);
    net.conv(sum, 10, 1);
    assert_eq!(hash(&net.0), hash(&graph));

    let real = net.0.nodes.iter().position(|node| matches!(node.op, Op::Dropout { .. })).unwrap();
    net.0.nodes[real].op = Op::Dropout { p: 0.1, channels: false };
    assert_ne!(hash(&net.0), hash(&graph), "a dropout that drops is not idle");
}

#[test]
fn sharing_a_layer_is_not_the_same_as_having_two() {
    let mut two = Sketch::new();
    let first = two.conv(0, 3, 3);
    two.conv(first, 3, 3);
    let mut shared = two.0.clone();
    shared.nodes[2].tensors = shared.nodes[1].tensors.clone();
    assert_ne!(hash(&shared), hash(&two.0));
    assert_ne!(canonical::tokens(&shared).unwrap(), canonical::tokens(&two.0).unwrap());
}

/// Four equal convolutions of the input, summed in pairs, one pair shifted: the pairs must not be mixed up by the order.
#[test]
fn twin_branches_are_told_apart_by_what_they_are_joined_to() {
    let mut net = Sketch::new();
    let convs: Vec<usize> = (0..4).map(|_| net.conv(0, 8, 3)).collect();
    let one = net.binary(Binary::Add, convs[0], convs[2]);
    let two = net.binary(Binary::Add, convs[1], convs[3]);
    net.binary(Binary::Mul, one, two);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..50 {
        assert_eq!(hash(&scrambled(&net.0, &mut rng)), hash(&net.0));
    }
    // Each convolution in two sums is another network, though every operation looks the same from near.
    let mut ring = net.0.clone();
    ring.nodes[two].inputs = vec![convs[0], convs[3]];
    assert_ne!(hash(&ring), hash(&net.0));
}

fn random_graph(rng: &mut ChaCha8Rng) -> Graph {
    let mut net = Sketch::new();
    let mut ends = vec![net.conv(0, 8, 3)];
    for _ in 0..rng.random_range(1..14) {
        let from = ends[rng.random_range(0..ends.len())];
        let other = ends[rng.random_range(0..ends.len())];
        ends.push(match rng.random_range(0..4) {
            0 => net.conv(from, 8, 3),
            1 => net.conv(from, 8, 1),
            2 => net.act(from, Activation::Relu),
            _ => net.binary(Binary::Add, from, other),
        });
    }
    net.0
}

proptest! {
    #[test]
    fn any_network_keeps_its_hash_when_scrambled(seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let graph = random_graph(&mut rng);
        prop_assert_eq!(hash(&scrambled(&graph, &mut rng)), hash(&graph));
    }

    #[test]
    fn any_edit_of_a_convolution_that_is_read_changes_the_hash(seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let graph = random_graph(&mut rng);
        let mut edited = graph.clone();
        if let Op::Conv2d { dilation, .. } = &mut edited.nodes[1].op {
            *dilation = [2, 2];
        }
        let read = Canonical::of(&edited).unwrap().words().any(|word| word.contains("\"dilation\":[2,2]"));
        prop_assert_eq!(read, hash(&edited) != hash(&graph));
    }
}

fn chain(words: &[usize]) -> Graph {
    let mut net = Sketch::new();
    let mut at = 0;
    for &width in words {
        at = net.conv(at, width, 1);
    }
    net.0
}

fn filter(hashes: usize) -> Filter {
    Filter::new(&NoveltyConfig { hashes, ..NoveltyConfig::default() }, 7)
}

#[test]
fn isolated_edits_of_a_chain_leave_the_similarity_of_the_formula() {
    let (n, w) = (60_usize, 3_usize);
    let words: Vec<usize> = (0..n).map(|i| i + 1).collect();
    let filter = filter(64);
    let parent = filter.fingerprint(&chain(&words)).unwrap();
    for e in 1..=5 {
        let mut edited = words.clone();
        for edit in 0..e {
            edited[5 + 10 * edit] = 1000 + edit;
        }
        let child = filter.fingerprint(&chain(&edited)).unwrap();
        let formula = (n - w * e) as f64 / (n + w * e) as f64;
        assert!((parent.jaccard(&child) - formula).abs() < 1e-12, "{e} edits: {} against {formula}", parent.jaccard(&child));
    }
}

#[test]
fn a_block_more_of_the_same_kind_is_seen() {
    let filter = filter(64);
    let four = filter.fingerprint(&chain(&[3; 4])).unwrap();
    let five = filter.fingerprint(&chain(&[3; 5])).unwrap();
    assert!(four.jaccard(&five) < 1.0);
}

#[test]
fn minhash_is_unbiased_with_the_standard_error_of_theory() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (k, rounds) = (128, 400);
    for (common, own) in [(20_usize, 40_usize), (60, 20), (95, 3)] {
        let mut errors = Vec::new();
        let exact = common as f64 / (common + 2 * own) as f64;
        for round in 0..rounds {
            let filter = Filter::new(&NoveltyConfig { hashes: k, ..NoveltyConfig::default() }, round);
            let both: Vec<u64> = (0..common).map(|_| rng.random()).collect();
            let mut set = || {
                let mut shingles: Vec<u64> = both.iter().copied().chain((0..own).map(|_| rng.random())).collect();
                shingles.sort_unstable();
                Fingerprint { hash: String::new(), signature: filter.signature(&shingles), shingles }
            };
            let (a, b) = (set(), set());
            assert_eq!(a.jaccard(&b), exact);
            errors.push(a.estimate(&b) - exact);
        }
        let theory = (exact * (1.0 - exact) / k as f64).sqrt();
        let mean = errors.iter().sum::<f64>() / rounds as f64;
        let spread = (errors.iter().map(|e| e * e).sum::<f64>() / rounds as f64).sqrt();
        assert!(mean.abs() < 3.0 * theory / (rounds as f64).sqrt(), "bias {mean} at J {exact}");
        assert!((spread / theory - 1.0).abs() < 0.15, "spread {spread} against {theory} at J {exact}");
    }
}

#[test]
fn verdicts_follow_the_thresholds_exactly() {
    let words: Vec<usize> = (1..=40).collect();
    let mut near = words.clone();
    near[20] = 500;
    let exact = 37.0 / 43.0;
    let parent = chain(&[7, 8, 9]);
    for (threshold, refused) in [(exact, true), (exact + 1e-9, false), (exact - 0.02, true), (exact + 0.02, false)] {
        let config = NoveltyConfig { threshold, ..NoveltyConfig::default() };
        // Whatever the hash functions happen to say, the verdict is that of the exact similarity.
        for seed in 0..30 {
            let mut filter = Filter::new(&config, seed);
            filter.admit("far", filter.fingerprint(&chain(&[1, 2, 700, 800])).unwrap());
            filter.admit("first", filter.fingerprint(&chain(&words)).unwrap());
            let finding = filter.check(&chain(&near), Some(&parent));
            let nearest = finding.nearest.clone().unwrap();
            assert_eq!((nearest.id.as_str(), nearest.jaccard), ("first", exact));
            let expected = if refused { Err(NotNovel::NearDuplicate { of: "first".into(), jaccard: exact }) } else { Ok(()) };
            assert_eq!(finding.verdict, expected, "threshold {threshold}, seed {seed}");
        }
    }
}

#[test]
fn the_parent_and_equal_networks_have_rules_of_their_own() {
    let words: Vec<usize> = (1..=40).collect();
    let mut edited = words.clone();
    edited[20] = 500;
    let (parent, child) = (chain(&words), chain(&edited));
    let config = NoveltyConfig { threshold: 0.5, parent_threshold: 0.95, ..NoveltyConfig::default() };
    let mut filter = Filter::new(&config, 1);
    filter.admit("parent", filter.fingerprint(&parent).unwrap());

    assert_eq!(filter.check(&parent, Some(&parent)).verdict, Err(NotNovel::SameAsParent));
    assert_eq!(filter.check(&parent, None).verdict, Err(NotNovel::Duplicate { of: "parent".into() }));
    let finding = filter.check(&child, Some(&parent));
    assert_eq!(finding.verdict, Ok(()), "the history's threshold does not apply to the parent");
    assert_eq!((finding.nearest, finding.parent_jaccard), (None, Some(37.0 / 43.0)));

    let strict = Filter::new(&NoveltyConfig { parent_threshold: 0.8, ..config.clone() }, 1);
    assert_eq!(strict.check(&child, Some(&parent)).verdict, Err(NotNovel::TooCloseToParent { jaccard: 37.0 / 43.0 }));

    let off = Filter::new(&NoveltyConfig { enabled: false, ..config }, 1);
    assert_eq!(off.check(&parent, Some(&parent)).verdict, Ok(()), "off passes copies: the control arm");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let filter = filter(16);
    let refused = |graph: &Graph, parent: Option<&Graph>| {
        let finding = filter.check(graph, parent);
        assert!(finding.fingerprint.is_none());
        matches!(finding.verdict, Err(NotNovel::NotComparable { .. }))
    };
    let good = chain(&[3, 4]);
    assert!(refused(&Sketch::new().0, None), "no operation at all");
    let mut broken = good.clone();
    broken.nodes[1].inputs = vec![2];
    assert!(refused(&broken, None), "a node that reads a later one");
    let mut broken = good.clone();
    broken.output = 17;
    assert!(refused(&broken, None), "an output that does not exist");
    let mut broken = good.clone();
    broken.nodes[1].tensors = vec![99];
    assert!(refused(&broken, None), "a tensor that does not exist");
    assert!(refused(&good, Some(&broken)), "a parent that cannot be compared");
    let mut dense = Sketch::new();
    let wide: Vec<usize> = (0..600).map(|i| dense.conv(0, i + 1, 1)).collect();
    let cat = dense.push(Op::Cat { dim: 1 }, &wide, 600, &[]);
    dense.push(Op::Cat { dim: 1 }, &vec![cat; 600], 600, &[]);
    assert!(refused(&dense.0, None), "more paths than can be listed");
}

#[test]
fn a_filter_rebuilt_from_stored_fingerprints_decides_the_same() {
    let config = NoveltyConfig { threshold: 0.8, ..NoveltyConfig::default() };
    let mut first = Filter::new(&config, 9);
    let mut rebuilt = Filter::new(&config, 9);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for i in 0..60 {
        let graph = random_graph(&mut rng);
        let finding = first.check(&graph, None);
        assert_eq!(finding, rebuilt.check(&graph, None));
        if finding.verdict.is_ok() {
            let stored = serde_json::to_string(&finding.fingerprint.unwrap()).unwrap();
            first.admit(format!("c{i}"), serde_json::from_str(&stored).unwrap());
            rebuilt = Filter::new(&config, 9);
            for (id, fingerprint) in entries(&first) {
                rebuilt.admit(id, fingerprint);
            }
        }
    }
    assert!(first.len() > 5 && first.len() < 60, "some pass, some are copies: {}", first.len());
}

fn entries(filter: &Filter) -> Vec<(String, Fingerprint)> {
    filter.accepted().map(|(id, fingerprint)| (id.to_owned(), fingerprint.clone())).collect()
}
