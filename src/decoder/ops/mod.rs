//! The decoder's kernels on plain `f32` slices, forward and backward, row-major, parallel over disjoint outputs only:
//! every number is the same for any count of threads.

pub mod bf16_matmul;
pub mod cross_entropy;
pub mod frozen;
pub mod low_rank;
pub mod matmul;
pub mod norm;
pub mod panel;
pub mod panel_block;
mod panel_kernel;
pub mod rope;
pub mod swiglu;
pub mod vector;

use std::ops::Deref;

use candle_core::{CpuStorage, Layout, Storage, Tensor};

/// A tensor's lock and the range of its elements.
struct Floats<G> {
    storage: G,
    start: usize,
    end: usize,
}

impl<G: Deref<Target = Storage>> Deref for Floats<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.start..self.end],
            _ => unreachable!("checked when it was opened"),
        }
    }
}

/// Read access to the elements of a contiguous `f32` tensor on the CPU.
///
/// # Errors
/// When the tensor is not `f32`, not contiguous or not on the CPU.
pub(crate) fn floats(tensor: &Tensor) -> candle_core::Result<impl Deref<Target = [f32]>> {
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        candle_core::bail!("this kernel wants f32 on the CPU, not {:?} on {:?}", tensor.dtype(), tensor.device());
    }
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("this kernel wants a contiguous tensor, not strides {:?}", layout.stride());
    };
    Ok(Floats { storage, start, end })
}

/// The same for the arguments of a custom op.
pub(crate) fn slice_of<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("this kernel wants a contiguous tensor, not strides {:?}", layout.stride());
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}
