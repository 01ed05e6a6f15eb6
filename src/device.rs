//! Where tensors are: the processor, or one card. Which operations have a kernel there, how much memory is free, and what to do when a
//! card cannot be had.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a setting names: `cpu`, `cuda:N`, `metal:N`, or `auto`, which takes the first card there is and else the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    #[default]
    Cpu,
    Cuda(usize),
    Metal(usize),
    Auto,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        let number = number.parse().map_err(|_| format!("'{text}' names no device: cpu, cuda:0, metal:0 or auto"))?;
        match (kind, text.contains(':')) {
            ("cpu", false) => Ok(Self::Cpu),
            ("auto", false) => Ok(Self::Auto),
            ("cuda", _) => Ok(Self::Cuda(number)),
            ("metal", _) => Ok(Self::Metal(number)),
            _ => Err(format!("'{text}' names no device: cpu, cuda:0, metal:0 or auto")),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

/// Cards that are open: candle takes two openings of one card for two cards.
static OPEN: Mutex<Vec<(Place, Device)>> = Mutex::new(Vec::new());

impl Place {
    pub fn is_card(self) -> bool {
        matches!(self, Self::Cuda(_) | Self::Metal(_))
    }

    /// The device itself; [`Place::Auto`] has to be settled first.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub fn open(self) -> Result<Device> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, device)) = open.iter().find(|(place, _)| *place == self) {
            return Ok(device.clone());
        }
        let device = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Cuda(number) => cuda(number)?,
            Self::Metal(number) => metal(number)?,
            Self::Auto => return Err(Error::machine("'auto' was to be settled before a device is opened")),
        };
        open.push((self, device.clone()));
        Ok(device)
    }

    /// A place that can be opened: `auto` becomes the first card, or the processor with a reason why no card.
    pub fn settle(self) -> (Self, Option<String>) {
        if self != Self::Auto {
            return (self, None);
        }
        let first = if cfg!(feature = "metal") { Self::Metal(0) } else { Self::Cuda(0) };
        match first.open() {
            Ok(_) => (first, None),
            Err(error) => (Self::Cpu, Some(format!("device auto: computing on the processor, because {error}"))),
        }
    }
}

/// Which implementation of an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Ours, where there are some: on the processor.
    Own,
    /// Candle's own differentiable operations everywhere.
    Stock,
}

impl Kernels {
    /// What runs on `device` when these are asked for.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        if device.is_cpu() { self } else { Self::Stock }
    }
}

/// What a card is and how it is used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    pub place: String,
    pub name: String,
    /// As CUDA counts it: 13.0 is 13000.
    pub driver: Option<u32>,
    /// In bytes.
    pub free: Option<u64>,
    pub total: Option<u64>,
}

impl Card {
    /// Of an open card; of the processor there is none.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn of(device: &Device) -> Result<Option<Self>> {
        match device {
            Device::Cpu => Ok(None),
            #[cfg(feature = "cuda")]
            Device::Cuda(card) => nvidia::card(card).map(Some),
            other => {
                Ok(Some(Self { place: format!("{:?}", other.location()), name: "a card".into(), driver: None, free: None, total: None }))
            }
        }
    }

    /// Whether `need` bytes fit, of at most `budget` (0: of what is free).
    ///
    /// # Errors
    /// Says whether the card is too small, taken by others, or the budget too low.
    pub fn check(&self, what: &str, need: u64, budget: u64) -> Result<()> {
        let (Some(free), Some(total)) = (self.free, self.total) else { return Ok(()) };
        let sizes = format!("{what} needs {}", gib(need));
        if budget > 0 && need > budget {
            return Err(Error::input(format!("{sizes}, the settings allow {}", gib(budget))).hint("raise llm.card_memory_mib"));
        }
        if need > total {
            return Err(Error::input(format!("{}: {sizes}, the card has {}", self.place, gib(total)))
                .hint("the card is too small: take a smaller model, lower llm.max_context, or use --device cpu"));
        }
        if need > free {
            return Err(Error::input(format!("{}: {sizes}, {} of {} are free", self.place, gib(free), gib(total)))
                .hint("other programs hold the card's memory (nvidia-smi shows which): end them, take another card, or use --device cpu"));
        }
        Ok(())
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Bytes that may be taken on a device now: what is free, at most `budget_mib` where that is not 0; `None` on the processor.
pub fn available(device: &Device, budget_mib: u64) -> Result<Option<u64>> {
    let Some(card) = Card::of(device)? else { return Ok(None) };
    let free = card.free.unwrap_or(u64::MAX);
    Ok(Some(if budget_mib == 0 { free } else { free.min(budget_mib << 20) }))
}

/// Whether an error's text says that a card's memory is full.
pub fn is_out_of_memory(text: &str) -> bool {
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED", "Failed to create metal resource"].iter().any(|mark| text.contains(mark))
}

/// What errors of CUDA mean: a part of candle's text, what to say, what to do. The first that fits counts.
const MEANINGS: &[(&str, &str, &str)] = &[
    (
        "CUDA_ERROR_OUT_OF_MEMORY",
        "the card's memory is full",
        "nvidia-smi shows who holds it; lower llm.card_memory_mib, proxy.workers or llm.max_context, or use --device cpu",
    ),
    (
        "CUBLAS_STATUS_ALLOC_FAILED",
        "the card's memory is full",
        "nvidia-smi shows who holds it; lower llm.card_memory_mib, proxy.workers or llm.max_context, or use --device cpu",
    ),
    ("CUDA_ERROR_NO_DEVICE", "there is no NVIDIA card that can be used", "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu"),
    ("CUDA_ERROR_INVALID_DEVICE", "there is no card of this number", "nvidia-smi -L lists the cards; they count from 0"),
    (
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        "the driver is too old for this program",
        "update the NVIDIA driver (CUDA 13 wants 580 or newer), or build with an older nvcc on PATH",
    ),
    (
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        "the driver's library and its kernel module are of different versions",
        "reload the NVIDIA module or restart the machine after an update of the driver",
    ),
    (
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        "the driver is too old for this program",
        "update the NVIDIA driver, or remove the forward-compatibility libraries from LD_LIBRARY_PATH",
    ),
    (
        "CUDA_ERROR_NO_BINARY_FOR_GPU",
        "the card is older than this program was built for",
        "build again with CUDA_COMPUTE_CAP set to the card's (nvidia-smi --query-gpu=compute_cap)",
    ),
    (
        "CUDA_ERROR_INVALID_PTX",
        "the card is older than this program was built for",
        "build again with CUDA_COMPUTE_CAP set to the card's (nvidia-smi --query-gpu=compute_cap)",
    ),
    (
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        "another program has the card for itself",
        "end it (nvidia-smi shows which), or set the card's compute mode back to shared (nvidia-smi -c 0)",
    ),
    ("CUDA_ERROR_SYSTEM_NOT_READY", "the card is not ready", "start the fabric manager (systems with NVSwitch need it), then try again"),
    ("CUDA_ERROR_STUB_LIBRARY", "libcuda.so.1 is the toolkit's stub, not the driver's", "take the stubs folder out of LD_LIBRARY_PATH"),
    (
        "CUDA_ERROR_OPERATING_SYSTEM",
        "the system refuses the card",
        "check the rights on /dev/nvidia*, and that the container was given the card",
    ),
    ("CUDA_ERROR_MPS", "the MPS server does not answer", "restart it (nvidia-cuda-mps-control), or end it"),
    (
        "CUBLAS_STATUS_NOT_INITIALIZED",
        "cuBLAS does not start on this card",
        "mostly the driver is older than the CUDA libraries, or the card's memory is full: see nvidia-smi",
    ),
    (
        "CUBLAS_STATUS_ARCH_MISMATCH",
        "the CUDA libraries no longer know this card",
        "it is too old for them; build with an older CUDA, or use --device cpu",
    ),
    (
        "CURAND_STATUS",
        "cuRAND does not start on this card",
        "mostly the driver is older than the CUDA libraries, or the card's memory is full: see nvidia-smi",
    ),
    (
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        "the card's memory has an error that it could not correct",
        "reset the card or restart the machine; if it comes again the card is broken",
    ),
];

/// What an error of a card means, and what to do about it.
pub fn meaning(text: &str) -> Option<(&'static str, &'static str)> {
    MEANINGS.iter().find(|(mark, ..)| text.contains(mark)).map(|(_, what, hint)| (*what, *hint))
}

#[cfg(any(test, feature = "cuda", feature = "metal"))]
fn refused(place: &str, error: candle_core::Error) -> Error {
    let text = error.to_string();
    match meaning(&text) {
        Some((what, hint)) => Error::input(format!("{place}: {what}")).hint(hint),
        None => Error::machine(format!("{place} cannot be opened")).hint("--device cpu works without a card").caused_by(error),
    }
}

fn not_built(place: &str, how: &str) -> Error {
    Error::input(format!("{place}: this program was built without it")).hint(format!("{how}, or use --device cpu"))
}

#[cfg(not(feature = "cuda"))]
fn cuda(number: usize) -> Result<Device> {
    Err(not_built(&format!("cuda:{number}"), "build with scripts/build-cuda"))
}

#[cfg(not(feature = "metal"))]
fn metal(number: usize) -> Result<Device> {
    Err(not_built(&format!("metal:{number}"), "build with cargo build --release --features metal on macOS"))
}

#[cfg(feature = "metal")]
fn metal(number: usize) -> Result<Device> {
    Device::new_metal(number).map_err(|error| refused(&format!("metal:{number}"), error))
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device> {
    let place = format!("cuda:{number}");
    nvidia::open_libraries(&place)?;
    // A stream of its own: the default one is another for each thread.
    let device = Device::new_cuda_with_stream(number).map_err(|error| refused(&place, error))?;
    // SAFETY: there is one stream, which orders everything; the events would order several.
    unsafe { device.as_cuda_device()?.disable_event_tracking() };
    // Candle loads its kernels when first used; a driver that is too old for them is better noticed here.
    candle_core::Tensor::zeros(1, candle_core::DType::F32, &device)
        .and_then(|one| one.affine(1.0, 1.0)?.to_vec1::<f32>())
        .map_err(|error| refused(&place, error))?;
    Ok(device)
}

#[cfg(feature = "cuda")]
mod nvidia {
    use std::ffi::CStr;

    use candle_core::CudaDevice;
    use candle_core::backend::BackendDevice;
    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::driver::result;

    use super::Card;
    use crate::error::{Error, Result};

    /// Opens what the program calls and, built by scripts/build-cuda, does not name as needed; calls find it because they are bound when
    /// first made.
    pub fn open_libraries(place: &str) -> Result<()> {
        open(c"libcuda.so.1").map_err(|why| {
            Error::input(format!("{place}: there is no NVIDIA driver ({why})"))
                .hint("install the driver (in a container: give it the card), or use --device cpu")
        })?;
        let libraries: &[&CStr] = match option_env!("ELITELOOP_CUDA_MAJOR") {
            Some("13") => &[c"libcublasLt.so.13", c"libcublas.so.13", c"libcurand.so.10", c"libnvrtc.so.13"],
            Some("12") => &[c"libcublasLt.so.12", c"libcublas.so.12", c"libcurand.so.10", c"libnvrtc.so.12"],
            // Linked to a toolkit's libraries, which are there or the program would not have started.
            _ => &[],
        };
        for name in libraries {
            open(name).map_err(|why| {
                Error::input(format!("{place}: a library of CUDA is missing ({why})"))
                    .hint("install the CUDA libraries, or put those of pip's PyTorch (nvidia/cu13/lib) in LD_LIBRARY_PATH")
            })?;
        }
        Ok(())
    }

    fn open(name: &CStr) -> Result<(), String> {
        // SAFETY: a C string and flags; the library stays open for good.
        if !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_GLOBAL) }.is_null() {
            return Ok(());
        }
        // SAFETY: after a failure dlerror gives a string that is valid until the next call of its family.
        let why = unsafe { CStr::from_ptr(libc::dlerror()) };
        Err(why.to_string_lossy().into_owned())
    }

    pub fn card(device: &CudaDevice) -> Result<Card> {
        // Freed blocks return to the card at a synchronisation.
        device.synchronize()?;
        let stream = device.cuda_stream();
        let context = stream.context();
        context.bind_to_thread().w()?;
        let (free, total) = result::mem_get_info().w()?;
        let mut driver = 0;
        // SAFETY: a pointer to a number that lives through the call.
        let known = unsafe { candle_core::cuda_backend::cudarc::driver::sys::cuDriverGetVersion(&raw mut driver) }.result().is_ok();
        Ok(Card {
            place: format!("cuda:{}", context.ordinal()),
            name: context.name().w()?,
            driver: known.then_some(driver as u32),
            free: Some(free as u64),
            total: Some(total as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for (text, place) in [("cpu", Place::Cpu), ("cuda:1", Place::Cuda(1)), ("metal:0", Place::Metal(0)), ("auto", Place::Auto)] {
            assert_eq!((text.parse(), place.to_string().as_str()), (Ok(place), text));
        }
        assert_eq!("cuda".parse(), Ok(Place::Cuda(0)));
        for wrong in ["gpu", "cuda:x", "cuda:", "cpu:0", "auto:1", ""] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

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

    #[test]
    fn a_card_that_is_too_small_taken_or_rationed_says_so() {
        let gib = |n: u64| n << 30;
        let card = Card { place: "cuda:0".into(), name: "x".into(), driver: None, free: Some(gib(4)), total: Some(gib(8)) };
        assert!(card.check("the model", gib(3), 0).is_ok() && card.check("the model", gib(3), gib(3)).is_ok());
        for (need, budget, word) in [(9, 0, "too small"), (5, 0, "nvidia-smi"), (3, 2, "card_memory_mib")] {
            let error = card.check("the model", gib(need), gib(budget)).unwrap_err();
            assert!(error.hint_text().unwrap().contains(word), "{error}");
        }
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_program_without_the_feature_says_how_to_get_it_and_auto_falls_back() {
        let error = Place::Cuda(0).open().unwrap_err();
        assert!(error.to_string().contains("built without") && error.hint_text().unwrap().contains("scripts/build-cuda"));
        let (place, why) = Place::Auto.settle();
        assert_eq!(place, Place::Cpu);
        assert!(why.unwrap().contains("built without") && Place::Cpu.settle() == (Place::Cpu, None));
    }
}
