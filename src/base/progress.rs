//! What a run shows while it goes on: a bar per phase on a terminal, plain lines elsewhere (no bars in log files).

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::printer;

/// What a phase of a cycle took.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseRow {
    /// From 1; 0 for what comes before the first one.
    pub cycle: u64,
    /// What was done: `propose`, `screen`, `train`, ..
    pub name: String,
    /// Time by the wall clock.
    pub seconds: f64,
    /// Highest resident memory of this process during the phase, in MiB; 0 where the system does not tell.
    pub peak_mib: f64,
}

/// A phase in progress. [`Phase::finish`] gives its row for the store.
pub(crate) struct Phase {
    cycle: u64,
    name: &'static str,
    bar: ProgressBar,
    began: Instant,
}

impl Phase {
    /// Begins a phase of `steps` steps.
    pub(crate) fn begin(cycle: u64, name: &'static str, steps: u64) -> Self {
        forget_peak_memory();
        let terminal = std::io::stderr().is_terminal();
        let bar =
            ProgressBar::with_draw_target(Some(steps), if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        let style =
            ProgressStyle::with_template("  {prefix:<22} {bar:28} {pos}/{len}  {elapsed}  {msg}").expect("the template is well-formed");
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(if cycle == 0 { name.to_owned() } else { format!("cycle {cycle} {name}") });
        Self { cycle, name, bar, began: Instant::now() }
    }

    /// As many steps more than were known of when it began.
    pub(crate) fn more(&self, steps: u64) {
        self.bar.inc_length(steps);
    }

    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(crate) fn say(&self, message: impl Into<String>) {
        self.bar.set_message(printer::Plain(message.into()).to_string());
    }

    pub(crate) fn finish(self) -> PhaseRow {
        self.bar.finish_and_clear();
        PhaseRow { cycle: self.cycle, name: self.name.into(), seconds: self.began.elapsed().as_secs_f64(), peak_mib: peak_memory_mib() }
    }
}

/// A line that stays, whatever bars come and go.
pub(crate) fn line(text: impl std::fmt::Display) {
    printer::note(text);
}

/// Highest resident memory of this process since the phase began, in MiB; 0 where the system does not tell.
pub fn peak_memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Linux resets the high-water mark on request.
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_phase_sees_the_memory_it_used() {
        let phase = Phase::begin(0, "test", 1);
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let during = phase.finish().peak_mib;
        drop(block);
        assert!(during >= 64.0, "{during}");
    }
}
