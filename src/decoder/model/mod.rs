//! The network itself: layers, attention, caches, weights.

mod adapted;
pub mod attention;
pub mod blocks;
pub mod cache;
pub mod decoder;
pub mod layer;
pub mod memory;
pub mod pack;
pub mod prefix;
pub mod repack;
pub mod restricted;
pub mod stock;
mod stock_cache;
mod stock_decoder;
pub mod weight;
