//! What only CUDA has: its libraries, and what a card says of itself.

use std::ffi::CStr;

use candle_core::CudaDevice;
use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result;

use super::Card;
use crate::base::error::{Error, Result};

/// Opens what the program calls and, built by scripts/build-cuda, does not name as needed; calls find it because they are bound when
/// first made.
pub(crate) fn open_libraries(place: &str) -> Result<()> {
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

pub(crate) fn card(device: &CudaDevice) -> Result<Card> {
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
