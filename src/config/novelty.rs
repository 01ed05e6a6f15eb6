//! `[novelty]`: the MinHash-Jaccard filter.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoveltyConfig {
    /// Off only for the control arm of claim 5; exact duplicates (same graph) are then trained again too.
    pub enabled: bool,
    /// A candidate whose Jaccard similarity to anything accepted before reaches this is refused.
    pub threshold: f64,
    /// The same against its own parent; a delta is close to its parent by construction.
    pub parent_threshold: f64,
    /// Operations in one shingle.
    pub shingle: usize,
    /// MinHash functions; the standard error of an estimate is sqrt(J(1-J)/hashes).
    pub hashes: usize,
}

impl Default for NoveltyConfig {
    fn default() -> Self {
        Self { enabled: true, threshold: 0.98, parent_threshold: 1.0, shingle: 3, hashes: 128 }
    }
}
