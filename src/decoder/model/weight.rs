//! The frozen matrices of the model, in the type they are kept in. Narrow ones (bf16, or the blocks of a GGUF file) are widened to
//! f32 when used, one at a time, in both passes: they cost time and save memory, and products are f32 ones for every type.

use std::ops::Deref;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, GgmlType, k_quants};
use candle_core::{Device, Result, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::decoder::ops::floats;
use crate::decoder::ops::matmul::View;

/// A linear's matrix.
#[derive(Clone)]
pub(crate) enum Weight {
    /// As (in, out): on the processor f32, in the order both passes are fastest in; on a card of the type the settings name.
    Plain(Tensor),
    /// As (out, in), the order of the files, contiguous.
    FileOrder(Tensor),
    /// As (out, in), the order of the files.
    Narrow(Arc<Rows>),
}

/// Rows of one width, in a narrow type.
#[derive(Debug)]
pub struct Rows {
    columns: usize,
    parts: Vec<Part>,
}

/// Consecutive rows of one type, as they lie in the file.
#[derive(Debug)]
pub struct Part {
    /// GGML's type of the elements, in blocks or single.
    pub dtype: GgmlDType,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Aligned for every type; the last word may be filled up.
    words: Vec<u64>,
}

/// Rows widened by one task.
const TOGETHER: usize = 32;

impl Part {
    /// `None` where the bytes are not those of so many rows.
    #[must_use]
    pub fn new(dtype: GgmlDType, rows: usize, columns: usize, bytes: &[u8]) -> Option<Self> {
        let fits = columns.is_multiple_of(dtype.block_size()) && bytes.len() == rows * columns / dtype.block_size() * dtype.type_size();
        fits.then(|| {
            let mut words = vec![0_u64; bytes.len().div_ceil(8)];
            bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
            Self { dtype, rows, columns, words }
        })
    }

    /// Rounds to bf16.
    pub(crate) fn bf16(tensor: &Tensor) -> Result<Self> {
        let (rows, columns) = tensor.dims2()?;
        let tensor = tensor.contiguous()?;
        let bytes: Vec<u8> = floats(&tensor)?.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        Ok(Self::new(GgmlDType::BF16, rows, columns, &bytes).expect("two bytes an element"))
    }

    /// Moves the rows: row `i` of the new order is row `from(i)` of the old.
    #[must_use]
    pub(crate) fn reordered(&self, from: impl Fn(usize) -> usize) -> Self {
        let bytes: Vec<u8> = (0..self.rows).flat_map(|row| self.row(from(row)).to_vec()).collect();
        Self::new(self.dtype, self.rows, self.columns, &bytes).expect("the same rows in another order")
    }

    /// One row as f32.
    pub(crate) fn widen_row(&self, row: usize, out: &mut [f32]) {
        widen(self.dtype, self.row(row), out);
    }

    fn row_bytes(&self) -> usize {
        self.columns / self.dtype.block_size() * self.dtype.type_size()
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.rows * self.row_bytes()]
    }

    /// The bytes of one row.
    #[must_use]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.bytes()[row * self.row_bytes()..][..self.row_bytes()]
    }
}

impl Rows {
    /// `None` where the parts are of different widths.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Option<Self> {
        let columns = parts.first()?.columns;
        parts.iter().all(|part| part.columns == columns).then_some(Self { columns, parts })
    }

    #[must_use]
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Rows, of all parts together.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Elements of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `index` as f32.
    pub fn widen_row(&self, index: usize, out: &mut [f32]) {
        let mut index = index;
        for part in &self.parts {
            if index < part.rows {
                return part.widen_row(index, out);
            }
            index -= part.rows;
        }
        panic!("row {index} past the last one");
    }

    /// All rows as f32.
    #[must_use]
    pub fn widen(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.count() * self.columns];
        let mut rest = &mut out[..];
        for part in &self.parts {
            let (own, others) = rest.split_at_mut(part.rows * self.columns);
            let rows = own.par_chunks_mut(TOGETHER * self.columns).zip(part.bytes().par_chunks(TOGETHER * part.row_bytes()));
            rows.for_each(|(out, bytes)| widen(part.dtype, bytes, out));
            rest = others;
        }
        out
    }
}

/// A matrix as f32 for as long as it is needed.
pub(crate) struct Dense<'a> {
    data: Box<dyn Deref<Target = [f32]> + 'a>,
    input: usize,
    output: usize,
    order: Order,
}

/// In memory.
enum Order {
    InOut,
    OutIn,
}

impl Dense<'_> {
    /// (in, out)
    #[must_use]
    pub(crate) fn view(&self) -> View<'_> {
        match self.order {
            Order::InOut => View::new(&self.data, self.input, self.output),
            Order::OutIn => View::new(&self.data, self.output, self.input).t(),
        }
    }
}

impl Weight {
    #[must_use]
    pub(crate) fn input(&self) -> usize {
        match self {
            Self::Plain(tensor) => tensor.dims()[0],
            Self::FileOrder(tensor) => tensor.dims()[1],
            Self::Narrow(rows) => rows.columns,
        }
    }

    #[must_use]
    pub(crate) fn output(&self) -> usize {
        match self {
            Self::Plain(tensor) => tensor.dims()[1],
            Self::FileOrder(tensor) => tensor.dims()[0],
            Self::Narrow(rows) => rows.count(),
        }
    }

    pub(crate) fn dense(&self) -> Result<Dense<'_>> {
        let (input, output) = (self.input(), self.output());
        let (data, order): (Box<dyn Deref<Target = [f32]>>, _) = match self {
            Self::Plain(tensor) => (Box::new(floats(tensor)?), Order::InOut),
            Self::FileOrder(tensor) => (Box::new(floats(tensor)?), Order::OutIn),
            Self::Narrow(rows) => (Box::new(rows.widen()), Order::OutIn),
        };
        Ok(Dense { data, input, output, order })
    }

    /// As a tensor (in, out), for stock operations.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        match self {
            Self::Plain(tensor) => Ok(tensor.clone()),
            Self::FileOrder(tensor) => tensor.t(),
            Self::Narrow(rows) => Tensor::from_vec(rows.widen(), (rows.count(), rows.columns), &Device::Cpu)?.t(),
        }
    }
}

fn widen(dtype: GgmlDType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        GgmlDType::F32 => blocks::<f32>(bytes, out),
        GgmlDType::F16 => blocks::<f16>(bytes, out),
        GgmlDType::BF16 => blocks::<bf16>(bytes, out),
        GgmlDType::Q4_0 => blocks::<k_quants::BlockQ4_0>(bytes, out),
        GgmlDType::Q4_1 => blocks::<k_quants::BlockQ4_1>(bytes, out),
        GgmlDType::Q5_0 => blocks::<k_quants::BlockQ5_0>(bytes, out),
        GgmlDType::Q5_1 => blocks::<k_quants::BlockQ5_1>(bytes, out),
        GgmlDType::Q8_0 => blocks::<k_quants::BlockQ8_0>(bytes, out),
        GgmlDType::Q8_1 => blocks::<k_quants::BlockQ8_1>(bytes, out),
        GgmlDType::Q2K => blocks::<k_quants::BlockQ2K>(bytes, out),
        GgmlDType::Q3K => blocks::<k_quants::BlockQ3K>(bytes, out),
        GgmlDType::Q4K => blocks::<k_quants::BlockQ4K>(bytes, out),
        GgmlDType::Q5K => blocks::<k_quants::BlockQ5K>(bytes, out),
        GgmlDType::Q6K => blocks::<k_quants::BlockQ6K>(bytes, out),
        GgmlDType::Q8K => blocks::<k_quants::BlockQ8K>(bytes, out),
    }
}

fn blocks<T: GgmlType>(bytes: &[u8], out: &mut [f32]) {
    // SAFETY: candle's blocks are `repr(C)` numbers without padding, for which any bytes are values; candle reads files so too.
    let (before, blocks, after) = unsafe { bytes.align_to::<T>() };
    assert!(before.is_empty() && after.is_empty(), "rows start at whole, aligned blocks");
    T::to_float(blocks, out);
}
