//! What was published of the method (arXiv 2605.04903 and 2605.30103), to stand beside what a study measures.

use crate::theory::Claim;

/// One row of the published table: 22 cycles of 50 candidates a model, one seed.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Share of the candidates that could be trained; failed deltas were retried or repaired and then counted too.
    pub(crate) valid: f64,
    /// Accuracy after one epoch, mean over six image sets.
    pub(crate) mean: f64,
    /// The best after one epoch on CIFAR-10.
    pub(crate) best: f64,
}

pub(crate) const ROWS: [Row; 4] = [
    Row { name: "DeepSeek-Coder-7B, deltas", valid: 0.753, mean: 0.658, best: 0.852 },
    Row { name: "Qwen2.5-Coder-7B, deltas", valid: 0.721, mean: 0.646, best: 0.806 },
    Row { name: "Mistral-7B, deltas", valid: 0.666, mean: 0.661, best: 0.855 },
    Row { name: "full code", valid: 0.506, mean: 0.423, best: 0.6398 },
];

/// What stands behind the rows.
pub(crate) const CAVEAT: &str = "Published (arXiv 2605.04903): 1,100 candidates a model, one seed, accuracy after one epoch (mean over six image sets, best on \
     CIFAR-10), failed deltas retried or repaired and then counted as valid, no random-search control. Other networks and other trainings \
     than here: rates compare, accuracies do not.";

/// What was published of a claim.
pub(crate) const fn of_claim(claim: Claim) -> &'static str {
    match claim {
        Claim::Update => "not measured: the adapters were trained on a static corpus, not on the elites of the cycle",
        Claim::Improvement => "assumed (raw means of 50 fall in 4 of 10 transitions of the exact method too: no evidence)",
        Claim::Convergence => "C above 1-(1-rho)^t, which independent draws satisfy too",
        Claim::Validity => "valid rate of deltas over full code: 2.23 predicted, 1.41 observed",
        Claim::Diversity => "the filter was not called by the published pipeline",
        Claim::Reliability => "Spearman .926 of one epoch with fifty (one model), on the top networks only",
    }
}
