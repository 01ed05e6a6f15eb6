//! The processor: which of our kernels it runs, and its kind, which is what of it is known to change the last bits of a sum.
//!
//! Our kernels for AVX2 and for AVX-512 are written to add in the same order, and so to come to the same bits; those for anything less have no fused
//! multiply-add and differ in the last ones. Products of the `gemm` crate choose their instructions by themselves, and cut long sums by
//! the size of the first-level cache.

use std::str::FromStr;
use std::sync::OnceLock;

use crate::base::error::{Error, Result};

/// What our kernels are written for, after the levels of the x86-64 ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Any processor.
    V2,
    /// AVX2 and FMA.
    V3,
    /// AVX-512 F, BW, DQ and VL.
    V4,
}

impl Level {
    const ALL: [(Self, &'static str); 3] = [(Self::V2, "x86-64-v2"), (Self::V3, "x86-64-v3"), (Self::V4, "x86-64-v4")];

    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(level, _)| *level);
        found.ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            Error::input(format!("{LIMIT} is '{text}', which is no level of a processor")).hint(format!("one of {names}; or unset it"))
        })
    }
}

/// The environment variable that holds our kernels back to a level, as a processor of that level would run them.
const LIMIT: &str = "ELITELOOP_PROCESSOR";

/// The level that our kernels are held back to, if any.
///
/// # Errors
/// The variable names none.
pub fn limit() -> Result<Option<Level>> {
    std::env::var(LIMIT).ok().filter(|text| !text.is_empty()).map(|text| text.parse()).transpose()
}

/// The level of the kernels that are run.
#[inline]
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| limit().ok().flatten().map_or(highest(), |limit| limit.min(highest())))
}

#[cfg(target_arch = "x86_64")]
fn highest() -> Level {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        Level::V2
    } else if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        Level::V4
    } else {
        Level::V3
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn highest() -> Level {
    Level::V2
}

/// Its architecture, the extensions that some kernel, ours or a library's, is chosen by, the first-level cache, and what our kernels
/// are held back to.
pub(crate) fn kind() -> String {
    let mut words = vec![std::env::consts::ARCH.to_owned()];
    words.extend(extensions().into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()));
    let [first, ..] = *gemm_common::cache::CACHE_INFO;
    words.push(format!("l1d={}/{}", first.cache_bytes, first.associativity));
    if level() < highest() {
        words.push(format!("as {}", level().name()));
    }
    words.join(" ")
}

#[cfg(target_arch = "x86_64")]
fn extensions() -> [(&'static str, bool); 6] {
    [
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn extensions() -> [(&'static str, bool); 2] {
    [("fp16", std::arch::is_aarch64_feature_detected!("fp16")), ("bf16", std::arch::is_aarch64_feature_detected!("bf16"))]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn extensions() -> [(&'static str, bool); 0] {
    []
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_begins_with_the_architecture_and_names_the_cache() {
        let kind = kind();
        assert!(kind.starts_with(std::env::consts::ARCH) && kind.contains(" l1d="), "{kind}");
        assert_eq!(kind, super::kind());
    }

    #[test]
    fn levels_are_read_by_name_and_are_in_order() {
        for (level, name) in Level::ALL {
            assert_eq!((name.parse::<Level>().unwrap(), level.name()), (level, name));
        }
        assert!(Level::V2 < Level::V3 && Level::V3 < Level::V4);
        let error = "avx2".parse::<Level>().unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("x86-64-v3")), "{error}");
    }
}
