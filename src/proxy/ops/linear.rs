//! `y = x w^T + b` over the last dimension: x (.., in), w (out, in), b (out).

use candle_core::{Result, Tensor};

use super::{Shared, each, tensor, with};

/// A matrix as its elements and the strides of rows and columns.
#[derive(Clone, Copy)]
struct Matrix<'a>(&'a [f32], usize, usize);

/// Fewest rows or columns of the result in a piece.
const PIECE: usize = 64;

/// `out (m, n) += a (m, k) b (k, n)`, row-major, cut along its longer side into pieces that only the shapes decide.
fn gemm(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: &mut [f32]) {
    if m * n * k == 0 {
        return;
    }
    assert!(out.len() == m * n && a.0.len() == m * k && b.0.len() == k * n);
    let (longer, row) = (m.max(n), n);
    let size = longer.div_ceil(8).max(PIECE);
    let shared = Shared::new(out);
    each(longer.div_ceil(size), |i| {
        let (start, len) = (i * size, size.min(longer - i * size));
        let (m, n, first, a, b) = if m == longer {
            (len, n, start * n, Matrix(&a.0[start * a.1..], a.1, a.2), b)
        } else {
            (m, len, start, a, Matrix(&b.0[start * b.2..], b.1, b.2))
        };
        // SAFETY: the pieces do not overlap; their last elements are inside the matrices whose lengths were checked.
        unsafe { piece([m, n, k], a, b, shared.pointer(first), row) };
    });
}

/// # Safety
/// `out` has `m` rows, `row` apart, of `n` elements that no one else uses; `a` and `b` reach as far as their strides.
unsafe fn piece([m, n, k]: [usize; 3], a: Matrix, b: Matrix, out: *mut f32, row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row as isize,
            true,
            a.0.as_ptr(),
            a.2 as isize,
            a.1 as isize,
            b.0.as_ptr(),
            b.2 as isize,
            b.1 as isize,
            1f32,
            1f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

fn extents(x: &Tensor, weight: &Tensor) -> Result<(usize, usize, usize)> {
    let (out, width) = weight.dims2()?;
    if x.dims().last() != Some(&width) {
        candle_core::bail!("a linear layer of {width} inputs was given {:?}", x.dims());
    }
    Ok((x.elem_count() / width, width, out))
}

pub(crate) fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, width, out) = extents(x, weight)?;
    let mut y = match bias {
        Some(bias) => with(bias, |bias| bias.repeat(rows))?,
        None => vec![0f32; rows * out],
    };
    with(x, |x| with(weight, |w| gemm(rows, out, width, Matrix(x, width, 1), Matrix(w, 1, width), &mut y)))??;
    let mut shape = x.dims().to_vec();
    *shape.last_mut().expect("a linear layer's input has a last dimension") = out;
    tensor(y, &shape)
}

/// Gradients of x (where wanted), weight and bias: `dx = dy w`, `dw = dy^T x`, `db = sum dy`.
pub(crate) fn backward(x: &Tensor, weight: &Tensor, gradient: &Tensor, needs_x: bool) -> Result<(Option<Tensor>, Tensor, Tensor)> {
    let (rows, width, out) = extents(x, weight)?;
    let mut dw = vec![0f32; out * width];
    let mut db = vec![0f32; out];
    let mut dx = vec![0f32; if needs_x { rows * width } else { 0 }];
    with(gradient, |dy| -> Result<()> {
        with(x, |x| gemm(out, width, rows, Matrix(dy, 1, out), Matrix(x, width, 1), &mut dw))?;
        if needs_x {
            with(weight, |w| gemm(rows, width, out, Matrix(dy, out, 1), Matrix(w, width, 1), &mut dx))?;
        }
        for row in dy.chunks_exact(out) {
            db.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
        }
        Ok(())
    })??;
    let dx = needs_x.then(|| tensor(dx, x.dims())).transpose()?;
    Ok((dx, tensor(dw, weight.dims())?, tensor(db, &[out])?))
}
