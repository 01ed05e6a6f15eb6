//! `[novelty]`: the MinHash-Jaccard filter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Result;
use crate::base::range::{Check, above, real, whole};

/// A run's `[novelty]`: how like a known network a candidate may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl Check for NoveltyConfig {
    fn check(&self) -> Result<()> {
        // Any two networks have a similarity of 0 or more: nothing would pass a threshold of 0.
        real("novelty.threshold", self.threshold, above(0.0, 1.0))?;
        real("novelty.parent_threshold", self.parent_threshold, above(0.0, 1.0))?;
        // No network has so many operations in a row.
        whole("novelty.shingle", self.shingle, 1..=1000)?;
        // A standard error of 0.002; everything near the threshold is compared exactly in any case.
        whole("novelty.hashes", self.hashes, 1..=1 << 16)
    }
}
