//! WebP, BMP, TIFF and GIF files as samples; of an animation the first picture.

use std::io::Cursor;

use zune_jpeg::zune_core::bytestream::ZCursor;

/// Rows of pixels of `channels` bytes: 1 (grey), 2 (grey, alpha), 3 or 4 (colour, alpha).
pub(crate) struct Samples {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    pub(crate) bytes: Vec<u8>,
    /// An Exif note, or the number in it that says how a camera was held.
    pub(crate) exif: Option<Vec<u8>>,
    pub(crate) held: u16,
}

/// Why there are none.
pub(crate) enum Why {
    /// Bytes of its pixels.
    Large(usize),
    Broken(String),
}

type Result = std::result::Result<Samples, Why>;

fn broken(why: impl std::fmt::Display) -> Why {
    Why::Broken(why.to_string())
}

fn sized(width: usize, height: usize, channels: usize, most: usize) -> std::result::Result<usize, Why> {
    let bytes = width.saturating_mul(height).saturating_mul(channels);
    match bytes {
        0 => Err(broken("it has no pixels")),
        _ if bytes > most => Err(Why::Large(bytes)),
        _ => Ok(bytes),
    }
}

pub(crate) fn webp(bytes: &[u8], most: usize) -> Result {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let (width, height, channels) = (width as usize, height as usize, if decoder.has_alpha() { 4 } else { 3 });
    let size = sized(width, height, channels, most)?;
    decoder.set_memory_limit(most);
    let mut samples = vec![0; size];
    if decoder.is_animated() {
        decoder.read_frame(&mut samples).map_err(broken)?;
    } else {
        decoder.read_image(&mut samples).map_err(broken)?;
    }
    let exif = decoder.exif_metadata().ok().flatten();
    let exif = exif.map(|note| note.strip_prefix(b"Exif\0\0").map(<[u8]>::to_vec).unwrap_or(note));
    Ok(Samples { width, height, channels, bytes: samples, exif, held: 1 })
}

pub(crate) fn bmp(bytes: &[u8], most: usize) -> Result {
    let mut decoder = zune_bmp::BmpDecoder::new(ZCursor::new(bytes));
    decoder.decode_headers().map_err(|e| broken(format!("{e:?}")))?;
    let number = |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    // Of two colours the decoder takes the wrong one where the palette says otherwise. The oldest header is the shortest.
    let bits = if number(14) < 40 { number(24) } else { number(28) } & 0xffff;
    if bits < 4 {
        return Err(broken(format!("a BMP of {bits} bits a pixel is not read: save it as PNG")));
    }
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let channels = decoder.colorspace().map_or(0, |space| space.num_components());
    let size = sized(width, height, channels, most)?;
    let mut samples = decoder.decode().map_err(|e| broken(format!("{e:?}")))?;
    if samples.len() != size || !(1..=4).contains(&channels) {
        return Err(broken("it is not as long as it should be"));
    }
    // The fourth byte of a pixel is nothing unless the header names a mask for it.
    let masked = number(14) >= 56 && number(30) == 3 && number(66) != 0;
    if channels == 4 && !masked {
        samples.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    }
    Ok(Samples { width, height, channels, bytes: samples, exif: None, held: 1 })
}

pub(crate) fn tiff(bytes: &[u8], most: usize) -> Result {
    use tiff::ColorType;
    use tiff::decoder::{Decoder, DecodingResult, Limits};

    let mut limits = Limits::default();
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(broken)?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(broken)?;
    let kind = decoder.colortype().map_err(broken)?;
    let channels = match kind {
        ColorType::Gray(8 | 16) => 1,
        ColorType::GrayA(8 | 16) => 2,
        ColorType::RGB(8 | 16) => 3,
        ColorType::RGBA(8 | 16) => 4,
        other => return Err(broken(format!("a TIFF image of the kind {other:?}; convert it to PNG"))),
    };
    let (width, height) = (width as usize, height as usize);
    let wide = if matches!(kind, ColorType::Gray(16) | ColorType::GrayA(16) | ColorType::RGB(16) | ColorType::RGBA(16)) { 2 } else { 1 };
    let size = sized(width, height, channels * wide, most)? / wide;
    let held = decoder.find_tag_unsigned::<u16>(tiff::tags::Tag::Orientation).ok().flatten().unwrap_or(1);
    let samples = match decoder.read_image().map_err(broken)? {
        DecodingResult::U8(samples) => samples,
        DecodingResult::U16(samples) => samples.into_iter().map(|sample| ((u32::from(sample) + 128) / 257) as u8).collect(),
        _ => return Err(broken("a TIFF image of numbers that are no pixels; convert it to PNG")),
    };
    if samples.len() != size {
        return Err(broken("its planes lie one after the other; convert it to PNG"));
    }
    Ok(Samples { width, height, channels, bytes: samples, exif: None, held })
}

pub(crate) fn gif(bytes: &[u8], most: usize) -> Result {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    options.set_memory_limit(gif::MemoryLimit::Bytes((most as u64).try_into().map_err(broken)?));
    let mut decoder = options.read_info(bytes).map_err(broken)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let mut samples = vec![0; sized(width, height, 4, most)?];
    let frame = decoder.read_next_frame().map_err(broken)?.ok_or_else(|| broken("it has no pictures"))?;
    let (left, top, columns) = (usize::from(frame.left), usize::from(frame.top), usize::from(frame.width));
    for (row, pixels) in frame.buffer.chunks_exact(4 * columns.max(1)).enumerate() {
        for (column, pixel) in pixels.chunks_exact(4).enumerate() {
            let (x, y) = (left + column, top + row);
            if x < width && y < height {
                samples[4 * (y * width + x)..][..4].copy_from_slice(pixel);
            }
        }
    }
    Ok(Samples { width, height, channels: 4, bytes: samples, exif: None, held: 1 })
}
