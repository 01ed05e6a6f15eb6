//! Image files as pixels, and pictures scaled: no colour management, a value in the file is the value that is taken.
//!
//! Scaling is separable convolution with the Catmull-Rom kernel, first down the columns, then along the rows. Where the result is the
//! smaller, the kernel is as much wider as the picture gets smaller, so that every pixel counts and nothing aliases. With `r` the
//! ratio of sizes and `s = max(r, 1)`, pixel `i` of the result is `sum_p w_p x_p`, `w_p ~ k((p + 1/2 - (i + 1/2) r) / s)`, `sum_p w_p = 1`.

use std::io::Cursor;

use super::fit::{Fit, Size};
use super::formats::{self, Samples, Why};
use png::Transformations;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Red, green and blue.
pub type Rgb = [u8; 3];

/// A picture, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row: red, green and blue.
    pub pixels: Vec<Rgb>,
    /// The file has one channel of colour; it became three equal ones.
    pub grey: bool,
    /// Some pixel was not opaque; it was laid on white.
    pub transparent: bool,
}

/// What is not a picture that can be taken, in words that go behind its path.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// In no format that is read.
    #[error("not a PNG, JPEG, WebP, BMP, TIFF or GIF image")]
    Kind,
    /// In a format that phones write and no well-kept crate reads.
    #[error("a HEIC or AVIF image, which is not read; convert it to PNG")]
    Heif,
    /// A PNG file that is not whole or not right.
    #[error("broken: {0}")]
    Png(#[from] png::DecodingError),
    /// The same of JPEG.
    #[error("broken: {0}")]
    Jpeg(#[from] zune_jpeg::errors::DecodeErrors),
    /// The same of the other formats, in their decoder's words.
    #[error("broken: {0}")]
    Other(String),
    /// It ends before its pixels do.
    #[error("broken: it is cut off")]
    CutOff,
    /// No rows, or none in them.
    #[error("broken: it has no pixels")]
    Empty,
    /// More bytes of pixels than asked for: how many, and how many may be.
    #[error("{0} bytes of pixels, at most {1}")]
    Large(usize, usize),
    /// Packed better than any picture is: bytes of pixels, bytes of the file.
    #[error("{0} bytes of pixels in a file of {1}: it is no picture but a bomb")]
    Bomb(usize, usize),
}

/// Pixels of so many bytes may be as well packed as they like; of more, a drawing of few colours is packed a hundredfold, and what is packed
/// better was made to fill the memory.
const SMALL: usize = 16 << 20;
const RATIO: usize = 400;

fn check_size(bytes: usize, most: usize) -> Result<(), Flaw> {
    match bytes {
        0 => Err(Flaw::Empty),
        _ if bytes > most => Err(Flaw::Large(bytes, most)),
        _ => Ok(()),
    }
}

impl Picture {
    /// A picture from the bytes of its file, upright as its Exif note says. `most` bounds the bytes of its pixels, before any is decoded.
    ///
    /// # Errors
    /// What is no picture, or none that can be taken.
    pub fn read(bytes: &[u8], most: usize) -> Result<Self, Flaw> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => read_png(bytes, most),
            [0xff, 0xd8, 0xff, ..] => read_jpeg(bytes, most),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::from_samples(formats::webp(bytes, most), most),
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Self::from_samples(formats::bmp(bytes, most), most),
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Self::from_samples(formats::tiff(bytes, most), most),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::from_samples(formats::gif(bytes, most), most),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Err(Flaw::Heif),
            _ => Err(Flaw::Kind),
        }
    }

    fn from_samples(samples: Result<Samples, Why>, most: usize) -> Result<Self, Flaw> {
        let Samples { width, height, channels, bytes, exif, held: stated } = samples.map_err(|why| match why {
            Why::Large(bytes) => Flaw::Large(bytes, most),
            Why::Broken(why) => Flaw::Other(why),
        })?;
        Ok(Self::of(width, height, channels, &bytes).upright(exif.map_or(stated, |note| held(&note))))
    }

    /// From rows of 1 (grey), 2 (grey, alpha), 3 or 4 (colour, alpha) channels a pixel.
    fn of(width: usize, height: usize, channels: usize, samples: &[u8]) -> Self {
        let mut transparent = false;
        let pixel = |samples: &[u8]| match *samples {
            [grey] => [grey; 3],
            [r, g, b] => [r, g, b],
            [grey, alpha] => on_white([grey; 3], alpha, &mut transparent),
            [r, g, b, alpha] => on_white([r, g, b], alpha, &mut transparent),
            _ => unreachable!("a pixel has one to four channels"),
        };
        let pixels = samples.chunks_exact(channels).map(pixel).collect();
        Self { width, height, pixels, grey: channels < 3, transparent }
    }

    /// As it is seen when it was held as the Exif value says; values from 5 on swap width and height.
    fn upright(self, held: u16) -> Self {
        if !(2..=8).contains(&held) {
            return self;
        }
        let (w, h) = (self.width, self.height);
        let (width, height) = if held < 5 { (w, h) } else { (h, w) };
        let from = |x: usize, y: usize| match held {
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, h - 1 - x),
            7 => (w - 1 - y, h - 1 - x),
            _ => (w - 1 - y, x),
        };
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| from(x, y)).map(|(x, y)| self.pixels[y * w + x]).collect();
        Self { width, height, pixels, ..self }
    }

    /// All of the first channel, then the second, then the third.
    pub(crate) fn by_channel(&self) -> Vec<u8> {
        (0..3).flat_map(|channel| self.pixels.iter().map(move |pixel| pixel[channel])).collect()
    }

    /// The largest part in its middle that has the shape of `size`.
    pub(crate) fn middle(&self, size: Size) -> Self {
        // As high or as wide as the picture, whichever is less of it.
        let (width, height) = if self.width * size.height > self.height * size.width {
            (part(self.height, size.width, size.height), self.height)
        } else {
            (self.width, part(self.width, size.height, size.width))
        };
        let (left, top) = ((self.width - width) / 2, (self.height - height) / 2);
        let rows = self.pixels.chunks_exact(self.width).skip(top).take(height);
        Self { width, height, pixels: rows.flat_map(|row| &row[left..][..width]).copied().collect(), ..*self }
    }

    /// Of this size, brought to its shape as `fit` says.
    pub(crate) fn fitted(self, size: Size, fit: Fit) -> Self {
        let Size { height, width } = size;
        match fit {
            Fit::Crop => self.middle(size).scaled(width, height),
            Fit::Stretch => self.scaled(width, height),
            Fit::Pad => {
                let (inner_width, inner_height) = if self.width * height > self.height * width {
                    (width, part(width, self.height, self.width))
                } else {
                    (part(height, self.width, self.height), height)
                };
                let inner = self.scaled(inner_width, inner_height);
                let (left, top) = ((width - inner_width) / 2, (height - inner_height) / 2);
                let mut pixels = vec![[0; 3]; width * height];
                for (row, from) in inner.pixels.chunks_exact(inner_width).enumerate() {
                    pixels[(top + row) * width + left..][..inner_width].copy_from_slice(from);
                }
                Self { width, height, pixels, ..inner }
            }
        }
    }

    /// Scaled to `width` x `height` pixels.
    pub(crate) fn scaled(self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self;
        }
        let mut narrow: Vec<[f32; 3]> = Vec::with_capacity(self.width * height);
        for (first, weights) in taps(self.height, height) {
            let pixel = |x: usize| weighted(weights.iter().zip(first..).map(|(&w, y)| (w, self.pixels[y * self.width + x].map(f32::from))));
            narrow.extend((0..self.width).map(pixel));
        }
        let columns = taps(self.width, width);
        let pixels = narrow.chunks_exact(self.width).flat_map(|row| {
            columns.iter().map(|(first, weights)| {
                weighted(weights.iter().copied().zip(row[*first..].iter().copied())).map(|value| value.clamp(0.0, 255.0).round() as u8)
            })
        });
        Self { width, height, pixels: pixels.collect(), ..self }
    }
}

/// `all * share / of`, rounded, at least 1 and at most what is there: sides of one shape.
fn part(all: usize, share: usize, of: usize) -> usize {
    ((2 * all * share + of) / (2 * of)).max(1)
}

fn on_white(colour: Rgb, alpha: u8, transparent: &mut bool) -> Rgb {
    *transparent |= alpha < 255;
    let alpha = u32::from(alpha);
    colour.map(|channel| ((u32::from(channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

fn read_png(bytes: &[u8], most: usize) -> Result<Picture, Flaw> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: most });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    check_size(size, most)?;
    if size > SMALL && size / bytes.len().max(1) > RATIO {
        return Err(Flaw::Bomb(size, bytes.len()));
    }
    let held = reader.info().exif_metadata.as_deref().map_or(1, held);
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples)?;
    samples.truncate(frame.buffer_size());
    if frame.bit_depth == png::BitDepth::Sixteen {
        let eight = |pair: &[u8]| ((u32::from(pair[0]) * 256 + u32::from(pair[1]) + 128) / 257) as u8;
        samples = samples.chunks_exact(2).map(eight).collect();
    }
    let picture = Picture::of(frame.width as usize, frame.height as usize, frame.color_type.samples(), &samples);
    Ok(picture.upright(held))
}

/// Whether the markers go on to the one that ends the image. In between, 0xff stands before a 0 or a restart marker where it is data.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut at = 2;
    while let Some(found) = bytes[at..].windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff)) {
        at += found + 2;
        if bytes[at - 1] == END {
            return true;
        }
        let length = bytes.get(at..at + 2).map_or(usize::MAX, |pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
        at = at.saturating_add(length);
        if at > bytes.len() {
            return false;
        }
    }
    false
}

fn read_jpeg(bytes: &[u8], most: usize) -> Result<Picture, Flaw> {
    if !jpeg_ends(bytes) {
        return Err(Flaw::CutOff);
    }
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    // From here on strictly: before, strictness would refuse harmless bytes between the headers. An end that was put behind a cut is taken
    // even so, and what is missing is grey.
    let options = options.set_strict_mode(true);
    decoder.set_options(options.jpeg_set_out_colorspace(if grey { ColorSpace::Luma } else { ColorSpace::RGB }));
    let size = decoder.output_buffer_size().unwrap_or(usize::MAX);
    check_size(size, most)?;
    let held = decoder.exif().map_or(1, |exif| held(exif));
    let samples = decoder.decode()?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    Ok(Picture::of(width, height, if grey { 1 } else { 3 }, &samples).upright(held))
}

/// How a camera was held, 1 to 8, of the first directory of an Exif note; 1 (upright) where it does not say.
fn held(exif: &[u8]) -> u16 {
    let big = match exif.get(..4) {
        Some(b"MM\0*") => true,
        Some(b"II*\0") => false,
        _ => return 1,
    };
    let number = |at: usize, count: usize| -> Option<usize> {
        let digit = |number: usize, &byte: &u8| number << 8 | usize::from(byte);
        let bytes = exif.get(at..at.checked_add(count)?)?;
        Some(if big { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) })
    };
    let find = || {
        let directory = number(4, 4)?;
        let entries = (0..number(directory, 2)?).map(|entry| directory + 2 + 12 * entry);
        // Tag, type (a short number), count, value.
        let note = entries.take_while(|at| at + 12 <= exif.len()).find(|&at| {
            let is = |offset, count, value| number(at + offset, count) == Some(value);
            is(0, 2, 0x112) && is(2, 2, 3) && is(4, 4, 1)
        });
        number(note? + 8, 2)
    };
    find().and_then(|value| u16::try_from(value).ok()).filter(|value| (1..=8).contains(value)).unwrap_or(1)
}

/// For each pixel of a row or column of `to` the first of the `from` pixels that it is made of, and the weights of that and the next ones.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let ratio = from as f32 / to as f32;
    let stretch = ratio.max(1.0);
    let tap = |pixel: usize| {
        let centre = (pixel as f32 + 0.5) * ratio;
        let first = ((centre - 2.0 * stretch).floor().max(0.0) as usize).min(from - 1);
        let end = ((centre + 2.0 * stretch).ceil() as usize).clamp(first + 1, from);
        let mut weights: Vec<f32> = (first..end).map(|p| catmull_rom((p as f32 - (centre - 0.5)) / stretch)).collect();
        let sum: f32 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        (first, weights)
    };
    (0..to).map(tap).collect()
}

fn catmull_rom(x: f32) -> f32 {
    let x = x.abs();
    let (square, cube) = (x * x, x * x * x);
    let six_fold = if x < 1.0 {
        9.0 * cube - 15.0 * square + 6.0
    } else if x < 2.0 {
        -3.0 * cube + 15.0 * square - 24.0 * x + 12.0
    } else {
        0.0
    };
    six_fold / 6.0
}

fn weighted(pixels: impl Iterator<Item = (f32, [f32; 3])>) -> [f32; 3] {
    pixels.fold([0.0; 3], |sum, (weight, pixel)| std::array::from_fn(|channel| sum[channel] + pixel[channel] * weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::imageops::FilterType;
    use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader};

    const MOST: usize = 1 << 20;

    /// What the crate `image` makes of a file: RGBA, upright.
    fn by_image(bytes: &[u8]) -> DynamicImage {
        let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap().into_decoder().unwrap();
        let orientation = decoder.orientation().unwrap();
        let mut image = DynamicImage::from_decoder(decoder).unwrap();
        image.apply_orientation(orientation);
        image
    }

    fn assert_same(bytes: &[u8], what: &str) {
        let (own, theirs) = (Picture::read(bytes, MOST).unwrap(), by_image(bytes));
        assert_eq!((own.width, own.height), (theirs.width() as usize, theirs.height() as usize), "{what}");
        let rgba = theirs.to_rgba8();
        assert_eq!(own.grey, !theirs.color().has_color(), "{what}");
        assert_eq!(own.transparent, rgba.pixels().any(|pixel| pixel[3] < 255), "{what}");
        let mut ignored = false;
        let flat: Vec<Rgb> = rgba.pixels().map(|p| on_white([p[0], p[1], p[2]], p[3], &mut ignored)).collect();
        assert_eq!(own.pixels, flat, "{what}");
    }

    fn samples(count: usize) -> Vec<u8> {
        (0..count as u64).map(|i| (crate::base::seed::derive(i, "sample", &[]) >> 20) as u8).collect()
    }

    fn png(colour: png::ColorType, depth: png::BitDepth, change: impl Fn(&mut png::Info)) -> Vec<u8> {
        let mut info = png::Info::with_size(13, 7);
        (info.color_type, info.bit_depth) = (colour, depth);
        change(&mut info);
        let row = (13 * colour.samples() * depth as usize).div_ceil(8);
        let mut bytes = Vec::new();
        let mut writer = png::Encoder::with_info(&mut bytes, info).unwrap().write_header().unwrap();
        writer.write_image_data(&samples(7 * row)).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_png_has_the_pixels_that_another_reader_sees() {
        use png::{BitDepth, ColorType};
        for depth in [BitDepth::Eight, BitDepth::Sixteen] {
            for colour in [ColorType::Grayscale, ColorType::GrayscaleAlpha, ColorType::Rgb, ColorType::Rgba] {
                assert_same(&png(colour, depth, |_| ()), &format!("{colour:?} {depth:?}"));
            }
        }
        for depth in [BitDepth::One, BitDepth::Two, BitDepth::Four, BitDepth::Eight] {
            assert_same(&png(ColorType::Grayscale, depth, |_| ()), &format!("grey {depth:?}"));
            let colours = 1 << depth as usize;
            for alpha in [None, Some(samples(colours).into())] {
                let palette = png(ColorType::Indexed, depth, |info| {
                    info.palette = Some(samples(3 * colours).into());
                    info.trns.clone_from(&alpha);
                });
                assert_same(&palette, &format!("palette {depth:?} {}", alpha.is_some()));
            }
        }
        let seen_through = |info: &mut png::Info| info.trns = Some(vec![0, samples(1)[0]].into());
        assert_same(&png(ColorType::Grayscale, BitDepth::Eight, seen_through), "one transparent grey");
    }

    fn exif(value: u8, big: bool) -> Vec<u8> {
        let note: &[u8] = if big {
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0V\0\0"
        } else {
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0V\0\0\0"
        };
        let value = note.iter().map(|&byte| if byte == b'V' { value } else { byte });
        value.chain([0; 4]).collect()
    }

    fn jpeg(colour: ExtendedColorType, channels: usize, note: Option<Vec<u8>>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
        if let Some(note) = note {
            encoder.set_exif_metadata(note).unwrap();
        }
        encoder.write_image(&samples(channels * 19 * 11), 19, 11, colour).unwrap();
        bytes
    }

    #[test]
    fn a_jpeg_has_the_pixels_that_another_reader_sees_however_it_was_held() {
        assert_same(&jpeg(ExtendedColorType::Rgb8, 3, None), "colour");
        assert_same(&jpeg(ExtendedColorType::L8, 1, None), "grey");
        for held in 0..10 {
            for big in [false, true] {
                assert_same(&jpeg(ExtendedColorType::Rgb8, 3, Some(exif(held, big))), &format!("held {held} {big}"));
                let note = png(png::ColorType::Rgb, png::BitDepth::Eight, |info| info.exif_metadata = Some(exif(held, big).into()));
                assert_same(&note, &format!("PNG held {held} {big}"));
            }
        }
        for cut in 0..24 {
            assert_same(&jpeg(ExtendedColorType::L8, 1, Some(exif(6, true)[..cut].to_vec())), &format!("a note of {cut} bytes"));
        }
    }

    #[test]
    fn scaling_gives_the_bytes_of_another_implementation() {
        let bytes = png(png::ColorType::Rgb, png::BitDepth::Eight, |_| ());
        for (width, height) in [(13, 7), (26, 14), (5, 5), (1, 1), (32, 32), (40, 3)] {
            let own = Picture::read(&bytes, MOST).unwrap().scaled(width, height);
            let theirs = by_image(&bytes).resize_exact(width as u32, height as u32, FilterType::CatmullRom).into_rgb8();
            assert_eq!(own.pixels.as_flattened(), theirs.as_raw(), "{width} x {height}");
        }
        let middle = Picture::read(&bytes, MOST).unwrap().middle(Size::square(5));
        assert_eq!(middle.pixels.as_flattened(), by_image(&bytes).crop_imm(3, 0, 7, 7).into_rgb8().as_raw());
    }

    #[test]
    fn a_picture_comes_to_a_shape_by_cutting_by_black_or_by_stretching() {
        // 13 x 7.
        let bytes = png(png::ColorType::Rgb, png::BitDepth::Eight, |_| ());
        let read = || Picture::read(&bytes, MOST).unwrap();
        let theirs = by_image(&bytes);
        let size = Size { height: 10, width: 4 };
        let cut = theirs.crop_imm(5, 0, 3, 7).resize_exact(4, 10, FilterType::CatmullRom).into_rgb8();
        assert_eq!(read().fitted(size, Fit::Crop).pixels.as_flattened(), cut.as_raw());
        let stretched = theirs.resize_exact(4, 10, FilterType::CatmullRom).into_rgb8();
        assert_eq!(read().fitted(size, Fit::Stretch).pixels.as_flattened(), stretched.as_raw());
        let padded = read().fitted(Size { height: 20, width: 26 }, Fit::Pad);
        let inner = theirs.resize_exact(26, 14, FilterType::CatmullRom).into_rgb8();
        assert_eq!(padded.pixels[3 * 26..17 * 26].as_flattened(), inner.as_raw());
        assert!(padded.pixels[..3 * 26].iter().chain(&padded.pixels[17 * 26..]).all(|pixel| *pixel == [0; 3]));
        for fit in [Fit::Crop, Fit::Pad, Fit::Stretch] {
            let one = Picture { width: 1, height: 4000, pixels: vec![[9; 3]; 4000], grey: false, transparent: false };
            let fitted = one.fitted(Size { height: 4, width: 512 }, fit);
            assert_eq!((fitted.width, fitted.height, fitted.pixels.len()), (512, 4, 2048));
        }
    }

    /// What Pillow makes of the same files: tests/fixtures/pictures, written by scripts/goldens/pictures.py.
    #[test]
    fn other_formats_have_the_pixels_that_pillow_sees() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
        let golden: std::collections::BTreeMap<String, (usize, usize, Vec<Rgb>)> =
            serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
        assert!(golden.len() > 10);
        for (name, (width, height, pixels)) in golden {
            let bytes = std::fs::read(folder.join(&name)).unwrap();
            if name == "two.bmp" {
                assert!(Picture::read(&bytes, MOST).is_err(), "the decoder takes the wrong colour of two");
                continue;
            }
            let picture = Picture::read(&bytes, MOST).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((picture.width, picture.height), (width, height), "{name}");
            let apart = picture.pixels.as_flattened().iter().zip(pixels.as_flattened()).map(|(a, b)| a.abs_diff(*b)).max();
            // Decoders of lossy WebP and JPEG round the colours differently.
            let most = if name.contains("lossy") || name.contains(".jpg") { 3 } else { 0 };
            assert!(apart <= Some(most), "{name}: {apart:?}");
            assert!(Picture::read(&bytes, 20).is_err_and(|e| matches!(e, Flaw::Large(..))), "{name} is too large");
            for cut in (0..bytes.len()).step_by(7) {
                // No panic, and nothing of another size.
                if let Ok(cut) = Picture::read(&bytes[..cut], MOST) {
                    assert_eq!(cut.pixels.len(), cut.width * cut.height);
                }
            }
        }
    }

    #[test]
    fn a_small_file_of_very_many_pixels_is_refused_before_they_are_made() {
        let (width, height) = (6000, 6000);
        let mut bytes = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
        encoder.set_compression(::png::Compression::High);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![0; (width * height) as usize]).unwrap();
        writer.finish().unwrap();
        assert!(bytes.len() < 100_000);
        assert!(matches!(Picture::read(&bytes, 1 << 29), Err(Flaw::Bomb(36_000_000, _))));
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused_and_a_cut_one_makes_no_panic() {
        for other in [&b""[..], b"GIF90a", b"hello"] {
            assert!(matches!(Picture::read(other, MOST), Err(Flaw::Kind)));
        }
        for bytes in [jpeg(ExtendedColorType::Rgb8, 3, None), png(png::ColorType::Rgba, png::BitDepth::Eight, |_| ())] {
            assert!(matches!(Picture::read(&bytes, 100), Err(Flaw::Large(_, 100))));
            for cut in 4..bytes.len() {
                // The last bytes of a PNG file say nothing of its pixels.
                if let Ok(picture) = Picture::read(&bytes[..cut], MOST) {
                    assert!(bytes[0] == 0x89 && picture == Picture::read(&bytes, MOST).unwrap(), "cut to {cut} of {}", bytes.len());
                }
            }
        }
    }

    /// What is missing would be grey. A mark of the end that somebody put behind the cut is not noticed.
    #[test]
    fn a_jpeg_that_does_not_end_is_refused() {
        let bytes = jpeg(ExtendedColorType::Rgb8, 3, Some(exif(6, true)));
        let whole = Picture::read(&bytes, MOST).unwrap();
        let data = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
        for cut in data..bytes.len() - 2 {
            assert!(matches!(Picture::read(&bytes[..cut], MOST), Err(Flaw::CutOff)), "cut to {cut}");
        }
        // What lies behind the end is no matter.
        assert_eq!(Picture::read(&[&bytes[..], b"more"].concat(), MOST).unwrap(), whole);
    }
}
