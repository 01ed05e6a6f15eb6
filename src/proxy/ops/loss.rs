//! Cross-entropy of logits (n, classes), mean over the batch, with label smoothing `s`:
//!
//! `loss = mean_n (1 - s) * -log p[n, label_n] + s / classes * sum_c -log p[n, c]`, `dlogits = (p - target) / n`.
//!
//! Logits are few, so they are fetched from whatever device they are on and the sums are in f64.

use candle_core::{Result, Tensor};

/// What a batch says of a classifier.
pub struct Loss {
    /// Mean over the batch.
    pub value: f64,
    pub(crate) correct: usize,
    /// Gradient of the logits.
    pub gradient: Tensor,
}

/// The loss of logits (n, classes), `smoothing` being the share of a label that goes to all classes alike.
///
/// # Errors
/// Where there is not one label a row, or one is no class.
pub fn cross_entropy(logits: &Tensor, labels: &[u8], smoothing: f64) -> Result<Loss> {
    let (rows, classes) = logits.dims2()?;
    if rows != labels.len() || labels.iter().any(|&label| usize::from(label) >= classes) {
        candle_core::bail!("{} labels do not fit logits of {:?}", labels.len(), logits.dims());
    }
    let values = logits.flatten_all()?.to_vec1::<f32>()?;
    let mut gradient = Vec::with_capacity(values.len());
    let (mut total, mut correct) = (0f64, 0);
    let floor = smoothing / classes as f64;
    for (row, &label) in values.chunks_exact(classes).zip(labels) {
        let label = usize::from(label);
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        correct += usize::from(row.iter().position(|&v| v == best) == Some(label));
        let sum: f64 = row.iter().map(|&v| f64::from(v - best).exp()).sum();
        let log_sum = sum.ln() + f64::from(best);
        for (class, &v) in row.iter().enumerate() {
            let log_p = f64::from(v) - log_sum;
            let target = floor + if class == label { 1.0 - smoothing } else { 0.0 };
            if target != 0.0 {
                total -= target * log_p;
            }
            gradient.push(((log_p.exp() - target) / rows as f64) as f32);
        }
    }
    let gradient = Tensor::from_vec(gradient, (rows, classes), logits.device())?;
    Ok(Loss { value: total / rows as f64, correct, gradient })
}
