//! Where tensors are: the processor, or one card. Which operations have a kernel there, how much memory is free, and what to do when a
//! card cannot be had.

#[cfg(any(test, feature = "cuda", feature = "metal"))]
mod errors;
#[cfg(feature = "cuda")]
mod nvidia;

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use candle_core::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(any(feature = "cuda", feature = "metal"))]
use crate::base::device::errors::refused;
use crate::base::error::{Error, Result};

/// What a setting names: `cpu`, `cuda:N`, `metal:N`, or `auto`, which takes the first card there is and else the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA card, by its number from 0.
    Cuda(usize),
    /// An Apple GPU, by its number from 0.
    Metal(usize),
    /// The first card there is, else the processor; see [`Place::settle`].
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
    /// Whether it names a card; `auto` names none.
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
    pub(crate) place: String,
    /// As its driver calls it; `a card` where that is not asked.
    pub name: String,
    /// As CUDA counts it: 13.0 is 13000.
    pub driver: Option<u32>,
    /// In bytes.
    pub free: Option<u64>,
    /// In bytes.
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
    pub(crate) fn check(&self, what: &str, need: u64, budget: u64) -> Result<()> {
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
pub(crate) fn available(device: &Device, budget_mib: u64) -> Result<Option<u64>> {
    let Some(card) = Card::of(device)? else { return Ok(None) };
    let free = card.free.unwrap_or(u64::MAX);
    Ok(Some(if budget_mib == 0 { free } else { free.min(budget_mib << 20) }))
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
