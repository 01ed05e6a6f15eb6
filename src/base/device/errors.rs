//! A card that cannot be opened.

use crate::base::card_errors::meaning;
use crate::base::error::Error;

pub(crate) fn refused(place: &str, error: candle_core::Error) -> Error {
    let text = error.to_string();
    match meaning(&text) {
        Some((what, hint)) => Error::input(format!("{place}: {what}")).hint(hint),
        None => Error::machine(format!("{place} cannot be opened")).hint("--device cpu works without a card").caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::card_errors::is_out_of_memory;

    #[test]
    fn errors_of_cuda_get_a_meaning_and_a_hint() {
        // As cudarc and candle write them.
        for (text, word) in [
            (r#"DriverError(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")"#, "no NVIDIA card"),
            (r#"DriverError(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")"#, "this number"),
            (
                r#"DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain.") when loading affine"#,
                "too old",
            ),
            (r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#, "memory is full"),
            (r#"DriverError(CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA-capable device(s) is/are busy or unavailable")"#, "for itself"),
            ("CublasError(CUBLAS_STATUS_NOT_INITIALIZED)", "cuBLAS does not start"),
            ("CurandError(CURAND_STATUS_INITIALIZATION_FAILED)", "cuRAND does not start"),
        ] {
            let (what, hint) = meaning(text).unwrap_or_else(|| panic!("{text} has no meaning"));
            assert!(what.contains(word) && !hint.is_empty(), "{text}: {what}");
            let error = refused("cuda:0", candle_core::Error::Msg(text.into()));
            assert!(error.to_string().starts_with("cuda:0: ") && error.hint_text().is_some() && error.exit_code() == 2);
        }
        assert!(meaning("a shape that does not fit").is_none());
        assert!(is_out_of_memory(r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#) && !is_out_of_memory("shape mismatch"));
    }
}
