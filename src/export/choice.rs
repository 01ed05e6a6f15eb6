//! What is chosen by a condition, by index or by size, in ONNX's operators. Truth values and indices are numbers in our graph.

use super::builder::Builder;
use super::proto::{Attribute, FLOAT, INT64};
use crate::tracer::graph::{Comparison, Op};

/// ONNX's number for truth values.
const BOOL: i32 = 9;

/// Adds an operation that chooses; gives the name of its value.
pub(crate) fn operation(b: &mut Builder, op: &Op, inputs: &[&str]) -> String {
    let axis = |dim: usize| Attribute::int("axis", dim as i64);
    let x = inputs[0];
    match op {
        Op::Compare(kind) => {
            let name = match kind {
                Comparison::Lt => "Less",
                Comparison::Le => "LessOrEqual",
                Comparison::Gt => "Greater",
                Comparison::Ge => "GreaterOrEqual",
                Comparison::Eq | Comparison::Ne => "Equal",
            };
            let holds = b.emit(name, inputs, vec![]);
            let holds = if *kind == Comparison::Ne { b.emit("Not", &[&holds], vec![]) } else { holds };
            cast(b, &holds, FLOAT)
        }
        Op::Where => {
            let condition = cast(b, x, BOOL);
            b.emit("Where", &[&condition, inputs[1], inputs[2]], vec![])
        }
        Op::Index { dim } => {
            let index = cast(b, inputs[1], INT64);
            b.emit("Gather", &[x, &index], vec![axis(*dim)])
        }
        Op::Gather { dim } => {
            let index = cast(b, inputs[1], INT64);
            b.emit("GatherElements", &[x, &index], vec![axis(*dim)])
        }
        Op::Scatter { dim, add } => {
            let index = cast(b, inputs[1], INT64);
            let reduction = Attribute::text("reduction", if *add { "add" } else { "none" });
            b.emit("ScatterElements", &[x, &index, inputs[2]], vec![axis(*dim), reduction])
        }
        Op::TopK { k, dim, largest } => {
            let count = b.integers(&[*k as i64]);
            let places = b.emit_second("TopK", &[x, &count], vec![axis(*dim), Attribute::int("largest", i64::from(*largest))]);
            cast(b, &places, FLOAT)
        }
        Op::CumSum { dim } => {
            let dim = b.integer(*dim as i64);
            b.emit("CumSum", &[x, &dim], vec![])
        }
        op => unreachable!("{op:?} chooses nothing"),
    }
}

fn cast(b: &mut Builder, x: &str, to: i32) -> String {
    b.emit("Cast", &[x], vec![Attribute::int("to", i64::from(to))])
}
