//! Pictures, and the images of a run as workers read them.

use eliteloop::proxy::dataset::Split;
use eliteloop::proxy::dataset::picture::Picture;

use super::file;

/// Bytes of pixels that a picture may have.
const MOST: usize = 16 << 20;

/// A picture in any format.
pub fn picture(bytes: &[u8]) {
    if let Ok(picture) = Picture::read(bytes, MOST) {
        assert!(picture.pixels.len() == picture.width * picture.height && !picture.pixels.is_empty());
        assert!(3 * picture.pixels.len() <= 4 * MOST);
    }
}

/// The images of a run.
pub fn images(bytes: &[u8]) {
    let _ = Split::load(&file("images", bytes));
}
