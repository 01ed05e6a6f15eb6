//! Strided matrix product: `out (m, n) = [out +] scale * a (m, k) b (k, n)`.

use gemm::Parallelism;

/// A matrix inside a slice: element `(i, j)` is `data[i * row + j * column]`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a> View<'a> {
    /// `data` holds `rows` rows of `columns` elements, `stride` apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * stride + columns <= data.len(), "a {rows} x {columns} view outside its slice");
        Self { data, rows, columns, row: stride, column: 1 }
    }

    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    #[must_use]
    pub(crate) fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row: self.column, column: self.row, ..self }
    }

    /// Rows and columns.
    pub(crate) fn size(self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// The row's elements from `column` on, where they lie side by side.
    pub(crate) fn row_from(self, row: usize, column: usize) -> Option<&'a [f32]> {
        (self.column == 1).then(|| &self.data[row * self.row..][..self.columns][column..])
    }

    pub(crate) fn at(self, row: usize, column: usize) -> f32 {
        self.data[row * self.row + column * self.column]
    }
}

/// Whether a product may use the thread pool (inside a parallel loop it should not).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

/// What happens to the values already in `out`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Overwrite,
    Add,
}

/// `out` has rows `stride` apart.
pub(crate) fn matmul(out: &mut [f32], stride: usize, into: Into, scale: f32, a: View, b: View, threads: Threads) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "inner sizes of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * stride + n <= out.len(), "a {m} x {n} product outside its slice");
    let parallelism = if threads == Threads::All { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: `View` and the assertion above bound every access; `out` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_with_strides_transposes_and_accumulation() {
        let (m, k, n) = (5, 7, 11);
        let a: Vec<f32> = (0..k * m).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..k * 16).map(|i| (i as f32 * 0.11).cos()).collect();
        let mut out = vec![1.0; m * 13];
        matmul(&mut out, 13, Into::Add, 0.5, View::new(&a, k, m).t(), View::strided(&b, k, n, 16), Threads::All);
        for i in 0..m {
            for j in 0..13 {
                let sum: f32 = if j < n { (0..k).map(|l| a[l * m + i] * b[l * 16 + j]).sum() } else { 0.0 };
                assert!((out[i * 13 + j] - 1.0 - 0.5 * sum).abs() < 1e-5, "at {i}, {j}");
            }
        }
    }
}
