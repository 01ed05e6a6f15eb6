//! SHA-256 as the program writes it: 64 lower-case hexadecimal digits, or a number where a seed or a key is wanted.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::base::error::{AtPath, Result};
use crate::base::files::open_file;

/// What is hashed part by part, as if the parts were one text.
#[derive(Clone, Default)]
pub(crate) struct Hash(Sha256);

impl Hash {
    pub(crate) fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// Token ids, four bytes each, the lowest first.
    pub(crate) fn tokens(&mut self, tokens: &[u32]) {
        for token in tokens {
            self.0.update(token.to_le_bytes());
        }
    }

    pub(crate) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub(crate) fn hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.digest().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }

    /// The first eight bytes, the lowest first.
    pub(crate) fn number(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.digest();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut hash = Self::default();
        hash.update(bytes);
        hash
    }
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Hash::of(bytes).hex()
}

/// The SHA-256 of a file, of which no more than a piece is in memory.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn sha256_file(path: &Path) -> Result<String> {
    let mut file = open_file(path, "read")?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).at("read", path)?;
    Ok(Hash(hash).hex())
}

/// The SHA-256 of the lines `hash  name`, one a file.
///
/// # Errors
/// Where one cannot be read.
pub(crate) fn sha256_list<'a>(files: impl IntoIterator<Item = (&'a Path, String)>) -> Result<String> {
    let mut hash = Hash::default();
    for (file, name) in files {
        hash.update(format!("{}  {name}\n", sha256_file(file)?));
    }
    Ok(hash.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_abc_is_that_of_the_standard_however_it_comes() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), expected);
        let mut parts = Hash::of("a");
        parts.update("bc");
        assert_eq!(parts.clone().hex(), expected);
        assert_eq!(parts.number(), 0xeacf_018f_bf16_78ba);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(sha256_file(file.path()).unwrap(), expected);
        let (mut tokens, mut bytes) = (Hash::default(), Hash::default());
        tokens.tokens(&[1, 0x0403_0201]);
        bytes.update([1, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(tokens.hex(), bytes.hex());
    }
}
