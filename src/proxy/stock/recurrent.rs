//! LSTM and GRU, one step after the other.

use candle_core::{DType, Result, Tensor};

use super::pointwise::sigmoid;

/// One direction of an LSTM (`gates` 4: i f g o) or GRU (3: r z n), batch first, zero initial state, all outputs.
pub(crate) fn recurrent(x: &Tensor, hidden: usize, bias: bool, reverse: bool, tensors: &[Tensor], gates: usize) -> Result<Tensor> {
    let (batch, steps, width) = x.dims3()?;
    let inputs = x.contiguous()?.reshape((batch * steps, width))?.matmul(&tensors[0].t()?)?;
    let inputs = if bias { inputs.broadcast_add(&tensors[2])? } else { inputs };
    let inputs = inputs.reshape((batch, steps, gates * hidden))?;
    let mut h = Tensor::zeros((batch, hidden), DType::F32, x.device())?;
    let mut c = h.clone();
    let mut outputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let at = if reverse { steps - 1 - step } else { step };
        let input = inputs.narrow(1, at, 1)?.squeeze(1)?;
        let state = h.matmul(&tensors[1].t()?)?;
        let state = if bias { state.broadcast_add(&tensors[3])? } else { state };
        let gate = |of: &Tensor, i: usize| of.narrow(1, i * hidden, hidden);
        if gates == 4 {
            let sum = (input + state)?;
            let (i, f, o) = (sigmoid(&gate(&sum, 0)?)?, sigmoid(&gate(&sum, 1)?)?, sigmoid(&gate(&sum, 3)?)?);
            c = ((f * &c)? + (i * gate(&sum, 2)?.tanh()?)?)?;
            h = (o * c.tanh()?)?;
        } else {
            let r = sigmoid(&(gate(&input, 0)? + gate(&state, 0)?)?)?;
            let z = sigmoid(&(gate(&input, 1)? + gate(&state, 1)?)?)?;
            let n = (gate(&input, 2)? + (r * gate(&state, 2)?)?)?.tanh()?;
            h = ((&n - (&z * &n)?)? + (&z * &h)?)?;
        }
        outputs.push(h.unsqueeze(1)?);
    }
    if reverse {
        outputs.reverse();
    }
    Tensor::cat(&outputs, 1)
}
