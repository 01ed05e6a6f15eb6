//! Ctrl-C and SIGTERM: the first one asks for an end at the next safe place, the second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The signal that asked for an end; 0 is none.
static SIGNAL: AtomicUsize = AtomicUsize::new(0);

/// A flag that the first signal sets.
///
/// # Errors
/// The system takes no handler.
pub fn on_signal() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
        // SAFETY: what the handler does is one store into a static.
        unsafe { signal_hook::low_level::register(signal, move || SIGNAL.store(signal as usize, Ordering::Relaxed))? };
    }
    Ok(stop)
}

/// What a shell gives for a process that was ended so: 143 after SIGTERM, else 130.
pub(crate) fn exit_code() -> u8 {
    match SIGNAL.load(Ordering::Relaxed) {
        0 => 128 + SIGINT as u8,
        signal => 128 + signal as u8,
    }
}
