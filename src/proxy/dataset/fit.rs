//! How images of any shape come to one size.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is done with an image of another shape than is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// The largest part in its middle that has the shape is taken, the rest cut off
    #[default]
    Crop,
    /// All of it is kept, with black around it
    Pad,
    /// All of it is kept, and its shape is changed
    Stretch,
}

impl Fit {
    /// As settings and the command line write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Stretch => "stretch",
        }
    }

    /// What was done to an image of another shape.
    #[must_use]
    pub fn did(self) -> &'static str {
        match self {
            Self::Crop => "the middle was taken",
            Self::Pad => "black was put around",
            Self::Stretch => "its shape was changed",
        }
    }
}

/// Pixels. Written as one number where it is square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Size {
    /// As high as it is wide.
    #[must_use]
    pub fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.height == self.width { write!(f, "{}", self.height) } else { write!(f, "{}x{}", self.height, self.width) }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    /// `32`, or height by width: `48x40`.
    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| {
            let side = text.trim().parse::<usize>().ok().filter(|side| (4..=512).contains(side));
            side.ok_or_else(|| format!("'{text}' is not a number of pixels from 4 to 512; give one, or HEIGHTxWIDTH"))
        };
        match text.split_once(['x', 'X']) {
            None => side(text).map(Self::square),
            Some((height, width)) => Ok(Self { height: side(height)?, width: side(width)? }),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.height == self.width { self.height.serialize(serializer) } else { [self.height, self.width].serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Square(usize),
            Both([usize; 2]),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Square(side) => Self::square(side),
            Written::Both([height, width]) => Self { height, width },
        })
    }
}
