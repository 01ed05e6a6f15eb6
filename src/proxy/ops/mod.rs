//! Forward and backward of the operations that networks spend their time in, as f32 CPU kernels on contiguous tensors.
//!
//! Each is a pair of plain functions: `forward` gives the value and what the backward needs, `backward` the gradients.
//! Every sum has an order of its own that does not depend on the number of threads. What has no kernel here, and every
//! device but the CPU, takes the form in [`super::stock`].

pub mod activation;
pub mod arithmetic;
pub mod conv;
pub mod conv_transpose;
mod kernel;
pub mod linear;
pub mod loss;
pub mod norm;
pub mod pool;
pub mod sgd;

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use rayon::prelude::*;

/// Runs `body` on the elements of a contiguous f32 CPU tensor.
pub(super) fn with<R>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        candle_core::bail!("a kernel for f32 on the CPU was given {:?}", tensor.dtype());
    };
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a kernel for contiguous tensors was given strides {:?}", layout.stride());
    };
    Ok(body(&values[start..end]))
}

/// A CPU tensor that takes over `values`.
pub(super) fn tensor(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Room for values that the caller writes, each before it is read. Clearing it first would cost as much as a light kernel.
#[allow(clippy::uninit_vec)]
pub(super) fn blank(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: the capacity is there, every bit pattern is an f32, and kernels write each element before anyone reads it.
    unsafe { values.set_len(len) };
    values
}

/// `out[i] = f(i-th elements)` in chunks over the threads.
pub(super) fn zip_map<const N: usize>(from: [&[f32]; N], body: impl Fn([&[f32]; N], &mut [f32]) + Sync + Send) -> Vec<f32> {
    let len = from[0].len();
    assert!(from.iter().all(|values| values.len() == len));
    let mut out = blank(len);
    each_chunk(&mut out, GRAIN, |i, out| {
        let range = i * GRAIN..i * GRAIN + out.len();
        body(from.map(|values| &values[range.clone()]), out);
    });
    out
}

/// Elements of a piece of elementwise work.
pub(super) const GRAIN: usize = 32 * 1024;

/// `body(i)` for every i below `count`, on the threads there are; with one thread, without the pool.
pub(super) fn each<R: Send>(count: usize, body: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if rayon::current_num_threads() == 1 { (0..count).map(body).collect() } else { (0..count).into_par_iter().map(body).collect() }
}

/// `body(i, chunk)` for every chunk of `size` elements.
pub(super) fn each_chunk(values: &mut [f32], size: usize, body: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if rayon::current_num_threads() == 1 {
        values.chunks_mut(size).enumerate().for_each(|(i, chunk)| body(i, chunk));
    } else {
        values.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| body(i, chunk));
    }
}

/// A pointer that threads may share because each writes elements of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: whoever writes through it promises that no two threads touch the same element (see `slice`).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    /// Where element `start` is.
    pub(super) fn pointer(self, start: usize) -> *mut f32 {
        self.0.wrapping_add(start)
    }

    /// # Safety
    /// The range lies in the slice given to [`Shared::new`], and no one else uses it for as long as the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Compiles a function three times, for AVX-512, AVX2 and the baseline, and picks one as the program runs.
/// The code has no fused multiply-add, so the results are the same bits.
macro_rules! wide {
    ($(#[$meta:meta])* $visible:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visible fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, clippy::inline_always)]
            fn body($($arg: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512($($arg: $type),*) $(-> $result)? { body($($arg),*) }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $type),*) $(-> $result)? { body($($arg),*) }
                match $crate::base::processor::level() {
                    // SAFETY: that level has the features.
                    $crate::base::processor::Level::V4 => return unsafe { avx512($($arg),*) },
                    // SAFETY: that level has the feature.
                    $crate::base::processor::Level::V3 => return unsafe { avx2($($arg),*) },
                    $crate::base::processor::Level::V2 => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(super) use wide;

/// Lanes of a sum: 16 partial sums side by side, then one tree, so that the order is fixed and the loop vectorises.
pub(super) const LANES: usize = 16;

/// Sum of the lanes as a balanced tree.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(super) fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

wide! {
    /// Sum of the elements.
    pub(super) fn sum(values: &[f32]) -> f32 {
        let mut lanes = [0f32; LANES];
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            for i in 0..LANES {
                lanes[i] += chunk[i];
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += value;
        }
        tree(lanes)
    }
}
