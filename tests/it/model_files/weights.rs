//! Shapes and numbers.

use candle_core::{DType, Tensor};
use eliteloop::decoder::files::gguf::Gguf;
use eliteloop::decoder::files::shape::{DecoderConfig, Family};
use eliteloop::decoder::model::weight::{Part, Rows};

use super::built::Built;
use super::{golden, real};

#[test]
fn the_real_model_has_the_shape_it_should() {
    needs!(Model);
    let model = real();
    let expected = DecoderConfig {
        family: Family::Llama,
        vocab: 49_152,
        width: 576,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        ffn: 1536,
        context: 8192,
        rope_base: 100_000.0,
        rope_scaling: None,
        rms_eps: 1e-5,
        tied: true,
        qkv_bias: false,
        qk_norm: false,
    };
    assert_eq!(*model.config(), expected);
    assert!(model.has_tensor("model.layers.29.mlp.down_proj.weight") && !model.has_tensor("model.layers.30.mlp.down_proj.weight"));
    assert!(model.tensor("lm_head.weight").is_err());
    assert_eq!(model.name(), "Smollm2 135M 8k Lc100K Mix1 Ep2");
}

/// The golden numbers are what transformers loads from the same file, its rows of q and k put back in order.
#[test]
fn weights_equal_those_transformers_loads() {
    needs!(Model);
    let model = real();
    for row in golden("weights.json").as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        let tensor: Tensor = model.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), DType::F32);
        assert_eq!(serde_json::json!(tensor.dims()), row["shape"], "{name}");
        let flat = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (place, value) in row["places"].as_array().unwrap().iter().zip(row["values"].as_array().unwrap()) {
            let (ours, theirs) = (flat[place.as_u64().unwrap() as usize], value.as_f64().unwrap() as f32);
            assert!((ours - theirs).abs() <= 1e-6 * theirs.abs(), "{name}[{place}]: {ours} is not {theirs}");
        }
    }
}

/// Each supported type, block by block, against the `gguf` package.
#[test]
fn every_type_is_dequantised_as_by_the_gguf_package() {
    let cases = golden("quants.json");
    let cases = cases.as_array().unwrap();
    let mut built = Built { version: 3, keys: Vec::new(), tensors: Vec::new() };
    for case in cases {
        let (hex, values) = (case["raw"].as_str().unwrap(), case["values"].as_array().unwrap());
        let raw = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        let code = case["code"].as_u64().unwrap() as u32;
        built.tensors.push((case["type"].as_str().unwrap().into(), vec![values.len() as u64], code, raw));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), built.bytes()).unwrap();
    let gguf = Gguf::open(file.path()).unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let ours = gguf.tensor(case["type"].as_str().unwrap()).unwrap().to_vec1::<f32>().unwrap();
        // The same blocks as rows, the way frozen weights are kept.
        let (dtype, raw) = gguf.raw(case["type"].as_str().unwrap()).unwrap();
        let count = ours.len() / dtype.block_size().max(32);
        let columns = ours.len() / count;
        let rows = Rows::new(vec![Part::new(dtype, count, columns, &raw).unwrap()]).unwrap();
        assert_eq!(rows.widen(), ours, "{dtype:?}");
        let mut last = vec![0.0; columns];
        rows.widen_row(count - 1, &mut last);
        assert_eq!(last, ours[(count - 1) * columns..], "{dtype:?}");
        assert!(Part::new(dtype, count + 1, columns, &raw).is_none());
        for (ours, theirs) in ours.iter().zip(case["values"].as_array().unwrap()) {
            let theirs = theirs.as_f64().unwrap() as f32;
            assert!((ours - theirs).abs() <= 1e-6 * theirs.abs().max(0.1), "{}: {ours} is not {theirs}", case["type"]);
        }
    }
}
