//! Lists of numbers as plain data, with the infinities that JSON has no number for: a mask of attention is made of them.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One number; the infinities are the words `inf` and `-inf`.
struct Number(f32);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_infinite() {
            serializer.serialize_str(if self.0 > 0.0 { "inf" } else { "-inf" })
        } else {
            serializer.serialize_f32(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, inf or -inf")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value as f32))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f32))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f32))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Number, E> {
                match word {
                    "inf" => Ok(Number(f32::INFINITY)),
                    "-inf" => Ok(Number(f32::NEG_INFINITY)),
                    _ => Err(E::custom(format!("{word:?} is not a number"))),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}

pub(crate) fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(values.len()))?;
    for &value in values {
        list.serialize_element(&Number(value))?;
    }
    list.end()
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    Ok(Vec::<Number>::deserialize(deserializer)?.into_iter().map(|n| n.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct List(#[serde(with = "super")] Vec<f32>);

    #[test]
    fn infinities_survive_and_other_words_do_not() {
        let list = List(vec![0.1, 2.0, f32::NEG_INFINITY, f32::INFINITY]);
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(text, r#"[0.1,2.0,"-inf","inf"]"#);
        assert_eq!(serde_json::from_str::<List>(&text).unwrap(), list);
        assert_eq!(serde_json::from_str::<List>("[1,-2]").unwrap(), List(vec![1.0, -2.0]));
        assert!(serde_json::from_str::<List>(r#"["nan"]"#).is_err());
    }
}
