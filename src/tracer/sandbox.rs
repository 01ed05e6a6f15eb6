//! The child process: one source, one interpreter without host access, one answer.
//!
//! Limits are set before the source is looked at: address space, processor time, no files, no core dump; the interpreter counts its
//! steps. Whatever the source does then, the worst it can do is to end this process; the parent ([`super::trace`]) turns that into a
//! reason.

use std::io::{Read, Write};

use rustpython_vm as python;
use rustpython_vm::builtins::{PyBaseExceptionRef, PyDictRef, PyModule, PyStr};
use rustpython_vm::{AsObject, Interpreter, PyObjectRef, PyResult, Settings, VirtualMachine};
use serde::{Deserialize, Serialize};

use super::built::Traced;
use super::failure::TraceFailure;
use super::{names, record, steps};
use crate::base::child;
use crate::base::confine::confine;
use crate::base::error::{Error, Result};

/// What the parent writes to the child's standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) source: String,
    pub(crate) entry: Option<String>,
    /// Names and values, as Python would write them.
    pub(crate) arguments: Vec<(String, String)>,
    pub(crate) input: [usize; 3],
    pub(crate) classes: usize,
    pub(crate) steps: u64,
    pub(crate) cpu_seconds: u64,
    pub(crate) memory_mib: u64,
}

/// The first line of the child's standard output: what comes after it is the source's doing.
pub(crate) const READY: &[u8] = b"ready\n";

/// The second one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Traced(Traced),
    Failure(TraceFailure),
}

/// Deep recursion must end in Python's `RecursionError`, not in a native stack overflow.
const STACK_BYTES: usize = 256 << 20;
const RECURSION_LIMIT: usize = 1000;

/// The stand-in, in the order the files need each other. A dotted name is also an attribute of the module before the dot.
const MODULES: &[(&str, &str)] = &[
    ("_import", include_str!("torch/_import.py")),
    ("math", include_str!("torch/math.py")),
    ("typing", include_str!("torch/typing.py")),
    ("collections", include_str!("torch/collections.py")),
    ("functools", include_str!("torch/functools.py")),
    ("shims", include_str!("torch/shims.py")),
    ("torch", include_str!("torch/torch.py")),
    ("torch._tensor", include_str!("torch/tensor.py")),
    ("torch._shapes", include_str!("torch/shapes.py")),
    ("torch._ops", include_str!("torch/ops.py")),
    ("torch._choice", include_str!("torch/choice.py")),
    ("torch._einsum", include_str!("torch/einsum.py")),
    ("torch.nn", include_str!("torch/nn.py")),
    ("torch.nn.init", include_str!("torch/init.py")),
    ("torch.nn.functional", include_str!("torch/functional.py")),
    ("torch.nn.modules", include_str!("torch/module.py")),
    ("torch._resize", include_str!("torch/resize.py")),
    ("torch._layers", include_str!("torch/layers.py")),
    ("torch._spatial", include_str!("torch/spatial.py")),
    ("torch._recurrent", include_str!("torch/recurrent.py")),
    ("torch._attention", include_str!("torch/attention.py")),
    ("torch._api", include_str!("torch/api.py")),
    ("torch._parametrize", include_str!("torch/parametrize.py")),
    ("torch._losses", include_str!("torch/losses.py")),
    ("torch._inert", include_str!("torch/inert.py")),
    ("torch._attributes", include_str!("torch/attributes.py")),
    ("torch._names", include_str!("torch/names.py")),
    ("torch._function", include_str!("torch/function.py")),
    ("_drive", include_str!("torch/drive.py")),
    ("_known", include_str!("torch/known.py")),
];

/// What a source may import beside, loaded when it does.
const LIBRARY: &[(&str, &str)] = &[
    ("_twister", include_str!("library/_twister.py")),
    ("argparse", include_str!("library/argparse.py")),
    ("contextlib", include_str!("library/contextlib.py")),
    ("dataclasses", include_str!("library/dataclasses.py")),
    ("easydict", include_str!("library/easydict.py")),
    ("einops", include_str!("library/einops.py")),
    ("enum", include_str!("library/enum.py")),
    ("inspect", include_str!("library/inspect.py")),
    ("json", include_str!("library/json.py")),
    ("logging", include_str!("library/logging.py")),
    ("ml_collections", include_str!("library/ml_collections.py")),
    ("numbers", include_str!("library/numbers.py")),
    ("numpy", include_str!("library/numpy.py")),
    ("numpy._elementwise", include_str!("library/numpy_elementwise.py")),
    ("numpy._shapes", include_str!("library/numpy_shapes.py")),
    ("numpy.random", include_str!("library/numpy_random.py")),
    ("operator", include_str!("library/operator.py")),
    ("os", include_str!("library/os.py")),
    ("packaging", include_str!("library/packaging.py")),
    ("pathlib", include_str!("library/pathlib.py")),
    ("random", include_str!("library/random.py")),
    ("time", include_str!("library/time.py")),
    ("timm", include_str!("library/timm.py")),
    ("timm._blocks", include_str!("library/timm_blocks.py")),
    ("timm.layers", include_str!("library/timm_layers.py")),
    ("torch.optim", include_str!("torch/optim.py")),
    ("torchvision", include_str!("library/torchvision.py")),
    ("torchvision._deform", include_str!("library/torchvision_deform.py")),
    ("torchvision.models", include_str!("library/torchvision_models.py")),
    ("torchvision.models._dense", include_str!("library/torchvision_dense.py")),
    ("torchvision.models._mobile", include_str!("library/torchvision_mobile.py")),
    ("tqdm", include_str!("library/tqdm.py")),
    ("types", include_str!("library/types.py")),
    ("typing_extensions", include_str!("library/typing_extensions.py")),
    ("warnings", include_str!("library/warnings.py")),
];

/// Reads a [`Request`] from standard input, answers on standard output.
///
/// # Errors
/// When the request cannot be read or the answer not be written; a failing source is an answer.
pub fn serve() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    limit(&request)?;
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || answer(&request))?;
    let answer = worker.join().unwrap_or_else(|panic| {
        let reason = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Ok(Answer::Failure(TraceFailure::Crash { reason: reason.unwrap_or_else(|| "panic".to_owned()) }))
    });
    end(&answer?)
}

/// Answers, and ends the process whatever it is at.
fn end(answer: &Answer) -> ! {
    let written = serde_json::to_vec(answer).map(|mut line| {
        line.push(b'\n');
        std::io::stdout().lock().write_all(&line)
    });
    // Destructors of a hostile heap are none of our business.
    std::process::exit(i32::from(!matches!(written, Ok(Ok(())))))
}

fn limit(request: &Request) -> Result<()> {
    // From the signal that says so to the kill that cannot be told from others'.
    const GRACE_SECONDS: u64 = 5;
    // What is mapped already (the program, the allocator's reserve) comes on top.
    let mapped = child::addresses().unwrap_or(0);
    let memory = request.memory_mib.saturating_mul(1 << 20).saturating_add(mapped + STACK_BYTES as u64);
    child::limit(libc::RLIMIT_AS, memory, Some(memory))?;
    child::limit(libc::RLIMIT_CPU, request.cpu_seconds, Some(request.cpu_seconds.saturating_add(GRACE_SECONDS)))?;
    child::limit(libc::RLIMIT_FSIZE, 0, Some(0))?;
    child::limit(libc::RLIMIT_CORE, 0, Some(0))?;
    // It opens a file of its own, and afterwards nothing can be looked up in /proc.
    confine(&[]).map_err(|e| Error::machine("a sandbox cannot be confined").caused_by(e))?;
    Ok(child::limit(libc::RLIMIT_NOFILE, 3, Some(3))?)
}

fn interpreter() -> Interpreter {
    let mut settings = Settings::default();
    // The order of sets must not change from run to run.
    settings.hash_seed = Some(0);
    settings.install_signal_handlers = false;
    settings.import_site = false;
    Interpreter::with_init(settings, |vm| {
        let state = python::common::rc::PyRc::get_mut(&mut vm.state).expect("nobody else has the state yet");
        state.module_defs.retain(|name, _| BEGINNING.contains(name));
    })
}

/// What a source may use, a line a module: read off the stand-in itself.
///
/// # Errors
/// The stand-in does not load.
pub fn operations() -> Result<String> {
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        interpreter().enter(|vm| {
            let known = || -> PyResult<String> {
                load(vm)?;
                let list = vm.sys_module.get_attr("modules", vm)?.get_item("_known", vm)?.get_attr("operations", vm)?;
                Ok(text(vm, &list.call((), vm)?).unwrap_or_default())
            };
            known().map_err(|e| Error::machine(format!("the interpreter does not start: {}", failure(vm, &e))))
        })
    })?;
    worker.join().unwrap_or_else(|_| Err(Error::machine("the interpreter does not start")))
}

fn answer(request: &Request) -> Result<Answer> {
    let interpreter = interpreter();
    let answer = interpreter.enter(|vm| {
        vm.recursion_limit.set(RECURSION_LIMIT);
        let most = request.steps;
        // The count first: it begins with what is then barred.
        let begun = load(vm)
            .and_then(|()| steps::count(vm, most, move || end(&Answer::Failure(TraceFailure::Steps { most }))))
            .and_then(|()| bar(vm));
        begun.map_err(|e| Error::machine(format!("the interpreter does not start: {}", failure(vm, &e))))?;
        // From here on it is the source that counts.
        std::io::stdout().lock().write_all(READY)?;
        Ok(match run(vm, request).and_then(|()| record::finish()) {
            Ok(traced) => Answer::Traced(traced),
            Err(failure) => Answer::Failure(with_names(vm, &request.source, failure)),
        })
    });
    std::mem::forget(interpreter);
    answer
}

/// Built-in modules that the interpreter begins with and the stand-in is made of. The others (clocks, code objects, the collector) are not in
/// it.
const BEGINNING: [&str; 15] = [
    "_abc",
    "_ast",
    "_codecs",
    "_collections",
    "_functools",
    "_imp",
    "_io",
    "_operator",
    "_sre",
    "_thread",
    "_types",
    "_typing",
    "_warnings",
    "_weakref",
    "itertools",
];
/// Those of them that nothing needs once all is loaded: they are emptied, so that whoever finds one finds nothing in it.
const EMPTIED: [&str; 8] =
    ["_imp", "_io", "_thread", "_ast", "_warnings", "_frozen_importlib", "_frozen_importlib_external", "importlib._bootstrap"];
/// What of `sys` says something and does nothing.
const OF_SYS: [&str; 16] = [
    "modules",
    "maxsize",
    "maxunicode",
    "version",
    "version_info",
    "hexversion",
    "implementation",
    "flags",
    "byteorder",
    "float_info",
    "int_info",
    "hash_info",
    "platform",
    "unraisablehook",
    "__name__",
    "warnoptions",
];

/// Takes what the interpreter was begun with out of reach, however a source gets to it.
fn bar(vm: &VirtualMachine) -> PyResult<()> {
    let keys = |dict: &PyDictRef| dict.clone().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let modules = vm.sys_module.get_attr("modules", vm)?;
    for name in EMPTIED {
        let Ok(module) = modules.get_item(name, vm) else { continue };
        if let Some(dict) = module.dict() {
            keys(&dict).into_iter().try_for_each(|key| dict.del_item(&*key, vm))?;
        }
        modules.del_item(name, vm)?;
    }
    if let Some(dict) = vm.sys_module.as_object().dict() {
        for key in keys(&dict) {
            if !text(vm, &key).is_some_and(|name| OF_SYS.contains(&name.as_str())) {
                dict.del_item(&*key, vm)?;
            }
        }
    }
    Ok(())
}

fn load(vm: &VirtualMachine) -> PyResult<()> {
    let modules = vm.sys_module.get_attr("modules", vm)?;
    modules.set_item("_record", record::module(vm)?.into(), vm)?;
    modules.set_item("_math", record::math(vm)?.into(), vm)?;
    modules.set_item("_library", library(vm)?.into(), vm)?;
    MODULES.iter().try_for_each(|(name, source)| define(vm, name, source).map(drop))
}

/// Compiles and runs a file of the stand-in; a dotted name is also an attribute of the module before the dot.
fn define(vm: &VirtualMachine, name: &str, source: &str) -> PyResult<PyObjectRef> {
    let modules = vm.sys_module.get_attr("modules", vm)?;
    let code = vm.compile(source, python::compiler::Mode::Exec, format!("<{name}>")).map_err(|e| vm.new_syntax_error(&e, Some(source)))?;
    let dict = vm.ctx.new_dict();
    let module: PyObjectRef = vm.new_module(name, dict.clone(), None).into();
    modules.set_item(name, module.clone(), vm)?;
    if let Some((parent, child)) = name.rsplit_once('.') {
        modules.get_item(parent, vm)?.set_attr(vm.ctx.intern_str(child), module.clone(), vm)?;
    }
    vm.run_code_obj(code, python::scope::Scope::with_builtins(None, dict, vm))?;
    Ok(module)
}

/// The native module `_library`: `names` of what is loaded on its first import, and `load(name)`.
fn library(vm: &VirtualMachine) -> PyResult<python::PyRef<PyModule>> {
    let module = vm.new_module("_library", vm.ctx.new_dict(), None);
    let names = LIBRARY.iter().map(|(name, _)| vm.ctx.new_str(*name).into()).collect();
    module.dict().set_item("names", vm.ctx.new_tuple(names).into(), vm)?;
    let load = |name: String, vm: &VirtualMachine| -> PyResult {
        let source = LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, source)| *source);
        define(vm, &name, source.ok_or_else(|| vm.new_value_error(format!("no library {name}")))?)
    };
    module.dict().set_item("load", vm.new_function("load", load).into(), vm)?;
    Ok(module)
}

fn run(vm: &VirtualMachine, request: &Request) -> Result<(), TraceFailure> {
    let code = vm.compile(&request.source, python::compiler::Mode::Exec, record::CANDIDATE.to_owned()).map_err(|e| {
        let line = e.python_location().0 as u32;
        TraceFailure::Syntax { line: (line > 0).then_some(line), message: e.to_string() }
    })?;
    let drive = || -> PyResult<()> {
        let globals = vm.ctx.new_dict();
        let itself = vm.new_module("network", globals.clone(), None);
        let modules = vm.sys_module.get_attr("modules", vm)?;
        modules.get_item("shims", vm)?.get_attr("candidate", vm)?.call((itself,), vm)?;
        let guarded = names::guarded(&request.source).into_iter().map(|name| vm.ctx.new_str(name).into()).collect();
        modules.get_item("_import", vm)?.set_attr("guarded", vm.ctx.new_tuple(guarded), vm)?;
        vm.run_code_obj(code, python::scope::Scope::with_builtins(None, globals.clone(), vm))?;
        let drive = modules.get_item("_drive", vm)?.get_attr("run", vm)?;
        let entry: PyObjectRef = request.entry.as_ref().map_or_else(|| vm.ctx.none(), |e| vm.ctx.new_str(e.as_str()).into());
        let input = vm.ctx.new_tuple(request.input.iter().map(|&n| vm.ctx.new_int(n).into()).collect());
        let arguments = vm.ctx.new_dict();
        for (name, value) in &request.arguments {
            arguments.set_item(name.as_str(), vm.ctx.new_str(value.as_str()).into(), vm)?;
        }
        drive.call((globals, entry, input, request.classes, arguments), vm)?;
        Ok(())
    };
    drive().map_err(|e| failure(vm, &e))
}

/// An unknown name with the others of the source; where it is a base class, with the line of the class.
fn with_names(vm: &VirtualMachine, source: &str, failure: TraceFailure) -> TraceFailure {
    let TraceFailure::Unsupported { name, mut line, .. } = failure else { return failure };
    let unknown = |path: &str| -> PyResult<Option<String>> {
        let ask = vm.sys_module.get_attr("modules", vm)?.get_item("_import", vm)?.get_attr("unknown", vm)?;
        Ok(text(vm, &ask.call((path,), vm)?))
    };
    let mut also: Vec<(String, u32)> = Vec::new();
    for used in names::uses(source) {
        let Ok(Some(found)) = unknown(&used.path) else { continue };
        if found == name {
            if used.class_end.is_some_and(|end| line.is_some_and(|l| (used.line..=end).contains(&l))) {
                line = Some(used.line);
            }
        } else if !also.iter().any(|(known, _)| *known == found) {
            also.push((found, used.line));
        }
    }
    TraceFailure::Unsupported { name, line, also }
}

/// What an exception means. The stand-in's own exceptions carry their parts as arguments.
fn failure(vm: &VirtualMachine, exception: &PyBaseExceptionRef) -> TraceFailure {
    let mut line = None;
    let mut traceback = exception.__traceback__();
    while let Some(entry) = traceback {
        if entry.frame.code.source_path().as_str() == record::CANDIDATE {
            line = Some(entry.lineno.get() as u32);
        }
        let next = entry.next.lock().clone();
        traceback = next;
    }
    let argument = |i: usize| exception.get_arg(i).and_then(|o| text(vm, &o)).unwrap_or_default();
    let kind = exception.class().name().to_string();
    let own = exception.class().as_object().get_attr("__module__", vm).ok().and_then(|o| text(vm, &o)).is_some_and(|m| m == "_import");
    if record::too_large() {
        return TraceFailure::TooLarge { what: argument(0) };
    }
    match (own, kind.as_str()) {
        (true, "Unsupported") => TraceFailure::Unsupported { name: argument(0), line, also: Vec::new() },
        (true, "Arguments") => {
            let names = argument(1).split(' ').map(str::to_owned).collect();
            TraceFailure::Arguments { entry: argument(0), names, line: argument(2).parse().ok() }
        }
        (true, "DataDependent") => TraceFailure::DataDependent { reason: argument(0), line },
        (true, "NoNetwork") => TraceFailure::NoNetwork { wanted: exception.get_arg(0).and_then(|o| text(vm, &o)) },
        (true, "WrongOutput") => TraceFailure::WrongOutput { found: argument(0), expected: argument(1) },
        (_, "MemoryError") => TraceFailure::Memory { mib: 0 },
        _ => TraceFailure::Python { kind, message: argument(0).chars().take(500).collect(), line },
    }
}

/// Only real strings (and the text of numbers): no method of the source runs here.
fn text(vm: &VirtualMachine, object: &PyObjectRef) -> Option<String> {
    if let Some(text) = object.downcast_ref::<PyStr>() {
        return Some(text.to_string_lossy().into_owned());
    }
    if vm.is_none(object) {
        return None;
    }
    let plain = object.class().is(vm.ctx.types.int_type) || object.class().is(vm.ctx.types.float_type);
    plain.then(|| object.str(vm).ok().map(|s| s.to_string_lossy().into_owned())).flatten()
}
