//! The kind of the processor: what of it may change the last bits of a sum.

/// Its architecture and the extensions that some kernel, ours or a library's, is chosen by.
pub fn kind() -> String {
    let words = [std::env::consts::ARCH].into_iter().chain(extensions().into_iter().filter(|(_, there)| *there).map(|(name, _)| name));
    words.collect::<Vec<_>>().join(" ")
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
    #[test]
    fn the_kind_begins_with_the_architecture_and_stays_the_same() {
        assert!(super::kind().starts_with(std::env::consts::ARCH));
        assert_eq!(super::kind(), super::kind());
    }
}
