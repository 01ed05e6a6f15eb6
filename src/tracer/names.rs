//! The names of other modules that a source uses, read off its syntax: so that all it lacks is said at once, with the lines.

use std::collections::HashMap;

use rustpython_vm::compiler::ast::visitor::{Visitor, walk_expr, walk_stmt};
use rustpython_vm::compiler::ast::{ExceptHandler, Expr, Stmt};
use rustpython_vm::compiler::parser::parse_module;

/// A dotted name and the line of its first use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) path: String,
    pub(crate) line: u32,
    /// Where the name is a base class: the last line of that class.
    pub(crate) class_end: Option<u32>,
}

/// Every use of an imported name, in the order of the lines. Annotations do not count, nor what runs only as a program.
#[must_use]
pub(crate) fn uses(source: &str) -> Vec<Use> {
    let Ok(parsed) = parse_module(source) else { return Vec::new() };
    let body = &parsed.syntax().body;
    let mut imports = Imports::default();
    imports.visit_body(body);
    let mut scan = Scan { source, imported: imports.0, found: Vec::new() };
    scan.visit_body(body);
    scan.found.sort_by_key(|one| one.line);
    scan.found
}

/// The modules that a source can do without: imported in a `try` that catches their absence.
#[must_use]
pub(crate) fn guarded(source: &str) -> Vec<String> {
    let Ok(parsed) = parse_module(source) else { return Vec::new() };
    let mut guarded = Guarded { depth: 0, found: Vec::new() };
    guarded.visit_body(&parsed.syntax().body);
    guarded.found
}

struct Guarded {
    depth: usize,
    found: Vec<String>,
}

impl<'a> Visitor<'a> for Guarded {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Try(attempt) if attempt.handlers.iter().any(catches_absence) => {
                self.depth += 1;
                self.visit_body(&attempt.body);
                self.depth -= 1;
                attempt.handlers.iter().for_each(|handler| self.visit_except_handler(handler));
                self.visit_body(&attempt.orelse);
                self.visit_body(&attempt.finalbody);
            }
            Stmt::Import(import) if self.depth > 0 => self.found.extend(import.names.iter().map(|alias| alias.name.to_string())),
            Stmt::ImportFrom(import) if self.depth > 0 => {
                let module = import.module.as_ref().map(ToString::to_string).unwrap_or_default();
                self.found.push(".".repeat(import.level as usize) + &module);
            }
            _ => walk_stmt(self, stmt),
        }
    }
}

fn catches_absence(handler: &ExceptHandler) -> bool {
    const CAUGHT: [&str; 4] = ["ImportError", "ModuleNotFoundError", "Exception", "BaseException"];
    let named = |expr: &Expr| matches!(expr, Expr::Name(name) if CAUGHT.contains(&name.id.as_str()));
    let ExceptHandler::ExceptHandler(handler) = handler;
    match handler.type_.as_deref() {
        None => true,
        Some(Expr::Tuple(kinds)) => kinds.elts.iter().any(named),
        Some(kind) => named(kind),
    }
}

/// Local names, and what they stand for.
#[derive(Default)]
struct Imports(HashMap<String, String>);

impl<'a> Visitor<'a> for Imports {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Import(import) => {
                for alias in &import.names {
                    let name = alias.name.to_string();
                    let first = name.split('.').next().unwrap_or_default().to_owned();
                    match &alias.asname {
                        Some(local) => self.0.insert(local.to_string(), name),
                        None => self.0.insert(first.clone(), first),
                    };
                }
            }
            Stmt::ImportFrom(import) => {
                let dots = ".".repeat(import.level as usize);
                let module = import.module.as_ref().map(ToString::to_string).unwrap_or_default();
                for alias in &import.names {
                    let path = if module.is_empty() { format!("{dots}{}", alias.name) } else { format!("{dots}{module}.{}", alias.name) };
                    let local = alias.asname.as_ref().unwrap_or(&alias.name).to_string();
                    self.0.insert(local, path);
                }
            }
            _ => walk_stmt(self, stmt),
        }
    }
}

struct Scan<'s> {
    source: &'s str,
    imported: HashMap<String, String>,
    found: Vec<Use>,
}

impl Scan<'_> {
    fn line(&self, at: usize) -> u32 {
        self.source.as_bytes()[..at.min(self.source.len())].split(|&b| b == b'\n').count() as u32
    }

    /// `a.b.c` where `a` is imported.
    fn path(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Name(name) => self.imported.get(name.id.as_str()).cloned(),
            Expr::Attribute(attribute) => Some(format!("{}.{}", self.path(&attribute.value)?, attribute.attr)),
            _ => None,
        }
    }

    fn note(&mut self, path: String, at: usize, class_end: Option<u32>) {
        let line = self.line(at);
        if !self.found.iter().any(|known| known.path == path && class_end.is_none()) {
            self.found.push(Use { path, line, class_end });
        }
    }
}

impl<'a> Visitor<'a> for Scan<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::ClassDef(class) => {
                let end = self.line(class.range.end().into());
                let bases = class.arguments.iter().flat_map(|arguments| arguments.args.iter());
                let bases: Vec<String> = bases.filter_map(|base| self.path(base)).collect();
                for path in bases {
                    self.note(path, class.name.range.start().into(), Some(end));
                }
                walk_stmt(self, stmt);
            }
            Stmt::If(branch) if is_main(&branch.test) => {}
            _ => walk_stmt(self, stmt),
        }
    }

    fn visit_annotation(&mut self, _: &'a Expr) {}

    fn visit_expr(&mut self, expr: &'a Expr) {
        match self.path(expr) {
            Some(path) => {
                let at = match expr {
                    Expr::Attribute(attribute) => attribute.range.start(),
                    Expr::Name(name) => name.range.start(),
                    _ => return,
                };
                self.note(path, at.into(), None);
            }
            None => walk_expr(self, expr),
        }
    }
}

/// `__name__ == "__main__"`.
fn is_main(test: &Expr) -> bool {
    matches!(test, Expr::Compare(compare) if matches!(&*compare.left, Expr::Name(name) if name.id.as_str() == "__name__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_guarded_in_a_try_that_catches_their_absence() {
        let source = "import a\ntry:\n    import b.c as d\n    from .e import f\nexcept ImportError:\n    import g\ntry:\n    import h\nexcept KeyError:\n    pass\n";
        assert_eq!(guarded(source), ["b.c", ".e"]);
    }

    #[test]
    fn names_are_those_of_what_was_imported_with_their_lines() {
        let source = "import torch.nn as nn\nimport torch\nfrom a.b import c as d, e\nfrom . import f\n\n\nclass X(torch.autograd.Function):\n    \
                      y: e = nn.Conv3d(3)\n    z = d.g(f)\n\n\nif __name__ == '__main__':\n    e()\n";
        let found: Vec<(String, u32, Option<u32>)> = uses(source).into_iter().map(|u| (u.path, u.line, u.class_end)).collect();
        let expected = [("torch.autograd.Function", 7, Some(9)), ("torch.nn.Conv3d", 8, None), ("a.b.c.g", 9, None), (".f", 9, None)];
        for (path, line, end) in expected {
            assert!(found.contains(&(path.to_owned(), line, end)), "{path} in {found:?}");
        }
        assert!(!found.iter().any(|(path, ..)| path.starts_with("a.b.e")), "{found:?}");
    }
}
