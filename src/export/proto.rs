//! The messages of ONNX that a network needs, as Protocol Buffers. Field numbers are those of ONNX's published schema; scalar
//! fields are written even where they are 0, as its checker wants.

use prost::Message;

/// Element types of [`Tensor`].
pub const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

/// ONNX's `ModelProto`: a graph, and by whom and for which version it was written.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, optional, tag = "1")]
    pub(crate) ir_version: Option<i64>,
    #[prost(string, tag = "2")]
    pub(crate) producer_name: String,
    #[prost(string, tag = "3")]
    pub(crate) producer_version: String,
    /// What is computed; never None in what is written here.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSet>,
    /// What is to be known of the network besides: its data set, its accuracy, how images are prepared.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSet {
    /// Empty: the operators of ONNX itself.
    #[prost(string, optional, tag = "1")]
    pub(crate) domain: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub(crate) version: Option<i64>,
}

/// `StringStringEntryProto`: one property of the model.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Text, some of it JSON.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `GraphProto`: nodes, and the tensors they read.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    /// Each after those it reads from.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Weights of the state dict under their names, and constants.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    /// One: the images.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    /// One: the logits.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

/// `NodeProto`: one application of an operator.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// An empty name stands for an optional input that is left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values it gives.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Path of its module, operator and output.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator, such as `Conv`.
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(enumeration = "AttributeType", optional, tag = "20")]
    pub(crate) kind: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum AttributeType {
    Undefined = 0,
    Float = 1,
    Int = 2,
    String = 3,
    Ints = 7,
}

impl Attribute {
    fn new(name: &str, kind: AttributeType) -> Self {
        Self { name: name.into(), kind: Some(kind as i32), ..Self::default() }
    }

    pub(crate) fn float(name: &str, value: f64) -> Self {
        Self { f: Some(value as f32), ..Self::new(name, AttributeType::Float) }
    }

    pub(crate) fn int(name: &str, value: i64) -> Self {
        Self { i: Some(value), ..Self::new(name, AttributeType::Int) }
    }

    pub(crate) fn ints(name: &str, values: &[usize]) -> Self {
        Self { ints: values.iter().map(|&v| v as i64).collect(), ..Self::new(name, AttributeType::Ints) }
    }

    pub(crate) fn text(name: &str, value: &str) -> Self {
        Self { s: Some(value.into()), ..Self::new(name, AttributeType::String) }
    }
}

/// `TensorProto`: a tensor and its elements.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// Its shape; empty of a single number.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// [`FLOAT`], or 7 for 64-bit integers.
    #[prost(int32, optional, tag = "2")]
    pub data_type: Option<i32>,
    /// By which nodes read it.
    #[prost(string, tag = "8")]
    pub name: String,
    /// The elements, lowest byte first.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

/// `ValueInfoProto`: an input or output of the graph.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    /// Of the value.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Never None in what is written here.
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Type>,
}

/// `TypeProto`: what kind of value it is.
#[derive(Clone, PartialEq, Message)]
pub struct Type {
    /// Never None in what is written here: there are no other kinds.
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

/// `TypeProto.Tensor`: element type and shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, optional, tag = "1")]
    pub(crate) element: Option<i32>,
    /// Its extents; the first of images and logits is the batch's.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// `TensorShapeProto`: the extents of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    /// From the outermost to the innermost.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Extent>,
}

/// A number, or the name of one that is free.
#[derive(Clone, PartialEq, Message)]
pub struct Extent {
    /// None where it is free.
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    /// Such as `batch`; None where it is a number.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}
