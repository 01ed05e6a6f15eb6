//! The warm-up corpus: random networks and random changes to them, exact by construction.
//!
//! A [`Network`] is structure; [`render`] gives its source, and [`mutate`] changes the structure, so parent and child
//! both run and the delta between their sources is right. The sources use `PyTorch`'s lazy modules, under which a local change stays
//! local. [`mutate_source`] does what it can with any text, for parents that are nobody's structure.

mod mutate;
mod network;
mod render;
mod source;

pub use mutate::mutate;
pub use network::{Cost, Network, random_network};
pub use render::render;
pub use source::mutate_source;
