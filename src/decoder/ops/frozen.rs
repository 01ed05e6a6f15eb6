//! `y = x W` for a frozen `W (in, out)`, on any device: `x` and `y` f32, `W` f32 or bf16 (then the product is bf16's, summed in f32).
//!
//! Candle's own product computes a gradient of both sides. Here the weight gets none: `dx = dy W^T`.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, MetalStorage, Result, Shape, Storage, Tensor, bail};

/// `x (n, in)`, `weight (in, out)`; differentiable in `x`.
pub(crate) fn frozen(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Frozen { weight: weight.clone() })
}

struct Frozen {
    weight: Tensor,
}

/// The two storages of a product are of one kind.
fn product<S: BackendStorage>(x: &S, layout: &Layout, weight: &S, weight_layout: &Layout) -> Result<(S, Shape)> {
    let (n, input) = layout.shape().dims2()?;
    let (of, output) = weight_layout.shape().dims2()?;
    if input != of {
        bail!("rows of {input} elements do not fit a matrix of {of} inputs");
    }
    let sizes = (1, n, output, input);
    let y = if weight.dtype() == x.dtype() {
        x.matmul(weight, sizes, layout, weight_layout)?
    } else {
        let narrow = x.to_dtype(layout, weight.dtype())?;
        let y = narrow.matmul(weight, sizes, &Layout::contiguous((n, input)), weight_layout)?;
        y.to_dtype(&Layout::contiguous((n, output)), DType::F32)?
    };
    Ok((y, (n, output).into()))
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (weight, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else { bail!("a weight on another device than its input") };
        product(x, layout, weight, weight_layout)
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (weight, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cuda(weight) = &*weight else { bail!("a weight on another device than its input") };
        product(x, layout, weight, weight_layout)
    }

    fn metal_fwd(&self, x: &MetalStorage, layout: &Layout) -> Result<(MetalStorage, Shape)> {
        let (weight, weight_layout) = self.weight.storage_and_layout();
        let Storage::Metal(weight) = &*weight else { bail!("a weight on another device than its input") };
        product(x, layout, weight, weight_layout)
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        frozen(gradient, &self.weight.t()?).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn value_and_gradient_are_those_of_a_product_and_the_weight_gets_none() {
        let values = |n: usize, by: f32| (0..n).map(|i| (i as f32 * by).sin()).collect::<Vec<_>>();
        let x = Var::from_vec(values(15, 0.7), (3, 5), &Device::Cpu).unwrap();
        let matrix = Var::from_vec(values(35, 0.3), (7, 5), &Device::Cpu).unwrap();
        let g = Tensor::from_vec(values(21, 0.9), (3, 7), &Device::Cpu).unwrap();
        // As it lies, and as a view of the file's order.
        for weight in [matrix.t().unwrap(), matrix.t().unwrap().contiguous().unwrap()] {
            let [ours, stock] = [frozen(&x, &weight).unwrap(), x.matmul(&weight).unwrap()].map(|y| {
                let gradients = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap();
                let of_weight = gradients.get(&matrix).is_some();
                (y.to_vec2::<f32>().unwrap(), gradients.get(&x).unwrap().to_vec2::<f32>().unwrap(), of_weight)
            });
            assert!(!ours.2 && stock.2);
            let apart =
                |a: &[Vec<f32>], b: &[Vec<f32>]| a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart(&ours.0, &stock.0) < 1e-6 && apart(&ours.1, &stock.1) < 1e-6);
            let narrow = frozen(&x, &weight.to_dtype(DType::BF16).unwrap()).unwrap();
            assert_eq!(narrow.dtype(), DType::F32);
            let narrow = narrow.to_vec2::<f32>().unwrap();
            assert!(apart(&narrow, &stock.0) < 3e-2 && apart(&narrow, &stock.0) > 0.0);
        }
    }
}
