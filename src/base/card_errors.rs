//! What the errors of a card mean, and what to do about them: from the texts that candle and cudarc write.

/// Whether an error's text says that a card's memory is full.
pub(crate) fn is_out_of_memory(text: &str) -> bool {
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED", "Failed to create metal resource"].iter().any(|mark| text.contains(mark))
}

/// What errors of CUDA mean: parts of candle's text, what to say, what to do. The first that fits counts.
const MEANINGS: &[(&[&str], &str, &str)] = &[
    (
        &["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"],
        "the card's memory is full",
        "nvidia-smi shows who holds it; lower llm.card_memory_mib, proxy.workers or llm.max_context, or use --device cpu",
    ),
    (
        &["CUDA_ERROR_NO_DEVICE"],
        "there is no NVIDIA card that can be used",
        "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu",
    ),
    (&["CUDA_ERROR_INVALID_DEVICE"], "there is no card of this number", "nvidia-smi -L lists the cards; they count from 0"),
    (
        &["CUDA_ERROR_UNSUPPORTED_PTX_VERSION"],
        "the driver is too old for this program",
        "update the NVIDIA driver (CUDA 13 wants 580 or newer), or build with an older nvcc on PATH",
    ),
    (
        &["CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"],
        "the driver's library and its kernel module are of different versions",
        "reload the NVIDIA module or restart the machine after an update of the driver",
    ),
    (
        &["CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"],
        "the driver is too old for this program",
        "update the NVIDIA driver, or remove the forward-compatibility libraries from LD_LIBRARY_PATH",
    ),
    (
        &["CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_PTX"],
        "the card is older than this program was built for",
        "build again with CUDA_COMPUTE_CAP set to the card's (nvidia-smi --query-gpu=compute_cap)",
    ),
    (
        &["CUDA_ERROR_DEVICE_UNAVAILABLE"],
        "another program has the card for itself",
        "end it (nvidia-smi shows which), or set the card's compute mode back to shared (nvidia-smi -c 0)",
    ),
    (&["CUDA_ERROR_SYSTEM_NOT_READY"], "the card is not ready", "start the fabric manager (systems with NVSwitch need it), then try again"),
    (&["CUDA_ERROR_STUB_LIBRARY"], "libcuda.so.1 is the toolkit's stub, not the driver's", "take the stubs folder out of LD_LIBRARY_PATH"),
    (
        &["CUDA_ERROR_OPERATING_SYSTEM"],
        "the system refuses the card",
        "check the rights on /dev/nvidia*, and that the container was given the card",
    ),
    (&["CUDA_ERROR_MPS"], "the MPS server does not answer", "restart it (nvidia-cuda-mps-control), or end it"),
    (
        &["CUBLAS_STATUS_NOT_INITIALIZED"],
        "cuBLAS does not start on this card",
        "mostly the driver is older than the CUDA libraries, or the card's memory is full: see nvidia-smi",
    ),
    (
        &["CUBLAS_STATUS_ARCH_MISMATCH"],
        "the CUDA libraries no longer know this card",
        "it is too old for them; build with an older CUDA, or use --device cpu",
    ),
    (
        &["CURAND_STATUS"],
        "cuRAND does not start on this card",
        "mostly the driver is older than the CUDA libraries, or the card's memory is full: see nvidia-smi",
    ),
    (
        &["CUDA_ERROR_ECC_UNCORRECTABLE"],
        "the card's memory has an error that it could not correct",
        "reset the card or restart the machine; if it comes again the card is broken",
    ),
];

/// What an error of a card means, and what to do about it.
pub(crate) fn meaning(text: &str) -> Option<(&'static str, &'static str)> {
    MEANINGS.iter().find(|(marks, ..)| marks.iter().any(|mark| text.contains(mark))).map(|(_, what, hint)| (*what, *hint))
}
