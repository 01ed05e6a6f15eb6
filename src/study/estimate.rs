//! How long the rest of a study takes.

use crate::theory::statistics::mean;

/// One run, as far as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// Model and arm: its runs take about as long.
    pub(crate) arm: (&'a str, &'a str),
    pub(crate) cycles: u64,
    pub(crate) closed: u64,
    /// What the closed cycles took.
    pub(crate) seconds: f64,
    pub(crate) finished: bool,
}

impl Task<'_> {
    /// What the whole run takes, by its own closed cycles.
    fn own(&self) -> Option<f64> {
        (self.closed > 0).then(|| self.seconds / self.closed as f64 * self.cycles.max(self.closed) as f64)
    }
}

/// Seconds until all are finished: what is left of each, by the finished runs of its arm, or else by what is done of the arm, or
/// else by all arms; shared by the workers. None before anything is known.
pub(crate) fn left(tasks: &[Task], workers: usize) -> Option<f64> {
    let whole = |task: &Task| {
        let same = || tasks.iter().filter(|other| other.arm == task.arm);
        let finished: Vec<f64> = same().filter(|t| t.finished).map(|t| t.seconds).collect();
        let begun: Vec<f64> = same().filter_map(Task::own).collect();
        [finished, begun].into_iter().find(|times| !times.is_empty()).map(|times| mean(&times))
    };
    let known: Vec<f64> = tasks.iter().filter_map(whole).collect();
    if known.is_empty() {
        return None;
    }
    let open: Vec<f64> =
        tasks.iter().filter(|t| !t.finished).map(|t| (whole(t).unwrap_or_else(|| mean(&known)) - t.seconds).max(0.0)).collect();
    let longest = open.iter().copied().fold(0.0, f64::max);
    Some((open.iter().sum::<f64>() / workers as f64).max(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(arm: &'static str, closed: u64, seconds: f64) -> Task<'static> {
        Task { arm: ("m", arm), cycles: 10, closed, seconds, finished: closed == 10 }
    }

    #[test]
    fn finished_runs_of_the_arm_count_before_all_else() {
        // An arm of 100 s a run, one of which half is done; an arm of which a tenth is done; an arm of which nothing is known.
        let tasks = [task("a", 10, 100.0), task("a", 5, 80.0), task("b", 1, 30.0), task("c", 0, 0.0)];
        let unknown = mean(&[100.0, 100.0, 300.0]);
        let (open, longest) = (20.0 + 270.0 + unknown, 270.0);
        assert!((left(&tasks, 1).unwrap() - open).abs() < 1e-9);
        assert!((left(&tasks, 8).unwrap() - longest).abs() < 1e-9);
        assert_eq!(left(&[task("a", 0, 0.0)], 1), None);
        assert_eq!(left(&[task("a", 10, 9.0)], 1), Some(0.0));
    }
}
