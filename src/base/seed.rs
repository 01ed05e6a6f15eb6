//! Every random stream of a run is named, never shared: a seed is a hash of the run's seed and of what it is for,
//! so no result depends on the order in which workers happen to finish.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::base::hash::Hash;

/// The 64-bit seed of one purpose, e.g. `derive(run_seed, "sample", &[cycle, candidate])`.
///
/// ```
/// use eliteloop::base::seed::derive;
/// assert_eq!(derive(7, "sample", &[1, 2]), derive(7, "sample", &[1, 2]));
/// assert_ne!(derive(7, "sample", &[1, 2]), derive(7, "train", &[1, 2]));
/// ```
#[must_use]
pub fn derive(run: u64, purpose: &str, place: &[u64]) -> u64 {
    let mut hash = Hash::default();
    hash.update(run.to_le_bytes());
    hash.update((purpose.len() as u64).to_le_bytes());
    hash.update(purpose);
    for number in place {
        hash.update(number.to_le_bytes());
    }
    hash.number()
}

/// A generator seeded with [`derive`]; `ChaCha8` gives the same stream on every platform.
#[must_use]
pub fn rng(run: u64, purpose: &str, place: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(run, purpose, place))
}
