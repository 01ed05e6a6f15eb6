//! The GGUF container, versions 2 and 3: a header of typed keys and tensor positions, then aligned tensor data.
//!
//! ```text
//! "GGUF"  u32 version  u64 tensors  u64 keys
//! keys:    string name, u32 type, value                       string = u64 length, bytes
//! tensors: string name, u32 rank, u64 dims[rank] (fastest first), u32 type, u64 offset from the start of the data
//! padding to general.alignment (32 when absent), then the data
//! ```
//!
//! A model in several files (`NAME-00001-of-00003.gguf`, keys `split.*`) is read through its first, which has the keys of all; the others lie
//! beside it and hold tensors.
//!
//! A header is not trusted: each length is held against what is left of the file and against a fixed limit before anything is
//! allocated for it, and each tensor must lie inside the file. What candle's own reader would let through (an alignment of 0,
//! dimensions whose product overflows) is refused here; candle only dequantises.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use candle_core::quantized::{GgmlDType, ggml_file::qtensor_from_ggml};
use candle_core::{Device, Tensor};

use super::stand_in::stand_in;
use crate::base::error::{AtPath, Error, Result};
use crate::base::files::open_file;

/// Room for the header: the largest vocabularies in use take about 20 MiB.
const HEADER_LIMIT: u64 = 128 << 20;
const KEY_LIMIT: u64 = 1 << 16;
const TENSOR_LIMIT: u64 = 1 << 16;
const STRING_LIMIT: u64 = 4 << 20;
const RANK_LIMIT: u32 = 4;
const PART_LIMIT: usize = 1000;
const ALIGNMENT_LIMIT: u64 = 1 << 16;

/// A value of the header. Arrays of texts and of 32-bit and 64-bit whole numbers are kept; others are read past.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i128),
    /// Widened by way of its shortest decimal form, so that an f32 `1e-5` is the f64 `1e-5`.
    Float(f64),
    Bool(bool),
    Text(String),
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Skipped,
}

/// Where a tensor lies and what it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorInfo {
    pub(crate) dtype: GgmlDType,
    /// Row-major, slowest first: the reverse of the file's order.
    pub(crate) dims: Vec<usize>,
    /// From the start of its file.
    start: u64,
    bytes: usize,
    /// Which of the files of a split model.
    part: usize,
}

/// An open file whose header has been read and checked.
#[derive(Debug)]
pub struct Gguf {
    /// One, or those of a split model in their order.
    paths: Vec<PathBuf>,
    files: Vec<File>,
    keys: HashMap<String, Value>,
    tensors: HashMap<String, TensorInfo>,
}

impl Gguf {
    /// Reads the header; tensor data stays on disk.
    ///
    /// # Errors
    /// Where the file cannot be read, is no GGUF, is cut off, or its header makes no sense; where it is a part of a split model, and not the
    /// first, or another part is missing.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, (keys, tensors)) = open_one(path)?;
        let mut whole = Self { paths: vec![path.to_path_buf()], files: vec![file], keys, tensors };
        let count = if whole.get("split.count").is_some() { whole.count("split.count")? } else { 1 };
        if count > 1 {
            whole.join(count)?;
        }
        Ok(whole)
    }

    /// Opens the other parts of a split model.
    fn join(&mut self, count: usize) -> Result<()> {
        let number = self.count("split.no")? + 1;
        let name = self.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found = split_name(&name).filter(|(_, no, of)| (*no, *of) == (number, count));
        let Some((stem, ..)) = found else {
            let error = self.error(format!("it is part {number} of {count} of a split model, and its name does not say so"));
            return Err(
                error.hint(format!("name the parts NAME-00001-of-{count:05}.gguf and so on, or join them: llama-gguf-split --merge"))
            );
        };
        let beside = |number: usize| self.path().with_file_name(part_name(stem, number, count));
        if number != 1 {
            return Err(self.error(format!("it is part {number} of {count}")).hint(format!("give the first: {}", beside(1).display())));
        }
        if count > PART_LIMIT {
            return Err(self.error(format!("it claims {count} parts")));
        }
        let parts: Vec<PathBuf> = (2..=count).map(beside).collect();
        let missing: Vec<String> = parts.iter().filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
        if let Some(first) = missing.first() {
            return Err(self
                .error(format!("it is part 1 of {count}, and {} of the others is missing: {first}", missing.len()))
                .hint("put all parts into one folder, as they were published"));
        }
        for (part, path) in (1..).zip(parts) {
            let (file, (keys, tensors)) = open_one(&path)?;
            let says = |key: &str, wanted: usize| keys.get(key) == Some(&Value::Int(wanted as i128));
            if !says("split.no", part) || !says("split.count", count) {
                return Err(Error::input(format!("{} is not part {} of {count} of the model", path.display(), part + 1))
                    .hint("put the parts into the folder as they were published"));
            }
            for (name, info) in tensors {
                if self.tensors.contains_key(&name) {
                    return Err(self.error(format!("the tensor {name} occurs in two parts")));
                }
                self.tensors.insert(name, TensorInfo { part, ..info });
            }
            self.files.push(file);
            self.paths.push(path);
        }
        if self.get("split.tensors.count").is_some() && self.count("split.tensors.count")? != self.tensors.len() {
            let stated = self.count("split.tensors.count")?;
            return Err(self
                .error(format!("its parts hold {} tensors, not {stated}", self.tensors.len()))
                .hint("fetch or copy them again"));
        }
        Ok(())
    }

    /// Of a split model, the first part's.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.paths[0]
    }

    /// All files, the first part first.
    #[must_use]
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    #[must_use]
    pub(crate) fn tensors(&self) -> &HashMap<String, TensorInfo> {
        &self.tensors
    }

    /// Reads and dequantises one tensor to f32 on the CPU.
    ///
    /// # Errors
    /// Where there is no such tensor or it cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (dtype, raw) = self.raw(name)?;
        let dims = self.tensors[name].dims.clone();
        Ok(qtensor_from_ggml(dtype, &raw, dims, &Device::Cpu)?.dequantize(&Device::Cpu)?)
    }

    /// Reads one tensor as it lies in the file.
    ///
    /// # Errors
    /// Where there is no such tensor or it cannot be read.
    pub fn raw(&self, name: &str) -> Result<(GgmlDType, Vec<u8>)> {
        let info = self.tensors.get(name).ok_or_else(|| self.error(format!("there is no tensor '{name}'")))?;
        let mut raw = vec![0; info.bytes];
        self.files[info.part].read_exact_at(&mut raw, info.start).at("read", &self.paths[info.part])?;
        Ok((info.dtype, raw))
    }

    #[must_use]
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// # Errors
    /// Where the key is missing or is not text.
    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        match self.need(key)? {
            Value::Text(text) => Ok(text),
            _ => Err(self.error(format!("the key {key} is not text"))),
        }
    }

    /// # Errors
    /// Where the key is missing or is not a whole number from 0 to 2^32 - 1.
    pub(crate) fn count(&self, key: &str) -> Result<usize> {
        match self.need(key)? {
            Value::Int(number) if (0..=i128::from(u32::MAX)).contains(number) => Ok(*number as usize),
            Value::Ints(_) => Err(self.error(format!("the key {key} differs from layer to layer, which is not supported"))),
            _ => Err(self.error(format!("the key {key} is not a count"))),
        }
    }

    /// # Errors
    /// Where the key is missing or is not a finite number.
    pub(crate) fn number(&self, key: &str) -> Result<f64> {
        match self.need(key)? {
            Value::Float(number) if number.is_finite() => Ok(*number),
            Value::Int(number) => Ok(*number as f64),
            _ => Err(self.error(format!("the key {key} is not a finite number"))),
        }
    }

    /// # Errors
    /// Where the key is missing or is not a list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<&[String]> {
        match self.need(key)? {
            Value::Texts(list) => Ok(list),
            _ => Err(self.error(format!("the key {key} is not a list of texts"))),
        }
    }

    /// # Errors
    /// Where the key is missing or is not a list of whole numbers.
    pub(crate) fn ints(&self, key: &str) -> Result<&[i64]> {
        match self.need(key)? {
            Value::Ints(list) => Ok(list),
            _ => Err(self.error(format!("the key {key} is not a list of whole numbers"))),
        }
    }

    fn need(&self, key: &str) -> Result<&Value> {
        self.keys.get(key).ok_or_else(|| {
            self.error(format!("the key {key} is missing")).hint("the file is no complete language model; convert or fetch it again")
        })
    }

    /// An error about this file.
    #[must_use]
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {what}", self.path().display()))
    }
}

fn open_one(path: &Path) -> Result<(File, Contents)> {
    let file = open_file(path, "open")?;
    let size = file.metadata().at("read", path)?.len();
    let header = Header { source: BufReader::new((&file).take(HEADER_LIMIT.min(size))), at: 0, size };
    let contents = header.read().map_err(|flaw| match (&flaw, stand_in(path)) {
        (Flaw::NotGguf, Some(error)) => error,
        _ => flaw.at(path, size),
    })?;
    Ok((file, contents))
}

/// Stem, number and count of `NAME-00001-of-00003.gguf`.
#[must_use]
pub(crate) fn split_name(name: &str) -> Option<(&str, usize, usize)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    (digits(number) && digits(count)).then_some((stem, number.parse().ok()?, count.parse().ok()?))
}

/// The name of a part of a split model.
#[must_use]
pub fn part_name(stem: &str, number: usize, count: usize) -> String {
    format!("{stem}-{number:05}-of-{count:05}.gguf")
}

/// What is wrong with a header.
enum Flaw {
    NotGguf,
    BigEndian,
    Version(u32),
    /// The header or the tensor named goes on past the end.
    CutOff(String),
    Absurd(String),
    Unsupported(String),
    Io(std::io::Error),
}

impl Flaw {
    fn at(self, path: &Path, size: u64) -> Error {
        let shown = path.display();
        match self {
            Self::NotGguf => Error::input(format!("{shown} is not a GGUF file"))
                .hint("give the path of a .gguf file, or a name that `eliteloop models list` shows"),
            Self::BigEndian => {
                Error::input(format!("{shown} is a big-endian GGUF file")).hint("use the little-endian file of the same model")
            }
            Self::Version(version) => Error::input(format!("{shown}: GGUF version {version} is not supported"))
                .hint("versions 2 and 3 are; convert the model again"),
            Self::CutOff(what) => Error::input(format!("{shown} is cut off at {size} bytes: {what}")).hint("fetch or copy the file again"),
            Self::Absurd(what) => Error::input(format!("{shown} is damaged: {what}")).hint("fetch or copy the file again"),
            Self::Unsupported(what) => Error::input(format!("{shown}: {what}"))
                .hint("supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K"),
            Self::Io(error) => Error::machine(format!("cannot read {shown}")).caused_by(error),
        }
    }
}

type Checked<T> = std::result::Result<T, Flaw>;
type Contents = (HashMap<String, Value>, HashMap<String, TensorInfo>);

struct Header<R> {
    source: R,
    at: u64,
    size: u64,
}

impl<R: Read> Header<R> {
    fn read(mut self) -> Checked<Contents> {
        match self.bytes(4).map_err(|_| Flaw::NotGguf)?.as_slice() {
            b"GGUF" => {}
            b"FUGG" => return Err(Flaw::BigEndian),
            _ => return Err(Flaw::NotGguf),
        }
        let version = self.u32()?;
        if version.swap_bytes() == 2 || version.swap_bytes() == 3 {
            return Err(Flaw::BigEndian);
        }
        if version != 2 && version != 3 {
            return Err(Flaw::Version(version));
        }
        let tensor_count = self.u64()?;
        let key_count = self.u64()?;
        if key_count > KEY_LIMIT || tensor_count > TENSOR_LIMIT {
            return Err(Flaw::Absurd(format!("its header announces {key_count} keys and {tensor_count} tensors")));
        }
        let mut keys = HashMap::new();
        for _ in 0..key_count {
            let key = self.text("a key")?;
            let kind = self.u32()?;
            let value = self.value(&key, kind)?;
            if keys.insert(key.clone(), value).is_some() {
                return Err(Flaw::Absurd(format!("the key {key} occurs twice")));
            }
        }
        let mut found = Vec::new();
        for _ in 0..tensor_count {
            found.push(self.tensor()?);
        }
        let alignment = match keys.get("general.alignment") {
            None => 32,
            Some(Value::Int(n)) if *n > 0 && *n <= i128::from(ALIGNMENT_LIMIT) && (*n as u64).is_power_of_two() => *n as u64,
            Some(_) => return Err(Flaw::Absurd("general.alignment is not a small power of two".into())),
        };
        let data = self.at.next_multiple_of(alignment);
        let mut tensors = HashMap::new();
        for (name, mut info) in found {
            let start =
                data.checked_add(info.start).filter(|start| start.checked_add(info.bytes as u64).is_some_and(|end| end <= self.size));
            info.start = start.ok_or_else(|| Flaw::CutOff(format!("the tensor {name} would lie past the end")))?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(Flaw::Absurd(format!("the tensor {name} occurs twice")));
            }
        }
        Ok((keys, tensors))
    }

    /// Name, type, dimensions; `start` is still the offset into the data.
    fn tensor(&mut self) -> Checked<(String, TensorInfo)> {
        let name = self.text("a tensor's name")?;
        let rank = self.u32()?;
        if rank == 0 || rank > RANK_LIMIT {
            return Err(Flaw::Absurd(format!("the tensor {name} has {rank} dimensions")));
        }
        let mut dims = Vec::new();
        for _ in 0..rank {
            dims.push(self.u64()?);
        }
        let code = self.u32()?;
        let start = self.u64()?;
        let dtype = dtype(code)
            .ok_or_else(|| Flaw::Unsupported(format!("the tensor {name} is quantised in a way that is not supported ({code})")))?;
        let block = dtype.block_size() as u64;
        let elements =
            dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim)).filter(|&n| n > 0 && dims[0].is_multiple_of(block));
        let bytes = elements.and_then(|n| (n / block).checked_mul(dtype.type_size() as u64));
        let bytes = bytes.ok_or_else(|| Flaw::Absurd(format!("the tensor {name} has the dimensions {dims:?}")))?;
        // Fits a usize: it is held against the file's size before anything is allocated.
        let dims = dims.into_iter().rev().map(|dim| dim as usize).collect();
        Ok((name, TensorInfo { dtype, dims, start, bytes: bytes as usize, part: 0 }))
    }

    fn value(&mut self, key: &str, kind: u32) -> Checked<Value> {
        const ARRAY: u32 = 9;
        if kind != ARRAY {
            return self.scalar(key, kind);
        }
        let kind = self.u32()?;
        let length = self.u64()?;
        let smallest = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(Flaw::Absurd(format!("the key {key} is an array of the unknown type {kind}"))),
        };
        let left = HEADER_LIMIT.min(self.size) - self.at;
        if length.checked_mul(smallest).is_none_or(|needed| needed > left) {
            return Err(self.too_long(&format!("the key {key} announces {length} elements")));
        }
        if kind == 8 {
            let list: Checked<Vec<String>> = (0..length).map(|_| self.text(key)).collect();
            return Ok(Value::Texts(list?));
        }
        // Wide numbers only: what is kept then takes at most a few times what it takes in the file.
        let kept = matches!(kind, 4 | 5 | 10 | 11);
        let mut ints = Vec::new();
        for _ in 0..length {
            match self.scalar(key, kind)? {
                Value::Int(number) if kept => {
                    ints.push(i64::try_from(number).map_err(|_| Flaw::Absurd(format!("the key {key} holds {number}")))?);
                }
                _ => {}
            }
        }
        Ok(if kept { Value::Ints(ints) } else { Value::Skipped })
    }

    fn scalar(&mut self, key: &str, kind: u32) -> Checked<Value> {
        Ok(match kind {
            0 => Value::Int(self.array::<1>()?[0].into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).to_string().parse().expect("a number's own text is a number")),
            7 => match self.array::<1>()?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(Flaw::Absurd(format!("the key {key} is neither true nor false but {other}"))),
            },
            8 => Value::Text(self.text(key)?),
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(Flaw::Absurd(format!("the key {key} has the unknown type {kind}"))),
        })
    }

    fn text(&mut self, what: &str) -> Checked<String> {
        let length = self.u64()?;
        if length > STRING_LIMIT || length > self.size - self.at {
            return Err(self.too_long(&format!("{what} announces a text of {length} bytes")));
        }
        let bytes = self.bytes(length as usize)?;
        String::from_utf8(bytes).map_err(|_| Flaw::Absurd(format!("{what} is not UTF-8")))
    }

    /// A length that the file cannot hold is either a lie or the sign of a file cut off.
    fn too_long(&self, what: &str) -> Flaw {
        Flaw::Absurd(format!("{what}, with {} bytes of the file left", self.size - self.at))
    }

    fn u32(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Checked<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> Checked<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Checked<()> {
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof if self.size > HEADER_LIMIT => {
                Flaw::Absurd(format!("its header is longer than {HEADER_LIMIT} bytes"))
            }
            std::io::ErrorKind::UnexpectedEof => Flaw::CutOff("its header goes on".into()),
            _ => Flaw::Io(error),
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// The types that candle dequantises, by their number in the file.
fn dtype(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}
