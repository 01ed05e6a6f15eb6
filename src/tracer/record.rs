//! The native module `_record` of the sandbox: the `torch` stand-in tells it each operation and gets the shape back.
//!
//! State lives in a thread-local, since the interpreter calls plain functions on the one thread it runs on.

// Native functions of the interpreter take their arguments by value.
#![allow(clippy::needless_pass_by_value)]

use std::cell::RefCell;
use std::collections::HashMap;

use rustpython_vm::builtins::{PyDict, PyFloat, PyInt, PyList, PyStr, PyTuple};
use rustpython_vm::function::ArgIntoFloat;
use rustpython_vm::{AsObject, PyObject, PyObjectRef, PyRef, PyResult, VirtualMachine, builtins::PyModule};
use serde_json::Value;

use super::built::{Built, Traced};
use super::failure::TraceFailure;
use super::graph::{Dim, Graph, Init, Op, Role, TensorSpec};
use super::infer::{infer, is_too_large};
use super::merge::{Recorded, Trace, merge};
use super::modes;

/// File name of the candidate inside the sandbox: lines are reported of frames that run it.
pub(crate) const CANDIDATE: &str = "network.py";
const MOST_NODES: usize = 20_000;
/// Nesting of an operation's attributes; a deeper value is no operation.
const MOST_NESTED: usize = 8;

#[derive(Default)]
struct Recorder {
    nodes: Vec<Recorded>,
    batch: usize,
    finished: Vec<Trace>,
    state: Vec<TensorSpec>,
    /// Further names of tensors, by the recorder's own numbers.
    aliases: Vec<(String, usize)>,
    position: HashMap<usize, usize>,
    too_large: bool,
    built: Built,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// The graph of the passes that ran, or why there is none.
pub(crate) fn finish() -> Result<Traced, TraceFailure> {
    RECORDER.with_borrow_mut(|r| {
        let tensors = std::mem::take(&mut r.state);
        let aliases = r.aliases.iter().filter_map(|(name, t)| Some((name.clone(), *r.position.get(t)?))).collect();
        let merged = |a: &Trace, b: &Trace| merge(a, b, tensors.clone(), |t| r.position.get(&t).copied());
        let graph = match r.finished.as_slice() {
            [a, b, c] if modes::is_alike(a, c) => merged(a, b)?,
            [a, b, c, d] => modes::join(&merged(a, b)?, &merged(c, d)?),
            passes => return Err(TraceFailure::Tampered { reason: format!("{} passes instead of 3 or 4", passes.len()) }),
        };
        Ok(Traced { graph: Graph { aliases, ..graph }, built: std::mem::take(&mut r.built) })
    })
}

/// Whether the source ran into the bound on operations or on a tensor's size.
pub(crate) fn too_large() -> bool {
    RECORDER.with_borrow(|r| r.too_large)
}

pub(crate) fn module(vm: &VirtualMachine) -> PyResult<PyRef<PyModule>> {
    let module = vm.new_module("_record", vm.ctx.new_dict(), None);
    let dict = module.dict();
    dict.set_item("node", vm.new_function("node", node).into(), vm)?;
    dict.set_item("begin", vm.new_function("begin", begin).into(), vm)?;
    dict.set_item("end", vm.new_function("end", end).into(), vm)?;
    dict.set_item("state", vm.new_function("state", state).into(), vm)?;
    dict.set_item("built", vm.new_function("built", built).into(), vm)?;
    Ok(module)
}

/// `begin(shape)`: forgets the operations of an unfinished pass; node 0 is an input of this shape.
fn begin(shape: PyObjectRef, vm: &VirtualMachine) -> PyResult<()> {
    let shape: Vec<Dim> = from_python(&shape, vm)?;
    let Some(Dim::Fixed(batch)) = shape.first().copied() else { return Err(vm.new_value_error("a shape without a batch")) };
    RECORDER.with_borrow_mut(|r| {
        r.batch = batch;
        r.nodes = vec![Recorded { op: Op::Input, inputs: vec![], tensors: vec![], shape, module: String::new(), line: 0 }];
    });
    Ok(())
}

/// `node(op, inputs, tensors, module) -> (id, extent, extent, ..)`; `tensors` are pairs of a number and a shape.
fn node(op: PyObjectRef, inputs: PyObjectRef, tensors: PyObjectRef, module: PyObjectRef, vm: &VirtualMachine) -> PyResult {
    let op: Op = from_python(&op, vm)?;
    let inputs: Vec<usize> = from_python(&inputs, vm)?;
    let tensors: Vec<(usize, Vec<usize>)> = from_python(&tensors, vm)?;
    let module: String = from_python(&module, vm)?;
    let line = line(vm);
    let given = RECORDER.with_borrow_mut(|r| {
        if r.nodes.len() >= MOST_NODES {
            r.too_large = true;
            return Err(format!("more than {MOST_NODES} operations"));
        }
        let shapes =
            inputs.iter().map(|&i| r.nodes.get(i).map(|n| n.shape.as_slice()).ok_or("no such operation")).collect::<Result<Vec<_>, _>>()?;
        let specs: Vec<TensorSpec> = tensors.iter().map(|(_, shape)| placeholder(shape.clone())).collect();
        let shape = infer(&op, &shapes, &specs.iter().collect::<Vec<_>>());
        r.too_large |= shape.as_ref().is_err_and(|e| is_too_large(e));
        let shape = shape?;
        let tensors = tensors.into_iter().map(|(number, _)| number).collect();
        r.nodes.push(Recorded { op, inputs, tensors, shape: shape.clone(), module, line });
        Ok((r.nodes.len() - 1, shape))
    });
    let (id, shape) = given.map_err(|message| vm.new_runtime_error(message))?;
    let numbers = std::iter::once(id).chain(shape.iter().map(|d| d.at(1)));
    Ok(vm.ctx.new_tuple(numbers.map(|n| vm.ctx.new_int(n).into()).collect()).into())
}

/// `end(output)`: the pass is complete. Whether it did what the first one did, but for dropout.
fn end(output: usize, _vm: &VirtualMachine) -> bool {
    RECORDER.with_borrow_mut(|r| {
        let nodes = std::mem::take(&mut r.nodes);
        r.finished.push(Trace { batch: r.batch, nodes, output });
        modes::is_alike(&r.finished[0], &r.finished[r.finished.len() - 1])
    })
}

/// `state([(number, name, shape, role, init), ..], [(name, number), ..])`: the state dict, in order, and further names in it.
fn state(tensors: PyObjectRef, aliases: PyObjectRef, vm: &VirtualMachine) -> PyResult<()> {
    let tensors: Vec<(usize, String, Vec<usize>, Role, Init)> = from_python(&tensors, vm)?;
    let aliases = from_python(&aliases, vm)?;
    RECORDER.with_borrow_mut(|r| {
        r.aliases = aliases;
        r.position = tensors.iter().enumerate().map(|(i, t)| (t.0, i)).collect();
        r.state = tensors.into_iter().map(|(_, name, shape, role, init)| TensorSpec { name, shape, role, init }).collect();
    });
    Ok(())
}

/// `built(entry, [(name, value), ..])`: what is called, and with what.
fn built(entry: PyObjectRef, arguments: PyObjectRef, vm: &VirtualMachine) -> PyResult<()> {
    let built = Built { entry: from_python(&entry, vm)?, arguments: from_python(&arguments, vm)? };
    RECORDER.with_borrow_mut(|r| r.built = built);
    Ok(())
}

fn placeholder(shape: Vec<usize>) -> TensorSpec {
    TensorSpec { name: String::new(), shape, role: Role::Parameter, init: Init::Constant(0.0) }
}

/// The innermost line of the candidate that is running now.
fn line(vm: &VirtualMachine) -> u32 {
    let frames = vm.frames.borrow();
    // SAFETY: every frame on this list is running, so it is alive.
    let innermost = frames.iter().rev().map(|f| unsafe { f.as_ref() }).find(|f| f.code.source_path().as_str() == CANDIDATE);
    innermost.map_or(0, |f| f.f_lineno() as u32)
}

fn from_python<T: serde::de::DeserializeOwned>(object: &PyObject, vm: &VirtualMachine) -> PyResult<T> {
    let value = json(object, MOST_NESTED, vm)?;
    serde_json::from_value(value).map_err(|e| vm.new_type_error(format!("not an argument the tracer can take: {e}")))
}

/// Numbers that are not finite have no JSON, so they end here.
fn json(object: &PyObject, depth: usize, vm: &VirtualMachine) -> PyResult<Value> {
    if depth == 0 {
        return Err(vm.new_value_error("too deep an argument"));
    }
    if vm.is_none(object) {
        return Ok(Value::Null);
    }
    if object.class().is(vm.ctx.types.bool_type) {
        return Ok(Value::Bool(object.to_owned().is_true(vm)?));
    }
    if let Some(int) = object.downcast_ref::<PyInt>() {
        let value: i64 = int.try_to_primitive(vm)?;
        return Ok(value.into());
    }
    if let Some(float) = object.downcast_ref::<PyFloat>() {
        return serde_json::Number::from_f64(float.to_f64())
            .map(Value::Number)
            .ok_or_else(|| vm.new_value_error("a number that is not finite"));
    }
    if let Some(text) = object.downcast_ref::<PyStr>() {
        return Ok(Value::String(text.to_string_lossy().into_owned()));
    }
    if let Some(list) = object.downcast_ref::<PyList>() {
        let items = list.borrow_vec().to_vec();
        return Ok(Value::Array(items.iter().map(|o| json(o, depth - 1, vm)).collect::<PyResult<_>>()?));
    }
    if let Some(tuple) = object.downcast_ref::<PyTuple>() {
        return Ok(Value::Array(tuple.iter().map(|o| json(o, depth - 1, vm)).collect::<PyResult<_>>()?));
    }
    if let Some(dict) = object.downcast_ref::<PyDict>() {
        let mut map = serde_json::Map::new();
        for (key, value) in dict {
            let Some(key) = key.downcast_ref::<PyStr>() else { return Err(vm.new_type_error("a key that is not a string")) };
            map.insert(key.to_string_lossy().into_owned(), json(&value, depth - 1, vm)?);
        }
        return Ok(Value::Object(map));
    }
    Err(vm.new_type_error(format!("expected a number, not {}", object.class().name())))
}

/// The native half of `math`.
pub(crate) fn math(vm: &VirtualMachine) -> PyResult<PyRef<PyModule>> {
    type Function = fn(f64) -> f64;
    let module = vm.new_module("_math", vm.ctx.new_dict(), None);
    let dict = module.dict();
    let functions: [(&'static str, Function); 17] = [
        ("exp", f64::exp),
        ("log", f64::ln),
        ("log2", f64::log2),
        ("log10", f64::log10),
        ("log1p", f64::ln_1p),
        ("expm1", f64::exp_m1),
        ("sqrt", f64::sqrt),
        ("sin", f64::sin),
        ("cos", f64::cos),
        ("tan", f64::tan),
        ("asin", f64::asin),
        ("acos", f64::acos),
        ("atan", f64::atan),
        ("sinh", f64::sinh),
        ("cosh", f64::cosh),
        ("tanh", f64::tanh),
        ("fabs", f64::abs),
    ];
    for (name, function) in functions {
        let call = move |x: ArgIntoFloat, vm: &VirtualMachine| -> PyResult<f64> {
            let x = x.into_float();
            let y = function(x);
            if y.is_finite() || !x.is_finite() { Ok(y) } else { Err(vm.new_value_error("math domain error")) }
        };
        dict.set_item(name, vm.new_function(name, call).into(), vm)?;
    }
    Ok(module)
}
