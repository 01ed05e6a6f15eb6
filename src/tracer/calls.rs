//! The calls of a Python source, found by reading brackets, names and strings: enough to edit arguments in place. Whether an edit meant what
//! it should is for a trace to say.

use std::ops::Range;

/// `path.to.name(argument, ..)`. All ranges are bytes of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// From the first name of the path on. Where something other than a name stands before the last dot, as in `f(x).name(..)`: the name alone.
    pub(crate) path: Range<usize>,
    pub(crate) name: Range<usize>,
    /// Without the white space around them.
    pub(crate) arguments: Vec<Range<usize>>,
    /// Of the brackets.
    pub(crate) open: usize,
    pub(crate) close: usize,
}

impl Call {
    /// Whether it is called as an attribute: `nn.Linear(..)`, not `Linear(..)`.
    pub(crate) fn has_owner(&self, source: &str) -> bool {
        source[..self.name.start].ends_with('.')
    }
}

/// A bracket that is not closed yet.
struct Open {
    at: usize,
    /// Path and name of what is called, if something is.
    called: Option<(usize, Range<usize>)>,
    arguments: Vec<Range<usize>>,
    /// Where the argument after the last comma begins.
    from: usize,
}

/// In the order of their names.
pub(super) fn calls(source: &str) -> Vec<Call> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    // The name read last, with where its path starts, while nothing but blanks came after it.
    let mut last: Option<(usize, Range<usize>)> = None;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at = source[at..].find('\n').map_or(bytes.len(), |n| at + n),
            b'\'' | b'"' => {
                at = after_string(bytes, at);
                last = None;
            }
            b'(' | b'[' | b'{' => {
                let called = last.take().filter(|_| bytes[at] == b'(');
                open.push(Open { at, called, arguments: Vec::new(), from: at + 1 });
                at += 1;
            }
            b',' => {
                if let Some(open) = open.last_mut() {
                    open.arguments.push(trimmed(source, open.from..at));
                    open.from = at + 1;
                }
                last = None;
                at += 1;
            }
            b')' | b']' | b'}' => {
                if let Some(Open { at: opened, called, mut arguments, from }) = open.pop()
                    && let Some((path, name)) = called
                {
                    let rest = trimmed(source, from..at);
                    if !rest.is_empty() {
                        arguments.push(rest);
                    }
                    found.push(Call { path: path..name.end, name, arguments, open: opened, close: at });
                }
                last = None;
                at += 1;
            }
            b' ' | b'\t' => at += 1,
            first if is_of_name(first) => {
                let end = at + bytes[at..].iter().take_while(|b| is_of_name(**b)).count();
                let owner = last.take().filter(|(_, name)| name.end + 1 == at && bytes[name.end] == b'.');
                last = Some((owner.map_or(at, |(path, _)| path), at..end));
                at = end;
            }
            // The next name looks whether this dot joins it to the last one.
            b'.' => at += 1,
            _ => {
                last = None;
                at += 1;
            }
        }
    }
    found.sort_by_key(|call| call.name.start);
    found
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// The end of the string that starts here, or of the source.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let is_long = bytes[start..].starts_with(&[quote; 3]);
    let mark: &[u8] = if is_long { &[quote; 3] } else { &[quote] };
    let mut at = start + mark.len();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\n' if !is_long => return at,
            _ if bytes[at..].starts_with(mark) => return at + mark.len(),
            _ => at += 1,
        }
    }
    bytes.len()
}

fn trimmed(source: &str, range: Range<usize>) -> Range<usize> {
    let text = &source[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..(start + text.trim().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `path(argument|argument)` of each call.
    fn shown(source: &str) -> Vec<String> {
        let text = |range: &Range<usize>| source[range.clone()].to_owned();
        let one = |call: &Call| format!("{}({})", text(&call.path), call.arguments.iter().map(text).collect::<Vec<_>>().join("|"));
        calls(source).iter().map(one).collect()
    }

    #[test]
    fn calls_are_found_with_their_arguments() {
        assert_eq!(shown("a.b(1, c(2), [3, 4], k={'x': (5, 6)},)"), ["a.b(1|c(2)|[3, 4]|k={'x': (5, 6)})", "c(2)"]);
        assert_eq!(shown("torch.nn.Linear (\n    3,\n    4\n)"), ["torch.nn.Linear(3|4)"]);
        assert_eq!(shown("f(x).view(-1, 2)"), ["f(x)", "view(-1|2)"]);
        assert_eq!(shown("f()\ng[0](1)\n(a)(b)"), ["f()"], "what is called must have a name");
    }

    #[test]
    fn strings_and_comments_hold_no_calls_and_no_brackets() {
        assert_eq!(shown("# f(1\ng('h(', \"i)\") # j(\nk('''l(\n\"m(''' , r'\\'')"), ["g('h('|\"i)\")", "k('''l(\n\"m('''|r'\\'')"]);
        assert_eq!(shown("f('open\ng(1)"), ["g(1)"], "a string ends with its line");
    }

    #[test]
    fn what_is_not_python_is_read_to_its_end() {
        for source in ["f(", ")))", "a.b(c,", "'''", "f('\\", "[,]", "é(ü.ö(1))", "f(\u{a0}1)"] {
            let _ = calls(source);
        }
        let deep = "a.b(".repeat(100_000);
        assert!(calls(&deep).is_empty());
        assert_eq!(calls(&(deep + &")".repeat(100_000))).len(), 100_000);
    }
}
