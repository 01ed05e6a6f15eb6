//! What a study shows while it goes on: one bar of all runs and a line for each that goes on, on a terminal; elsewhere a line
//! for each run that ended.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::estimate;
use super::job::{Failure, Job, State};
use crate::base::printer;
use crate::base::show::duration;

pub(crate) struct View {
    all: MultiProgress,
    runs: ProgressBar,
    now: ProgressBar,
}

impl View {
    pub(crate) fn begin(runs: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let all = MultiProgress::with_draw_target(if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        let style = |template| ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━╸─");
        let bar = all.add(ProgressBar::new(runs as u64)).with_style(style("  study {bar:28} {pos}/{len} runs  {msg}"));
        let now = all.add(ProgressBar::no_length()).with_style(style("  {msg}"));
        Self { all, runs: bar, now }
    }

    pub(crate) fn show(&self, jobs: &[Job], states: &[State], running: &[usize], workers: usize) {
        self.runs.set_position(finished(states) as u64);
        self.runs.set_message(left(jobs, states, workers));
        let line = |&place: &usize| {
            let job = &jobs[place];
            format!("{}  cycle {} of {}", job.name(), (states[place].cycles + 1).min(job.settings.cycles()), job.settings.cycles())
        };
        self.now.set_message(running.iter().map(line).collect::<Vec<_>>().join("\n  "));
    }

    pub(crate) fn finished(&self, jobs: &[Job], states: &[State], place: usize, workers: usize) {
        let (job, state) = (&jobs[place], states[place]);
        let done = format!("{} of {}: {} in {}", finished(states), jobs.len(), job.name(), duration(state.seconds));
        let left = left(jobs, states, workers);
        self.all.suspend(|| printer::note(if left.is_empty() { done } else { format!("{done}; {left}") }));
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        self.all.suspend(|| printer::note(format_args!("failed: {}: {}", failure.job, failure.message)));
    }

    pub(crate) fn lost(&self, job: &Job, why: &str) {
        self.all.suspend(|| printer::note(format_args!("{} is handed over again: {why}", job.name())));
    }

    pub(crate) fn end(&self) {
        self.now.finish_and_clear();
        self.runs.finish_and_clear();
    }
}

fn finished(states: &[State]) -> usize {
    states.iter().filter(|s| s.finished).count()
}

fn left(jobs: &[Job], states: &[State], workers: usize) -> String {
    let tasks: Vec<estimate::Task> = jobs
        .iter()
        .zip(states)
        .map(|(job, state)| estimate::Task {
            arm: (&job.model, &job.arm),
            cycles: job.settings.cycles(),
            closed: state.cycles,
            seconds: state.seconds,
            finished: state.finished,
        })
        .collect();
    match estimate::left(&tasks, workers) {
        Some(seconds) if seconds > 0.0 => format!("about {} left", duration(seconds)),
        _ => String::new(),
    }
}
