//! An ONNX graph under construction: nodes, and the tensors they read.
//!
//! Tensors of the state dict keep their names. Everything else is named `:NUMBER`, which no Python attribute is.

use std::collections::HashMap;

use candle_core::DType;

use super::proto::{self, Attribute, FLOAT, INT64};
use crate::base::error::Result;
use crate::proxy::network::Network;
use crate::tracer::graph::{Dim, TensorId};

/// Name of the model's input; the output is [`OUTPUT`].
pub const INPUT: &str = "images";
pub(crate) const OUTPUT: &str = "logits";

pub(crate) struct Builder<'a> {
    network: &'a Network,
    /// Path of the module whose operations are added now.
    pub(crate) module: &'a str,
    pub(crate) nodes: Vec<proto::Node>,
    pub(crate) initializers: Vec<proto::Tensor>,
    own: HashMap<TensorId, String>,
    names: usize,
    batch: Option<String>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(network: &'a Network) -> Self {
        Self { network, module: "", nodes: Vec::new(), initializers: Vec::new(), own: HashMap::new(), names: 0, batch: None }
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!(":{}", self.names)
    }

    /// Adds a node; gives the name of its value.
    pub(crate) fn emit(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = self.fresh();
        self.push(op, inputs, &output, attributes);
        output
    }

    /// Adds a node; gives the name of its second value.
    pub(crate) fn emit_second(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let (first, second) = (self.fresh(), self.fresh());
        self.push(op, inputs, &first, attributes);
        self.nodes.last_mut().expect("just pushed").output.push(second.clone());
        second
    }

    /// Adds a node whose value has this name.
    pub(crate) fn push(&mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<Attribute>) {
        self.nodes.push(proto::Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("{}/{op}{output}", self.module),
            op_type: op.to_owned(),
            attribute: attributes,
        });
    }

    /// Elements of a tensor of the state dict.
    pub(crate) fn values(&self, tensor: TensorId) -> Result<Vec<f32>> {
        Ok(self.network.tensors()[tensor].to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// A tensor of the state dict, stored once.
    pub(crate) fn own(&mut self, tensor: TensorId) -> Result<String> {
        if let Some(name) = self.own.get(&tensor) {
            return Ok(name.clone());
        }
        let spec = &self.network.graph().tensors[tensor];
        let name = if [INPUT, OUTPUT].contains(&&spec.name[..]) { format!("{}:", spec.name) } else { spec.name.clone() };
        let values = self.values(tensor)?;
        self.store(&name, FLOAT, &spec.shape, values.iter().flat_map(|v| v.to_le_bytes()).collect());
        self.own.insert(tensor, name.clone());
        Ok(name)
    }

    pub(crate) fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = self.fresh();
        self.store(&name, FLOAT, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect());
        name
    }

    pub(crate) fn scalar(&mut self, value: f64) -> String {
        self.floats(&[], &[value as f32])
    }

    /// One 64-bit integer.
    pub(crate) fn integer(&mut self, value: i64) -> String {
        let name = self.fresh();
        self.store(&name, INT64, &[], value.to_le_bytes().to_vec());
        name
    }

    /// A list of 64-bit integers.
    pub(crate) fn integers(&mut self, values: &[i64]) -> String {
        let name = self.fresh();
        self.store(&name, INT64, &[values.len()], values.iter().flat_map(|v| v.to_le_bytes()).collect());
        name
    }

    fn store(&mut self, name: &str, data_type: i32, shape: &[usize], raw_data: Vec<u8>) {
        let dims = shape.iter().map(|&n| n as i64).collect();
        self.initializers.push(proto::Tensor { dims, data_type: Some(data_type), name: name.to_owned(), raw_data });
    }

    /// A shape as a value; the batch size is read off the input.
    pub(crate) fn shape(&mut self, shape: &[Dim]) -> String {
        if let Some(fixed) = shape.iter().map(|d| if let Dim::Fixed(n) = d { Some(*n as i64) } else { None }).collect::<Option<Vec<_>>>() {
            return self.integers(&fixed);
        }
        let batch = match self.batch.clone() {
            Some(batch) => batch,
            None => self.emit("Shape", &[INPUT], vec![Attribute::int("start", 0), Attribute::int("end", 1)]),
        };
        self.batch = Some(batch.clone());
        let mut parts = Vec::new();
        for dim in shape {
            parts.push(match dim {
                Dim::Fixed(n) => self.integers(&[*n as i64]),
                Dim::Batch(1) => batch.clone(),
                Dim::Batch(k) => {
                    let k = self.integers(&[*k as i64]);
                    self.emit("Mul", &[&batch, &k], vec![])
                }
            });
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.emit("Concat", &parts, vec![Attribute::int("axis", 0)])
    }

    /// One extent that grows with the batch is left for the reader to infer.
    pub(crate) fn reshape(&mut self, x: &str, shape: &[Dim]) -> String {
        let growing = shape.iter().filter(|d| matches!(d, Dim::Batch(_))).count();
        let to = if growing == 1 && !shape.contains(&Dim::Fixed(0)) {
            let extents: Vec<i64> = shape.iter().map(|d| if let Dim::Fixed(n) = d { *n as i64 } else { -1 }).collect();
            self.integers(&extents)
        } else {
            self.shape(shape)
        };
        self.emit("Reshape", &[x, &to], vec![Attribute::int("allowzero", i64::from(shape.contains(&Dim::Fixed(0))))])
    }
}
