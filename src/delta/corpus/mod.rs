//! The warm-up corpus: random networks and random changes to them, exact by construction.
//!
//! A [`Network`] is structure; [`render`] gives its source, and [`mutate`] changes the structure, so parent and child
//! both run and the delta between their sources is right. The sources use `PyTorch`'s lazy modules, under which a local change stays
//! local. [`mutate_source`] does what it can with any text, for parents that are nobody's structure.

mod draft;
mod mutate;
mod network;
mod render;
mod source;

use std::collections::HashSet;

use rand::Rng;

use crate::delta::settings::Format;

pub use draft::random_network;
pub use mutate::mutate;
pub use render::render;
pub use source::mutate_source;

/// A parent with several different changes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// The parent's source.
    pub parent: String,
    /// Changes of it, all different, in one format.
    pub deltas: Vec<String>,
}

/// A random family of `size` deltas; `fits` says which deltas are short enough.
#[must_use]
pub fn random_family(rng: &mut impl Rng, format: Format, size: usize, fits: impl Fn(&str) -> bool) -> Family {
    loop {
        let network = random_network(rng);
        let parent = render(&network);
        let mut seen = HashSet::new();
        let mut deltas = Vec::new();
        // A small network may not have as many different changes; then another one is drawn.
        for _ in 0..20 * size {
            let child = render(&mutate(rng, &network));
            let delta = super::write(format, &parent, &child).filter(|delta| fits(delta));
            deltas.extend(delta.filter(|delta| seen.insert(delta.clone())));
            if deltas.len() == size {
                return Family { parent, deltas };
            }
        }
    }
}
