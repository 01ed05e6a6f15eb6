//! `nll_i = log(sum_v e^(z_iv)) - z_i,target` with `z = h W`, `h (m, width)`, `W (width, vocab)` frozen.
//!
//! The logits are computed a few rows at a time and never kept. Since the loss is linear in each `nll_i`, the forward pass
//! also computes `dh_i = (softmax(z_i) - onehot(target_i)) W^T` when a gradient will be wanted; backward only scales its rows.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::bf16_matmul::matmul_in;
use super::frozen::frozen;
use super::matmul::{Into, View};
use super::{slice_of, vector};
use crate::decoder::model::weight::Weight;
use crate::decoder::settings::llm::TuningDtype;

/// Rows whose logits exist at one time.
pub(crate) const ROWS: usize = 192;

/// Negative log-likelihood of each row's target. `h (m, width)`, `head (width, vocab)`; gives `(m)`. `dtype` is that of the products.
pub(crate) fn nll(h: &Tensor, head: &Weight, targets: &[u32], dtype: TuningDtype) -> Result<Tensor> {
    let (m, vocab) = (h.dim(0)?, head.output());
    if m != targets.len() || targets.iter().any(|t| *t as usize >= vocab) {
        bail!("{m} rows of logits over {vocab} entries do not fit {} targets", targets.len());
    }
    let op = CrossEntropy { head: head.clone(), targets: targets.to_vec(), wanted: h.track_op(), dtype, gradient: Mutex::new(None) };
    h.contiguous()?.apply_op1(op)
}

/// The same from stock operations.
pub(crate) fn nll_stock(h: &Tensor, head: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let logits = frozen(h, head)?;
    let targets = Tensor::new(targets, h.device())?.unsqueeze(1)?;
    let top = logits.detach().max_keepdim(1)?;
    let lse = (logits.broadcast_sub(&top)?.exp()?.sum_keepdim(1)?.log()? + top)?;
    (lse - logits.gather(&targets, 1)?)?.squeeze(1)
}

struct CrossEntropy {
    head: Weight,
    targets: Vec<u32>,
    wanted: bool,
    dtype: TuningDtype,
    /// `d nll_i / d h_i`, row by row.
    gradient: Mutex<Option<Tensor>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (h, (m, width), vocab) = (slice_of(storage, layout)?, layout.shape().dims2()?, self.head.output());
        let head = self.head.dense()?;
        let head = head.view();
        let mut nll = vec![0.0; m];
        let mut gradient = vec![0.0; if self.wanted { m * width } else { 0 }];
        let mut logits = vec![0.0; ROWS.min(m) * vocab];
        for (i, targets) in self.targets.chunks(ROWS).enumerate() {
            let (start, rows) = (i * ROWS, targets.len());
            let logits = &mut logits[..rows * vocab];
            let h = View::new(&h[start * width..][..rows * width], rows, width);
            matmul_in(self.dtype, logits, vocab, Into::Overwrite, h, head);
            logits.par_chunks_mut(vocab).zip(&mut nll[start..start + rows]).zip(targets).for_each(|((z, nll), target)| {
                let (target, top) = (*target as usize, vector::max(z));
                let own = z[target];
                let sum = vector::exp_sum(z, 1.0, top);
                *nll = top + sum.ln() - own;
                if self.wanted {
                    vector::scale(z, 1.0 / sum);
                    z[target] -= 1.0;
                }
            });
            if self.wanted {
                let dh = &mut gradient[start * width..][..rows * width];
                matmul_in(self.dtype, dh, width, Into::Overwrite, View::new(logits, rows, vocab), head.t());
            }
        }
        if self.wanted {
            *self.gradient.lock().expect("no panic holds this lock") = Some(Tensor::from_vec(gradient, (m, width), &Device::Cpu)?);
        }
        Ok((CpuStorage::F32(nll), m.into()))
    }

    fn bwd(&self, _h: &Tensor, _nll: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        match &*self.gradient.lock().expect("no panic holds this lock") {
            Some(rows) => Ok(Some(rows.broadcast_mul(&grad.to_dtype(DType::F32)?.unsqueeze(1)?)?)),
            None => bail!("cross-entropy was computed without a gradient"),
        }
    }
}
