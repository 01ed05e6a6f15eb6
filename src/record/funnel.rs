//! How far candidates got, as counts.

use serde::{Deserialize, Serialize};

use super::rows::Candidate;
use crate::gates::Stage;

/// How many candidates got how far. Each count includes the next; "parsed" and "applied" are first-try counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funnel {
    /// Samples that the policy was asked for.
    pub asked: u64,
    /// The completion is a delta of its format.
    pub parsed: u64,
    /// The delta applies to the parent.
    pub applied: u64,
    /// The source ran in the sandbox and is a network.
    pub traced: u64,
    /// Its parameters, its operations, its memory and its training are within the limits.
    pub within_budget: u64,
    /// It is neither its parent nor too similar to what was accepted before.
    pub novel: u64,
    /// Its training went through.
    pub trained: u64,
    /// It is among the elites of its cycle.
    pub elite: u64,
}

impl Funnel {
    /// What the counts are called: the stages, and the elites.
    pub(crate) const HEAD: [&str; 8] = {
        let [asked, parsed, applied, traced, within_budget, novel, trained] = Stage::ALL;
        [asked.name(), parsed.name(), applied.name(), traced.name(), within_budget.name(), novel.name(), trained.name(), "elite"]
    };

    /// Of how many candidates each gate let through, and how many of them are elite.
    #[must_use]
    pub(crate) fn of(candidates: &[Candidate], elites: usize) -> Self {
        let passed = |stage: Stage| candidates.iter().filter(|c| c.stage() >= Some(stage)).count() as u64;
        Self {
            asked: passed(Stage::Asked),
            parsed: passed(Stage::Parsed),
            applied: passed(Stage::Applied),
            traced: passed(Stage::Traced),
            within_budget: passed(Stage::WithinBudget),
            novel: passed(Stage::Novel),
            trained: passed(Stage::Trained),
            elite: elites as u64,
        }
    }

    #[must_use]
    pub(crate) fn counts(&self) -> [u64; 8] {
        let Self { asked, parsed, applied, traced, within_budget, novel, trained, elite } = *self;
        [asked, parsed, applied, traced, within_budget, novel, trained, elite]
    }
}

impl std::iter::Sum for Funnel {
    fn sum<I: Iterator<Item = Self>>(funnels: I) -> Self {
        funnels.fold(Self::default(), |sum, f| Self {
            asked: sum.asked + f.asked,
            parsed: sum.parsed + f.parsed,
            applied: sum.applied + f.applied,
            traced: sum.traced + f.traced,
            within_budget: sum.within_budget + f.within_budget,
            novel: sum.novel + f.novel,
            trained: sum.trained + f.trained,
            elite: sum.elite + f.elite,
        })
    }
}
