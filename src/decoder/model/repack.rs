//! The frozen matrices laid out in panels for decoding.

use candle_core::Tensor;
use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use super::blocks::{eight_bit, four_bit, is_eight_bit, is_four_bit};
use super::weight::{Part, Rows};
use crate::decoder::ops::floats;
use crate::decoder::ops::panel::{Data, Panels};
use crate::decoder::ops::panel_block::{Eight, Four, WIDE};
use half::bf16;

/// What [`repack`] takes for a matrix of this type, at most.
#[must_use]
pub(crate) fn panel_bytes(rows: usize, columns: usize, dtype: GgmlDType) -> u64 {
    let (size, inputs) = if is_four_bit(dtype) {
        (size_of::<Four>(), 32)
    } else if is_eight_bit(dtype) {
        (size_of::<Eight>(), 16)
    } else if dtype == GgmlDType::BF16 {
        (size_of::<[bf16; WIDE]>(), 1)
    } else {
        (size_of::<[f32; WIDE]>(), 1)
    };
    (rows.div_ceil(WIDE) * (columns / inputs) * size) as u64
}

/// Each part of a matrix in panels.
#[must_use]
pub(crate) fn repack(rows: &Rows) -> Vec<Panels> {
    rows.parts().iter().map(repack_part).collect()
}

fn repack_part(part: &Part) -> Panels {
    let (input, output, dtype) = (part.columns, part.rows, part.dtype);
    // Rows past the last one repeat it; what they give is never written.
    let row = |row: usize| part.row(row.min(output - 1));
    let data = if is_four_bit(dtype) {
        Data::Four(blocks(part, input / 32, |panel, index| {
            let lanes: [_; WIDE] = std::array::from_fn(|lane| four_bit(dtype, row(panel * WIDE + lane), index));
            Four {
                d: std::array::from_fn(|lane| lanes[lane].d),
                m: std::array::from_fn(|lane| lanes[lane].m),
                q: std::array::from_fn(|j| std::array::from_fn(|lane| lanes[lane].q[j] | lanes[lane].q[j + 16] << 4)),
            }
        }))
    } else if is_eight_bit(dtype) {
        Data::Eight(blocks(part, input / 16, |panel, index| {
            let lanes: [_; WIDE] = std::array::from_fn(|lane| eight_bit(dtype, row(panel * WIDE + lane), index));
            Eight { d: std::array::from_fn(|lane| lanes[lane].d), q: std::array::from_fn(|j| std::array::from_fn(|lane| lanes[lane].q[j])) }
        }))
    } else {
        let mut values = vec![0.0; input * output];
        values.chunks_mut(input).enumerate().for_each(|(row, out)| part.widen_row(row, out));
        return repack_f32(input, output, |i, o| values[o * input + i]);
    };
    Panels { input, output, data }
}

fn blocks<T: Send>(part: &Part, each: usize, block: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    (0..part.rows.div_ceil(WIDE) * each).into_par_iter().map(|i| block(i / each, i % each)).collect()
}

/// From f32 weights (out, in).
///
/// # Errors
/// Where they are on a card.
pub(crate) fn repack_tensor(weight: &Tensor) -> candle_core::Result<Panels> {
    let (output, input) = weight.dims2()?;
    let weight = weight.contiguous()?;
    let values = floats(&weight)?;
    Ok(repack_f32(input, output, |i, o| values[o * input + i]))
}

/// From `value(input, output)`: in bf16 where every value is one, as those of most published models are.
pub(crate) fn repack_f32(input: usize, output: usize, value: impl Fn(usize, usize) -> f32 + Sync) -> Panels {
    let panels = output.div_ceil(WIDE);
    let line = |i: usize| -> [f32; WIDE] {
        let (panel, input) = (i / input, i % input);
        std::array::from_fn(|lane| if panel * WIDE + lane < output { value(input, panel * WIDE + lane) } else { 0.0 })
    };
    let lines: Vec<[f32; WIDE]> = (0..panels * input).into_par_iter().map(line).collect();
    let is_half = lines.par_iter().flatten().all(|v| v.to_bits().trailing_zeros() >= 16);
    let data = if is_half { Data::Half(lines.par_iter().map(|line| line.map(bf16::from_f32)).collect()) } else { Data::Full(lines) };
    Panels { input, output, data }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::decoder::ops::matmul::Into;
    use crate::decoder::ops::panel::{LowRankPanels, product};

    const INPUT: usize = 512;

    fn matrix(dtype: GgmlDType, rows: usize) -> Part {
        let values: Vec<f32> = (0..rows * INPUT).map(|i| (i as f32 * 0.37).sin() + 0.3 * (i as f32 * 0.011).cos()).collect();
        let tensor = Tensor::from_vec(values, (rows, INPUT), &Device::Cpu).unwrap();
        let quantised = QTensor::quantize(&tensor, dtype).unwrap();
        Part::new(dtype, rows, INPUT, &quantised.data().unwrap()).unwrap()
    }

    /// In f64.
    fn definition(rows: &[Vec<f32>], x: &[f32]) -> Vec<f64> {
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
        x.chunks(INPUT).flat_map(|x| rows.iter().map(|w| dot(x, w)).collect::<Vec<_>>()).collect()
    }

    fn row(part: &Part, index: usize) -> Vec<f32> {
        let mut row = vec![0.0; part.columns];
        part.widen_row(index, &mut row);
        row
    }

    #[test]
    fn products_of_every_type_equal_those_of_the_widened_matrix_and_do_not_depend_on_the_batch() {
        use GgmlDType::{BF16, F16, F32, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        let x: Vec<f32> = (0..19 * INPUT).map(|i| (i as f32 * 0.013).cos()).collect();
        for dtypes in [[F32, BF16], [F16, Q4_0], [Q4_1, Q5_0], [Q5_1, Q8_0], [Q4K, Q6K], [Q5K, Q4_1]] {
            let parts = dtypes.map(|dtype| matrix(dtype, 44));
            let rows: Vec<Vec<f32>> = parts.iter().flat_map(|part| (0..44).map(|i| row(part, i)).collect::<Vec<_>>()).collect();
            let expected = definition(&rows, &x);
            let panels = repack(&Rows::new(parts.into()).unwrap());
            let times = |n: usize| {
                let mut out = vec![0.25; n * 88];
                product(&panels, None, &x[..n * INPUT], &mut out, Into::Add);
                out
            };
            let all = times(19);
            let worst = all.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - 0.25 - b).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-4, "{dtypes:?}: {worst}");
            for n in [1, 2, 3, 7, 16] {
                assert_eq!(times(n), all[..n * 88], "{dtypes:?}, {n} rows");
            }
        }
    }

    #[test]
    fn a_low_rank_addition_is_added() {
        let panels = repack(&Rows::new(vec![matrix(GgmlDType::Q4_1, 32), matrix(GgmlDType::Q8_0, 16)]).unwrap());
        let x: Vec<f32> = (0..3 * INPUT).map(|i| (i as f32 * 0.013).cos()).collect();
        let a = |i: usize, o: usize| ((i * 5 + o * 11) as f32).sin() * 0.1;
        let b = |j: usize, o: usize| ((j * 3 + o * 7) as f32).cos();
        // Rank 2 for each of two parts.
        let low = LowRankPanels {
            a: repack_f32(INPUT, 4, a),
            b: vec![(0, repack_f32(2, 32, b)), (2, repack_f32(2, 16, |j, o| b(j + 2, o + 32)))],
        };
        let (mut with, mut without) = (vec![0.0; 3 * 48], vec![0.0; 3 * 48]);
        product(&panels, Some(&low), &x, &mut with, Into::Overwrite);
        product(&panels, None, &x, &mut without, Into::Overwrite);
        for (i, (with, without)) in with.iter().zip(&without).enumerate() {
            let (row, column) = (i / 48, i % 48);
            let inner = |j: usize| (0..INPUT).map(|i| f64::from(x[row * INPUT + i] * a(i, j))).sum::<f64>();
            let from = if column < 32 { 0 } else { 2 };
            let expected: f64 = (from..from + 2).map(|j| inner(j) * f64::from(b(j, column))).sum();
            assert!((f64::from(with - without) - expected).abs() < 2e-4, "{row}, {column}: {} {expected}", with - without);
        }
    }
}
