//! What the records say about a claim, in one form for all six: the effect that was estimated with its interval, the least effect that
//! would have been seen, and one of four verdicts.
//!
//! `holds` and `fails` both need evidence: a bound that is passed, with a margin that was declared beforehand. What passes neither is
//! `undecided`. Where the records do not meet what the claim supposes they speak for nothing, and the assumption is named.

use serde::{Deserialize, Serialize};

use super::statistics::Estimate;
use super::values::{Cell, Show};

/// What the records say about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The evidence is for it, by the margin declared beforehand.
    Holds,
    /// The evidence is against it, by the margin declared beforehand.
    Fails,
    /// The evidence suffices for neither.
    Undecided,
    /// The records do not meet what the claim supposes, so they speak neither for nor against it.
    AssumptionNotMet,
}

impl Verdict {
    pub(crate) const ALL: [Self; 4] = [Self::Holds, Self::Fails, Self::Undecided, Self::AssumptionNotMet];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Undecided => "undecided",
            Self::AssumptionNotMet => "assumption not met",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a claim supposes and records may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assumption {
    /// The policy is updated on its elites.
    Updated,
    /// The loss is the sum over the tokens of a completion.
    SummedLoss,
    /// What the test needs is on record.
    OnRecord,
    /// The quality is one fixed function: no novelty filter refuses what was seen.
    FixedObjective,
    /// The elites are chosen by the quality that the claim is about, and not by a gain or a rank.
    ChosenByQuality,
    /// The samples are drawn from p itself (q = p).
    OwnSamples,
    /// The elites are fewer than all that could have been elite.
    Selection,
    /// The family of policies is not restricted.
    Family,
    /// The elites are chosen by one fixed threshold.
    FixedThreshold,
    /// gamma* is known: fixed in the settings, or the mean of at least 5 trainings of the best start network.
    KnownThreshold,
    /// There are enough cycles.
    Cycles,
    /// Some samples reach gamma* and some do not.
    SomeReach,
    /// Two cycles share parents, or samples were scored after the update.
    Overlap,
    /// There are records of both formats: deltas and full code.
    TwoFormats,
    /// Both formats have valid networks.
    Rates,
    /// Token errors are a first-order chain.
    FirstOrder,
    /// Both formats begin with the same adapter.
    SameWarmUp,
    /// There are valid networks to compare.
    ValidNetworks,
    /// There is an arm without the filter.
    TwoArms,
    /// Both arms asked for as many candidates.
    EqualBudgets,
    /// Each arm has two runs or more.
    SeveralSeeds,
    /// Without the filter the policy collapses.
    Collapse,
    /// Two networks or more were trained with several seeds.
    Repeats,
}

impl Assumption {
    /// As it should be.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Updated => "the policy is updated on its elites",
            Self::SummedLoss => "the loss is the sum over the tokens of a completion",
            Self::OnRecord => "what the test needs is on record",
            Self::FixedObjective => "the quality is one fixed function, without a novelty filter that refuses what was seen",
            Self::ChosenByQuality => "the elites are chosen by the quality that the claim is about, and not by a gain or a rank",
            Self::OwnSamples => "the samples are drawn from p itself (q = p)",
            Self::Selection => "the elites are a selection: fewer than all that were trained",
            Self::Family => "the family of policies is not restricted",
            Self::FixedThreshold => "the elites are chosen by one fixed threshold",
            Self::KnownThreshold => "gamma* is known: the mean of at least 5 trainings of the best start network",
            Self::Cycles => "there are enough cycles",
            Self::SomeReach => "some samples reach gamma* and some do not",
            Self::Overlap => "two cycles share parents, or the samples of one speak for the policy after its update",
            Self::TwoFormats => "there are records of both formats",
            Self::Rates => "both formats have valid networks",
            Self::FirstOrder => "token errors are a first-order chain",
            Self::SameWarmUp => "both formats begin with the same adapter",
            Self::ValidNetworks => "there are valid networks to compare",
            Self::TwoArms => "there is an arm without the filter",
            Self::EqualBudgets => "both arms have the same budget",
            Self::SeveralSeeds => "each arm has two seeds or more",
            Self::Collapse => "without the filter the policy collapses",
            Self::Repeats => "two networks or more were trained with several seeds",
        }
    }
}

/// What was estimated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    pub(crate) name: String,
    /// With its 95% interval, whose ends are infinite where there is but one value.
    pub estimate: Estimate,
    /// The least true effect that is found with a probability of 80%; None where the estimate is exact or there is no such number.
    pub detectable: Option<f64>,
    pub(crate) show: Show,
}

/// The outcome of a claim's test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The outcome in one of four words.
    pub verdict: Verdict,
    /// With [`Verdict::AssumptionNotMet`].
    pub broken: Option<Assumption>,
    /// None where nothing could be estimated.
    pub effect: Option<Effect>,
}

impl Finding {
    /// A verdict where no assumption is broken.
    pub const fn of(verdict: Verdict, effect: Option<Effect>) -> Self {
        Self { verdict, broken: None, effect }
    }

    pub(crate) const fn broken(assumption: Assumption, effect: Option<Effect>) -> Self {
        Self { verdict: Verdict::AssumptionNotMet, broken: Some(assumption), effect }
    }

    /// The effect of a decision by two bounds: `holds` where the interval lies above `good`, `fails` where it lies below `bad`.
    pub(crate) fn bounded(effect: Effect, good: f64, bad: f64) -> Self {
        let Estimate { low, high, .. } = effect.estimate;
        let verdict = if low >= good {
            Verdict::Holds
        } else if high < bad {
            Verdict::Fails
        } else {
            Verdict::Undecided
        };
        Self::of(verdict, Some(effect))
    }

    /// The first broken assumption takes the place of any verdict; that the family of policies is restricted only excuses a failure.
    #[must_use]
    pub(crate) fn supposing(self, broken: &[Assumption]) -> Self {
        match broken.iter().find(|assumption| **assumption != Assumption::Family) {
            Some(&assumption) => Self::broken(assumption, self.effect),
            None => self.excused(broken.is_empty(), Assumption::Family),
        }
    }

    /// The first of these that is not met takes the place of any verdict.
    #[must_use]
    pub(crate) fn unless(self, assumptions: &[(bool, Assumption)]) -> Self {
        match assumptions.iter().find(|(met, _)| !met) {
            Some(&(_, assumption)) => Self::broken(assumption, self.effect),
            None => self,
        }
    }

    /// A failure that a broken assumption explains is none of the claim.
    #[must_use]
    pub(crate) fn excused(self, met: bool, assumption: Assumption) -> Self {
        if !met && self.verdict == Verdict::Fails { Self::broken(assumption, self.effect) } else { self }
    }
}

impl Effect {
    /// `share realised .096 [.081, .112], .02 would have been found`, the parts apart.
    pub(crate) fn cells(&self) -> (Cell, Cell) {
        let Estimate { value, low, high } = self.estimate;
        let interval = (low.is_finite() && high.is_finite()).then_some((low, high));
        (Cell::estimate(value, interval, self.show), Cell::number(self.detectable, self.show))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.broken {
            Some(assumption) => write!(f, "{}: {}", self.verdict, assumption.text()),
            None => write!(f, "{}", self.verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(low: f64, high: f64) -> Finding {
        let estimate = Estimate { value: f64::midpoint(low, high), low, high };
        Finding::bounded(Effect { name: "x".into(), estimate, detectable: None, show: Show::Fixed(2) }, 0.9, 0.9)
    }

    #[test]
    fn a_bound_decides_and_an_interval_around_it_does_not() {
        assert_eq!(bounded(0.91, 0.99).verdict, Verdict::Holds);
        assert_eq!(bounded(0.1, 0.89).verdict, Verdict::Fails);
        assert_eq!(bounded(0.8, 0.95).verdict, Verdict::Undecided);
        assert_eq!(bounded(f64::NAN, f64::NAN).verdict, Verdict::Undecided, "what is unknown decides nothing");
    }

    #[test]
    fn a_broken_assumption_is_named_and_excuses_only_a_failure() {
        let broken = bounded(0.91, 0.99).unless(&[(true, Assumption::Updated), (false, Assumption::FixedObjective)]);
        assert_eq!((broken.verdict, broken.broken), (Verdict::AssumptionNotMet, Some(Assumption::FixedObjective)));
        assert!(broken.effect.is_some() && broken.to_string().contains("without a novelty filter"), "{broken}");
        assert_eq!(bounded(0.91, 0.99).excused(false, Assumption::Family).verdict, Verdict::Holds);
        assert_eq!(bounded(0.1, 0.2).excused(false, Assumption::Family).broken, Some(Assumption::Family));
        assert_eq!(bounded(0.1, 0.2).excused(true, Assumption::Family).verdict, Verdict::Fails);
    }
}
