//! The blocks of GGUF matrices as integers with a scale (and an offset), as the decoding products take them.

use candle_core::quantized::GgmlDType;
use half::f16;

/// Thirty-two weights `d q + m`, `q` in 0..16.
pub(crate) struct FourBit {
    pub(crate) d: f32,
    pub(crate) m: f32,
    pub(crate) q: [u8; 32],
}

/// Sixteen weights `d q`.
pub(crate) struct EightBit {
    pub(crate) d: f32,
    pub(crate) q: [i8; 16],
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Low nibbles first, as the types of 32 weights a block have them.
fn nibbles(bytes: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 })
}

pub(crate) fn is_four_bit(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q4K)
}

pub(crate) fn is_eight_bit(dtype: GgmlDType) -> bool {
    matches!(dtype, GgmlDType::Q8_0 | GgmlDType::Q5_0 | GgmlDType::Q6K)
}

/// Weights `32 index ..` of a row.
///
/// # Panics
/// Where the type is none of [`is_four_bit`].
pub(crate) fn four_bit(dtype: GgmlDType, row: &[u8], index: usize) -> FourBit {
    match dtype {
        GgmlDType::Q4_0 => {
            let block = &row[index * 18..][..18];
            let d = half(block, 0);
            FourBit { d, m: -8.0 * d, q: nibbles(&block[2..]) }
        }
        GgmlDType::Q4_1 => {
            let block = &row[index * 20..][..20];
            FourBit { d: half(block, 0), m: half(block, 2), q: nibbles(&block[4..]) }
        }
        GgmlDType::Q4K => {
            // Eight groups of 32; two groups share 32 bytes. Scales and minima have six bits each, packed in twelve bytes.
            let block = &row[index / 8 * 144..][..144];
            let (packed, group) = (&block[4..16], index % 8);
            let (scale, minimum) = if group < 4 {
                (packed[group] & 63, packed[group + 4] & 63)
            } else {
                ((packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4), (packed[group + 4] >> 4) | (packed[group] >> 6 << 4))
            };
            let bytes = &block[16 + group / 2 * 32..][..32];
            let q = std::array::from_fn(|i| if group % 2 == 0 { bytes[i] & 15 } else { bytes[i] >> 4 });
            FourBit { d: half(block, 0) * f32::from(scale), m: -half(block, 2) * f32::from(minimum), q }
        }
        other => panic!("{other:?} has no four-bit blocks"),
    }
}

/// Weights `16 index ..` of a row.
///
/// # Panics
/// Where the type is none of [`is_eight_bit`].
pub(crate) fn eight_bit(dtype: GgmlDType, row: &[u8], index: usize) -> EightBit {
    match dtype {
        GgmlDType::Q8_0 => {
            let block = &row[index / 2 * 34..][..34];
            let bytes = &block[2 + index % 2 * 16..][..16];
            EightBit { d: half(block, 0), q: std::array::from_fn(|i| bytes[i].cast_signed()) }
        }
        GgmlDType::Q5_0 => {
            let block = &row[index / 2 * 22..][..22];
            let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]) >> (index % 2 * 16);
            let q = nibbles(&block[6..]);
            let five = |i: usize| q[index % 2 * 16 + i] | (((high >> i) & 1) as u8 * 16);
            EightBit { d: half(block, 0), q: std::array::from_fn(|i| five(i).cast_signed() - 16) }
        }
        GgmlDType::Q6K => {
            // Sixteen groups; 64 bytes of low nibbles hold 128 weights, 32 bytes of upper bits too.
            let block = &row[index / 16 * 210..][..210];
            let group = index % 16;
            let (side, quarter, from) = (group / 8, group % 8 / 2, group % 2 * 16);
            let low = &block[side * 64 + quarter % 2 * 32 + from..][..16];
            let high = &block[128 + side * 32 + from..][..16];
            let six = |i: usize| (if quarter < 2 { low[i] & 15 } else { low[i] >> 4 }) | (high[i] >> (2 * quarter) & 3) << 4;
            let scale = f32::from(block[192 + group].cast_signed());
            EightBit { d: half(block, 208) * scale, q: std::array::from_fn(|i| six(i).cast_signed() - 32) }
        }
        other => panic!("{other:?} has no eight-bit blocks"),
    }
}
