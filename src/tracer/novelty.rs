//! The novelty filter: `MinHash` over shingles of the canonical graph; fails closed.
//!
//! With A and B the shingle sets of two networks (see [`crate::tracer::canonical`]), their similarity is
//! J = |A and B| / |A or B|. `MinHash` keeps of each set only the least value of k random functions h; two sets agree
//! in the least value of one h with probability J, so the share that agrees estimates J with standard error
//! sqrt(J(1-J)/k). The estimate only picks what to look at: everything within three standard errors of the threshold or
//! above it is compared exactly, so no network is refused on an estimate.
//!
//! An edit of one operation changes the w shingles it is part of: e isolated edits in n operations leave
//! J = (n-we)/(n+we). A candidate is close to its parent by construction, so the parent has a threshold of its own.
//!
//! A network that cannot be compared (a broken graph, no operation at all) is refused, never passed.

use std::collections::HashMap;
use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::base::error;
use crate::base::seed;
use crate::theory::diversity::jaccard;
use crate::tracer::canonical::Canonical;
use crate::tracer::graph::Graph;
use crate::tracer::settings::NoveltyConfig;

/// The Mersenne prime 2^61 - 1, modulus of the hash family h(x) = (a x + b) mod p.
const PRIME: u64 = (1 << 61) - 1;

/// All that the filter needs to know of a network; kept in the store, so that a resumed run rebuilds the filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// SHA-256 of the canonical form.
    pub hash: String,
    /// Sorted, each once.
    pub shingles: Vec<u64>,
    /// `MinHash` signature of the shingles.
    pub signature: Vec<u64>,
}

impl Fingerprint {
    /// The exact similarity of the shingle sets.
    pub fn jaccard(&self, other: &Self) -> f64 {
        jaccard(&self.shingles, &other.shingles)
    }

    /// The `MinHash` estimate of [`Fingerprint::jaccard`].
    pub fn estimate(&self, other: &Self) -> f64 {
        let equal = self.signature.iter().zip(&other.signature).filter(|(a, b)| a == b).count();
        equal as f64 / self.signature.len().max(1) as f64
    }
}

/// Something accepted before, and how like it a candidate is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The name under which it was admitted.
    pub id: String,
    /// Exact.
    pub jaccard: f64,
    /// What `MinHash` said.
    pub(crate) estimate: f64,
}

/// Why a network is not novel.
#[derive(Clone, Debug, PartialEq)]
pub enum NotNovel {
    /// The same network as one accepted before.
    Duplicate {
        /// The name under which that one was admitted.
        of: String,
    },
    /// Its similarity to one accepted before reaches the threshold.
    NearDuplicate {
        /// The name under which the most similar one was admitted.
        of: String,
        /// Exact, from 0 to 1.
        jaccard: f64,
    },
    /// The same network as its parent.
    SameAsParent,
    /// Its similarity to its parent reaches the threshold for parents.
    TooCloseToParent {
        /// Exact, from 0 to 1.
        jaccard: f64,
    },
    /// It cannot be compared, so it does not pass.
    NotComparable {
        /// What is wrong with it or with its parent, in words.
        why: String,
    },
}

impl NotNovel {
    /// The name of the kind, for counting.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "duplicate",
            Self::NearDuplicate { .. } => "near-duplicate",
            Self::SameAsParent => "same-as-parent",
            Self::TooCloseToParent { .. } => "too-close-to-parent",
            Self::NotComparable { .. } => "not-comparable",
        }
    }
}

impl fmt::Display for NotNovel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { of } => write!(f, "the same network as {of}"),
            Self::NearDuplicate { of, jaccard } => write!(f, "similarity {jaccard:.3} to {of}"),
            Self::SameAsParent => f.write_str("the same network as its parent"),
            Self::TooCloseToParent { jaccard } => write!(f, "similarity {jaccard:.3} to its parent"),
            Self::NotComparable { why } => f.write_str(why),
        }
    }
}

/// A verdict and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// That the network is novel, or why it is not.
    pub verdict: Result<(), NotNovel>,
    /// The most similar network accepted before, the parent left out.
    pub nearest: Option<Neighbour>,
    /// Exact similarity to the parent.
    pub parent_jaccard: Option<f64>,
    /// To admit the candidate with; none where it cannot be compared.
    pub fingerprint: Option<Fingerprint>,
}

/// The networks accepted so far.
#[derive(Clone, Debug)]
pub struct Filter {
    config: NoveltyConfig,
    /// (a, b) of each hash function.
    functions: Vec<(u64, u64)>,
    accepted: Vec<(String, Fingerprint)>,
    by_hash: HashMap<String, usize>,
}

impl Filter {
    /// An empty filter; `seed` is the run's.
    pub fn new(config: &NoveltyConfig, seed: u64) -> Self {
        let mut rng = seed::rng(seed, "minhash", &[]);
        let functions = (0..config.hashes).map(|_| (rng.random_range(1..PRIME), rng.random_range(0..PRIME))).collect();
        Self { config: config.clone(), functions, accepted: Vec::new(), by_hash: HashMap::new() }
    }

    /// An empty filter that refuses what computes the same and nothing else, however alike it is.
    pub(crate) fn of_equals() -> Self {
        let config = NoveltyConfig { enabled: true, threshold: f64::INFINITY, parent_threshold: f64::INFINITY, shingle: 1, hashes: 0 };
        Self::new(&config, 0)
    }

    /// # Errors
    /// Where the graph is broken or has too many paths.
    pub fn fingerprint(&self, graph: &Graph) -> error::Result<Fingerprint> {
        let canonical = Canonical::of(graph)?;
        let shingles = canonical.shingles(self.config.shingle)?;
        Ok(Fingerprint { hash: canonical.hash(), signature: self.signature(&shingles), shingles })
    }

    /// The least value of each hash function; of no shingles, the modulus.
    pub fn signature(&self, shingles: &[u64]) -> Vec<u64> {
        let least = |&(a, b): &(u64, u64)| shingles.iter().map(|&x| affine(a, x, b)).min().unwrap_or(PRIME);
        self.functions.iter().map(least).collect()
    }

    /// Compares a candidate with its parent and with all accepted before; changes nothing.
    pub fn check(&self, graph: &Graph, parent: Option<&Graph>) -> Finding {
        let refuse = |why: String| {
            let verdict = Err(NotNovel::NotComparable { why });
            Finding { verdict, nearest: None, parent_jaccard: None, fingerprint: None }
        };
        let own = match self.fingerprint(graph) {
            Ok(own) if own.shingles.is_empty() => return refuse("the network has no operations to compare".into()),
            Ok(own) => own,
            Err(error) => return refuse(error.to_string()),
        };
        let parent = match parent.map(|parent| self.fingerprint(parent)).transpose() {
            Ok(parent) => parent,
            Err(error) => return refuse(format!("its parent cannot be compared: {error}")),
        };
        let parent_jaccard = parent.as_ref().map(|parent| own.jaccard(parent));
        let parent_hash = parent.map(|parent| parent.hash);
        let nearest = self.nearest(&own, parent_hash.as_deref());
        let verdict = self.verdict(&own, parent_hash.as_deref(), parent_jaccard, nearest.as_ref());
        Finding { verdict, nearest, parent_jaccard, fingerprint: Some(own) }
    }

    fn verdict(
        &self,
        own: &Fingerprint,
        parent: Option<&str>,
        parent_jaccard: Option<f64>,
        nearest: Option<&Neighbour>,
    ) -> Result<(), NotNovel> {
        if !self.config.enabled {
            return Ok(());
        }
        if parent == Some(&own.hash) {
            return Err(NotNovel::SameAsParent);
        }
        if let Some(&place) = self.by_hash.get(&own.hash) {
            return Err(NotNovel::Duplicate { of: self.accepted[place].0.clone() });
        }
        match (parent_jaccard, nearest) {
            (Some(jaccard), _) if jaccard >= self.config.parent_threshold => Err(NotNovel::TooCloseToParent { jaccard }),
            (_, Some(near)) if near.jaccard >= self.config.threshold => {
                Err(NotNovel::NearDuplicate { of: near.id.clone(), jaccard: near.jaccard })
            }
            _ => Ok(()),
        }
    }

    /// The nearest of the accepted by exact similarity among those that matter, else by the estimate; the first of equals.
    fn nearest(&self, own: &Fingerprint, parent: Option<&str>) -> Option<Neighbour> {
        let k = self.functions.len() as f64;
        let threshold = self.config.threshold;
        let mut best: Option<(bool, f64, usize)> = None;
        for (place, (_, other)) in self.accepted.iter().enumerate() {
            if parent == Some(&other.hash) {
                continue;
            }
            let estimate = own.estimate(other);
            let spread = |j: f64| (j * (1.0 - j) / k).max(0.0).sqrt();
            let matters = own.hash == other.hash || estimate + 3.0 * spread(estimate).max(spread(threshold)) >= threshold;
            let found = (matters, if matters { own.jaccard(other) } else { estimate }, place);
            if best.is_none_or(|(mattered, j, _)| (found.0, found.1) > (mattered, j)) {
                best = Some(found);
            }
        }
        best.map(|(_, _, place)| {
            let (id, other) = &self.accepted[place];
            Neighbour { id: id.clone(), jaccard: own.jaccard(other), estimate: own.estimate(other) }
        })
    }

    /// Takes a network into the history; the first of two equal ones is the one that duplicates are told of.
    pub fn admit(&mut self, id: impl Into<String>, fingerprint: Fingerprint) {
        self.by_hash.entry(fingerprint.hash.clone()).or_insert(self.accepted.len());
        self.accepted.push((id.into(), fingerprint));
    }

    /// The history, oldest first.
    pub fn accepted(&self) -> impl Iterator<Item = (&str, &Fingerprint)> {
        self.accepted.iter().map(|(id, fingerprint)| (id.as_str(), fingerprint))
    }

    /// How many networks were accepted.
    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    /// Whether no network was accepted yet.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }
}

/// (a x + b) mod p; 2^61 = 1 mod p, so the high part is added to the low one.
fn affine(a: u64, x: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(x % PRIME) + u128::from(b);
    let folded = (product as u64 & PRIME) + (product >> 61) as u64;
    if folded >= PRIME { folded - PRIME } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_family_is_the_affine_map_modulo_the_prime() {
        for (a, x, b) in [(1, 0, 0), (PRIME - 1, u64::MAX, PRIME - 1), (12345, 678_910, 42), (PRIME - 1, PRIME - 1, PRIME - 1)] {
            let exact = (u128::from(a) * u128::from(x) + u128::from(b)) % u128::from(PRIME);
            assert_eq!(u128::from(affine(a, x, b)), exact, "{a} {x} {b}");
        }
    }
}
