//! The names that `nn.` and `F.` may be followed by: what the sandbox's PyTorch has.

/// A module whose names are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Module {
    Layers,
    Functions,
}

/// What `nn.` may be followed by; sorted by bytes.
pub(crate) const LAYERS: [&str; 103] = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CELU",
    "ChannelShuffle",
    "CircularPad2d",
    "ConstantPad2d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineSimilarity",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "ELU",
    "Embedding",
    "EmbeddingBag",
    "Flatten",
    "Fold",
    "GELU",
    "GLU",
    "GRU",
    "GRUCell",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LPPool2d",
    "LSTM",
    "LSTMCell",
    "LayerNorm",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyConv2d",
    "LazyConvTranspose2d",
    "LazyLinear",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "PReLU",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PixelShuffle",
    "PixelUnshuffle",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Unflatten",
    "Unfold",
    "UninitializedParameter",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad2d",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
];

/// The same of `F.`, which is `torch.nn.functional`.
pub(crate) const FUNCTIONS: [&str; 71] = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_similarity",
    "dropout",
    "dropout1d",
    "dropout2d",
    "elu",
    "embedding",
    "embedding_bag",
    "fold",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "instance_norm",
    "interpolate",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mish",
    "normalize",
    "one_hot",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "unfold",
    "upsample",
];

impl Module {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Layers => &LAYERS,
            Self::Functions => &FUNCTIONS,
        }
    }
}

/// The names of a module that start with what has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    module: Module,
    first: u8,
    /// One past the last.
    end: u8,
    len: u8,
}

impl Prefix {
    pub(crate) fn new(module: Module) -> Self {
        Self { module, first: 0, end: module.names().len() as u8, len: 0 }
    }

    fn range(self) -> std::ops::Range<usize> {
        usize::from(self.first)..usize::from(self.end)
    }

    pub(crate) fn with(self, byte: u8) -> Option<Self> {
        let names = &self.module.names()[self.range()];
        let next = |name: &&str| name.as_bytes().get(usize::from(self.len)).copied();
        let first = self.first + names.iter().position(|name| next(name) == Some(byte))? as u8;
        let end = first + names.iter().filter(|name| next(name) == Some(byte)).count() as u8;
        Some(Self { first, end, len: self.len + 1, ..self })
    }

    /// The name, where it is whole.
    pub(crate) fn whole(self) -> Option<&'static str> {
        self.module.names()[self.range()].first().copied().filter(|name| name.len() == usize::from(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_starts_with_it() {
        for module in [Module::Layers, Module::Functions] {
            assert!(module.names().is_sorted());
            for name in module.names() {
                let read = name.bytes().try_fold(Prefix::new(module), Prefix::with);
                assert_eq!(read.and_then(Prefix::whole), Some(*name));
            }
        }
        let read = |text: &str| text.bytes().try_fold(Prefix::new(Module::Layers), Prefix::with);
        assert!(read("Conv2").is_some_and(|prefix| prefix.whole().is_none()));
        assert!(read("Conv4").is_none() && read("ReLU7").is_none() && read("relu").is_none());
    }
}
