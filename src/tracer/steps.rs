//! Counts what the interpreter does, by its monitoring of jumps and calls: whatever a source repeats, it repeats by one of them.
//!
//! Where the count ends does not depend on the machine. It does not see loops inside a native function over native values
//! (`sum(range(10**12))`, a product of huge integers): what these take is bounded by processor time and memory.

use std::sync::atomic::{AtomicU64, Ordering};

use rustpython_vm::function::FuncArgs;
use rustpython_vm::{PyObjectRef, PyResult, VirtualMachine};

/// One of the six tools that may monitor at a time.
const TOOL: i32 = 5;

/// Calls `end` at the first step beyond `most`, counted from now on. A step is a jump (each round of a loop has one) or a call of a
/// Python function.
pub(crate) fn count(vm: &VirtualMachine, most: u64, end: impl Fn() + Send + Sync + 'static) -> PyResult<()> {
    let monitoring = vm.sys_module.get_attr("monitoring", vm)?;
    let steps = AtomicU64::new(0);
    let step = vm.new_function("step", move |_: FuncArgs, _: &VirtualMachine| {
        // Not an exception: a source would catch it.
        if steps.fetch_add(1, Ordering::Relaxed) >= most {
            end();
        }
    });
    vm.call_method(&monitoring, "use_tool_id", (TOOL, "steps".to_owned()))?;
    let names = monitoring.get_attr("events", vm)?;
    let mut events = 0;
    for name in ["JUMP", "PY_START"] {
        let event: i32 = names.get_attr(name, vm)?.try_into_value(vm)?;
        vm.call_method(&monitoring, "register_callback", (TOOL, event, PyObjectRef::from(step.clone())))?;
        events |= event;
    }
    vm.call_method(&monitoring, "set_events", (TOOL, events))?;
    Ok(())
}
