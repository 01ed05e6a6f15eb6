//! One line of a network's source: a statement, or the part of one that a line can be.
//!
//! A byte at a time: words, numbers, strings and operators in the order in which Python takes them, brackets closed by their kind,
//! keywords where they may stand, keyword arguments only in calls, assignments only to names, attributes and items, and after
//! `nn.` and `F.` only what there is. Not read: lambda, `yield`, decorators, annotations of variables, hexadecimal numbers,
//! prefixes of strings, backslashes and semicolons between statements, strings over several lines.
//!
//! A line that a delta gives may be part of a statement whose rest the parent holds. So it may start with closing brackets, and
//! end inside brackets where an argument starts or ends; a whole source goes on inside its brackets.

use super::names::{Module, Prefix};
use super::token::{Number, Word, is_letter};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Python {
    mode: Mode,
    expect: Expect,
    statement: Statement,
    /// What the operand just read is.
    operand: Operand,
    /// Two bits a bracket, the innermost lowest.
    brackets: u64,
    depth: u8,
    line: Line,
}

/// What a line is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    /// A source that is read from its start.
    Whole,
    /// A source that is read from its start, in which the line is new: inside brackets it ends where an item starts or ends.
    Given,
    /// The same, of a source whose earlier lines are not known.
    Alone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mode {
    Between,
    Word(Word),
    Number(Number),
    Text {
        quote: u8,
        escaped: bool,
    },
    /// A string has just ended; another may follow it directly.
    Quoted,
    /// An operator that its next byte may lengthen, or must (by `=`).
    Operator {
        first: u8,
        must: bool,
    },
    /// `import` and `from` take words, dots, commas and stars.
    Import,
    Comment,
    CarriageReturn,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Expect {
    /// The first word of a statement.
    Statement,
    /// The first word of a statement that opens a block.
    Header,
    /// `fresh`: an argument or item starts here, so stars and keywords may, and a bracket may close.
    Operand {
        fresh: bool,
    },
    /// An argument or item that does not start with `self`.
    Item,
    Operator,
    /// A name, after a dot or `def`; of a module if given.
    Name(Option<Module>),
    /// `in`, after `not`.
    In,
    Colon,
    /// Nothing but the line's end.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Statement {
    /// An expression, or what an `=` has not yet followed.
    Plain,
    Assignment,
    /// `return` and the like, and `x += 1`: no `=` follows.
    Other,
    /// Ends in a colon.
    Compound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operand {
    /// A name that starts an argument or a statement, so that `=` may follow.
    Argument,
    /// An attribute or item.
    Target,
    Value,
    /// `nn` or `F`: what follows its dot is known.
    Module(Module),
    /// A bracket of an earlier line, closed.
    Closed,
    /// The colon of a slice, which may have nothing after it.
    Slice,
}

const ROUND: u64 = 0;
const SQUARE: u64 = 1;
const CURLY: u64 = 2;
const DEEPEST: u8 = 24;

/// Those that stand after an operand; `for` only inside brackets, `as` only before a colon.
const BETWEEN: [&str; 9] = ["and", "as", "else", "for", "if", "in", "is", "not", "or"];

/// First words of the statements that open a block.
const HEADERS: [&str; 11] = ["class", "def", "elif", "else", "except", "finally", "for", "if", "try", "while", "with"];

impl Python {
    /// At the start of a line.
    pub(crate) fn new(line: Line) -> Self {
        Self {
            mode: Mode::Between,
            expect: Expect::Statement,
            statement: Statement::Plain,
            operand: Operand::Value,
            brackets: 0,
            depth: 0,
            line,
        }
    }

    /// The same start of a statement, which has to open a block.
    pub(crate) fn header(self) -> Self {
        Self { expect: Expect::Header, ..self }
    }

    /// The same start of an item, which is not one of `self`; unchanged where no item starts.
    pub(crate) fn item(self) -> Self {
        if self.expect == (Expect::Operand { fresh: true }) { Self { expect: Expect::Item, ..self } } else { self }
    }

    /// The same place in a line that a delta gives.
    pub(crate) fn given(self) -> Self {
        Self { line: Line::Given, ..self }
    }

    pub(crate) fn is_inside_brackets(self) -> bool {
        self.depth > 0
    }

    /// Whether a source that goes on from `other` goes on from here too; `closes` says that it does so with a closing bracket, for
    /// which it is all one whether a comma is before it.
    pub(crate) fn stands_for(self, other: Self, closes: bool) -> bool {
        let comma = closes && self.expect == Expect::Operand { fresh: true } && other.expect == Expect::Operator;
        let item = self.depth == 0 || self.expect == other.expect || comma;
        let is_header = |python: Self| python.statement == Statement::Compound;
        self.depth == other.depth && self.brackets == other.brackets && item && is_header(self) == is_header(other)
    }

    /// `byte` is not a line feed.
    pub(crate) fn step(self, byte: u8) -> Option<Self> {
        match self.mode {
            Mode::Between => self.begin(byte),
            Mode::Comment => Some(self),
            Mode::CarriageReturn => None,
            Mode::Text { quote, escaped: false } if byte == quote => Some(self.at(Mode::Quoted)),
            Mode::Text { quote, escaped } => Some(self.at(Mode::Text { quote, escaped: !escaped && byte == b'\\' })),
            Mode::Quoted if matches!(byte, b'\'' | b'"') => Some(self.at(Mode::Text { quote: byte, escaped: false })),
            Mode::Import if is_letter(byte) || byte.is_ascii_digit() || b".,* ".contains(&byte) => Some(self),
            Mode::Word(word) if is_letter(byte) || byte.is_ascii_digit() => {
                let word = word.with(byte)?;
                let fits = match self.expect {
                    Expect::Operator => self.goes_on_with(word),
                    Expect::In => word.starts(&["in"]),
                    Expect::Header => word.starts(&HEADERS),
                    _ => true,
                };
                fits.then_some(self.at(Mode::Word(word)))
            }
            Mode::Word(word) => self.end_word(word)?.step(byte),
            Mode::Number(number) => match number.step(byte) {
                Some(number) => Some(self.at(Mode::Number(number))),
                None if number.is_whole() && !is_letter(byte) && byte != b'.' => self.begin(byte),
                None => None,
            },
            Mode::Operator { first, must } => match (first, byte) {
                (b'=' | b'<' | b'>' | b'!', b'=') => Some(self.at(Mode::Between)),
                // `x += 1`
                (_, b'=') if self.depth == 0 && self.statement == Statement::Plain && self.operand != Operand::Value => {
                    Some(Self { statement: Statement::Other, ..self.at(Mode::Between) })
                }
                _ if must => None,
                (b'*' | b'/' | b'<' | b'>', _) if byte == first => Some(self.at(Mode::Between)),
                (b'-', b'>') if self.depth == 0 && self.statement == Statement::Compound => Some(self.at(Mode::Between)),
                (b'=', _) if self.depth == 0 => Self { statement: Statement::Assignment, ..self }.begin(byte),
                _ => self.begin(byte),
            },
            Mode::Quoted | Mode::Import => self.begin(byte),
        }
    }

    /// Whether a keyword that may stand after an operand here starts with `word`.
    fn goes_on_with(self, word: Word) -> bool {
        BETWEEN.iter().any(|keyword| {
            let fits = match *keyword {
                "for" => self.depth > 0,
                "as" => self.statement == Statement::Compound,
                _ => true,
            };
            fits && word.starts(&[keyword])
        })
    }

    fn at(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    fn then(self, mode: Mode, expect: Expect) -> Self {
        Self { mode, expect, ..self }
    }

    /// A byte that nothing before it takes.
    fn begin(self, byte: u8) -> Option<Self> {
        match byte {
            b' ' if !matches!(self.mode, Mode::Import) => return Some(self.at(Mode::Between)),
            // Nothing but the line's end can follow these.
            b'#' => return self.may_end().then(|| self.at(Mode::Comment)),
            b'\r' => return self.may_end().then(|| self.at(Mode::CarriageReturn)),
            _ => {}
        }
        let fresh = matches!(self.expect, Expect::Operand { fresh: true } | Expect::Statement);
        match self.expect {
            Expect::End => None,
            Expect::In => (byte == b'i').then(|| self.at(Mode::Word(Word::new(byte)))),
            Expect::Item if is_letter(byte) => Some(self.at(Mode::Word(Word::new(byte)))),
            Expect::Item => self.then(self.mode, Expect::Operand { fresh: true }).begin(byte),
            Expect::Header => Word::new(byte).starts(&HEADERS).then(|| self.at(Mode::Word(Word::new(byte)))),
            Expect::Colon => (byte == b':').then(|| self.then(Mode::Between, Expect::End)),
            Expect::Name(_) if !is_letter(byte) => None,
            Expect::Name(None) => Some(self.at(Mode::Word(Word::new(byte)))),
            Expect::Name(Some(module)) => Some(self.at(Mode::Word(Word::Listed(Prefix::new(module).with(byte)?)))),
            Expect::Statement | Expect::Operand { .. } => match byte {
                b'0'..=b'9' => Some(self.literal(Mode::Number(Number::Whole))),
                b'.' => Some(self.literal(Mode::Number(Number::Dot))),
                b'\'' | b'"' => Some(self.literal(Mode::Text { quote: byte, escaped: false })),
                b'-' | b'+' | b'~' => Some(self.then(Mode::Between, Expect::Operand { fresh: false })),
                // `f(*x, **y)`: the second star is taken where the first lengthens.
                b'*' if fresh && self.depth > 0 => {
                    Some(self.then(Mode::Operator { first: byte, must: false }, Expect::Operand { fresh: false }))
                }
                b'(' | b'[' | b'{' => self.open(byte),
                b')' | b']' | b'}' if fresh => self.close(byte),
                b':' if fresh => self.colon(),
                b',' if self.operand == Operand::Slice => {
                    Some(Self { operand: Operand::Value, ..self.then(Mode::Between, Expect::Operand { fresh: true }) })
                }
                _ => is_letter(byte).then(|| self.at(Mode::Word(Word::new(byte)))),
            },
            Expect::Operator => match byte {
                b'(' | b'[' => self.open(byte),
                b')' | b']' | b'}' => self.close(byte),
                b':' => self.colon(),
                b'.' => {
                    let module = if let Operand::Module(module) = self.operand { Some(module) } else { None };
                    Some(self.then(Mode::Between, Expect::Name(module)))
                }
                b',' => Some(self.then(Mode::Between, Expect::Operand { fresh: true })),
                b'=' | b'!' => {
                    let assigns = if self.depth > 0 {
                        self.operand == Operand::Argument && self.brackets & 3 == ROUND
                    } else {
                        matches!(self.statement, Statement::Plain | Statement::Assignment)
                            && matches!(self.operand, Operand::Argument | Operand::Target)
                    };
                    Some(self.then(Mode::Operator { first: byte, must: byte == b'!' || !assigns }, Expect::Operand { fresh: false }))
                }
                b'+' | b'-' | b'*' | b'/' | b'%' | b'@' | b'&' | b'|' | b'^' | b'<' | b'>' => {
                    Some(self.then(Mode::Operator { first: byte, must: false }, Expect::Operand { fresh: false }))
                }
                _ => self.goes_on_with(Word::new(byte)).then(|| self.at(Mode::Word(Word::new(byte)))),
            },
        }
    }

    fn literal(self, mode: Mode) -> Self {
        Self { operand: Operand::Value, ..self.then(mode, Expect::Operator) }
    }

    fn open(self, byte: u8) -> Option<Self> {
        let kind = match byte {
            b'(' => ROUND,
            b'[' => SQUARE,
            _ => CURLY,
        };
        let inside = Self { brackets: self.brackets << 2 | kind, depth: self.depth + 1, operand: Operand::Value, ..self };
        (self.depth < DEEPEST).then(|| inside.then(Mode::Between, Expect::Operand { fresh: true }))
    }

    fn close(self, byte: u8) -> Option<Self> {
        if self.depth == 0 {
            // What an earlier line opened is closed before anything else on this one.
            let first = self.line == Line::Alone
                && (self.expect == Expect::Statement || self.operand == Operand::Closed && self.expect == Expect::Operator);
            return first.then(|| Self { operand: Operand::Closed, ..self.then(Mode::Between, Expect::Operator) });
        }
        let kind = match byte {
            b')' => ROUND,
            b']' => SQUARE,
            _ => CURLY,
        };
        let operand = if kind == SQUARE { Operand::Target } else { Operand::Value };
        let outside = Self { brackets: self.brackets >> 2, depth: self.depth - 1, operand, ..self };
        (self.brackets & 3 == kind).then(|| outside.then(Mode::Between, Expect::Operator))
    }

    fn colon(self) -> Option<Self> {
        let compound = self.statement == Statement::Compound;
        if self.depth == 0 {
            return compound.then(|| self.then(Mode::Between, Expect::End));
        }
        // A slice, a dictionary, the annotation of a parameter.
        let operand = if self.brackets & 3 == SQUARE { Operand::Slice } else { Operand::Value };
        let inside = Self { operand, ..self.then(Mode::Between, Expect::Operand { fresh: true }) };
        (compound || self.brackets & 3 != ROUND).then_some(inside)
    }

    /// A word is over; what it is depends on where it stands.
    fn end_word(self, word: Word) -> Option<Self> {
        let keyword = word.keyword();
        let operand = Expect::Operand { fresh: false };
        let next = |expect: Expect| Some(self.then(Mode::Between, expect));
        let begins = |statement: Statement, expect: Expect| Some(Self { statement, ..self.then(Mode::Between, expect) });
        match (self.expect, keyword) {
            (Expect::Item, _) if word.is("self") => None,
            (Expect::Item, _) => self.then(self.mode, Expect::Operand { fresh: true }).end_word(word),
            (Expect::Header, _) => HEADERS.contains(&keyword).then(|| Self { expect: Expect::Statement, ..self }.end_word(word))?,
            (Expect::Statement | Expect::Operand { .. }, "None" | "True" | "False") => Some(self.literal(Mode::Between)),
            (Expect::Statement | Expect::Operand { .. }, "not") => next(operand),
            (Expect::Statement | Expect::Operand { .. }, "") => {
                let kind = if word.is("nn") {
                    Operand::Module(Module::Layers)
                } else if word.is("F") {
                    Operand::Module(Module::Functions)
                } else if self.expect == operand {
                    Operand::Value
                } else {
                    Operand::Argument
                };
                Some(Self { operand: kind, ..self.then(Mode::Between, Expect::Operator) })
            }
            (Expect::Statement, "return" | "raise") => begins(Statement::Other, Expect::Operand { fresh: true }),
            (Expect::Statement, "assert" | "del") => begins(Statement::Other, operand),
            (Expect::Statement, "pass" | "break" | "continue") => begins(Statement::Other, Expect::End),
            (Expect::Statement, "def" | "class") => begins(Statement::Compound, Expect::Name(None)),
            (Expect::Statement, "for" | "while" | "with" | "if" | "elif") => begins(Statement::Compound, operand),
            (Expect::Statement, "except") => begins(Statement::Compound, Expect::Operand { fresh: true }),
            (Expect::Statement, "else" | "try" | "finally") => begins(Statement::Compound, Expect::Colon),
            (Expect::Statement, "import" | "from") => Some(Self { statement: Statement::Other, ..self.then(Mode::Import, Expect::End) }),
            (Expect::Operator, "and" | "or" | "in" | "is" | "if" | "else") => next(operand),
            (Expect::Operator, "for") if self.depth > 0 => next(operand),
            (Expect::Operator, "as") if self.statement == Statement::Compound => next(Expect::Name(None)),
            (Expect::Operator, "not") => next(Expect::In),
            (Expect::In, "in") => next(operand),
            (Expect::Name(_), "") => {
                let kind = match word {
                    Word::Listed(prefix) if prefix.whole()? == "functional" => Operand::Module(Module::Functions),
                    _ if word.is("nn") => Operand::Module(Module::Layers),
                    _ => Operand::Target,
                };
                Some(Self { operand: kind, ..self.then(Mode::Between, Expect::Operator) })
            }
            _ => None,
        }
    }

    /// After the last word or number of a line; none where something is left open.
    fn finished(self) -> Option<Self> {
        match self.mode {
            Mode::Word(word) => self.end_word(word),
            Mode::Number(number) => number.is_whole().then_some(self),
            Mode::Text { .. } | Mode::Operator { .. } => None,
            _ => Some(self),
        }
    }

    fn statement_may_end(self) -> bool {
        match (self.expect, self.statement) {
            (Expect::Statement | Expect::End, _) => true,
            (Expect::Operand { fresh: true } | Expect::Operator, Statement::Compound) => false,
            (Expect::Operand { fresh: true }, _) => true,
            // A name alone does nothing.
            (Expect::Operator, Statement::Plain) => matches!(self.operand, Operand::Value | Operand::Closed),
            (Expect::Operator, _) => true,
            _ => false,
        }
    }

    fn may_end(self) -> bool {
        if self.line == Line::Whole { self.next_line().is_some() } else { self.line_may_end() }
    }

    /// Whether a line that a delta gives may end here.
    pub(crate) fn line_may_end(self) -> bool {
        self.finished().is_some_and(|line| match line.depth {
            0 => line.statement_may_end(),
            _ => line.expect == Expect::Operand { fresh: true },
        })
    }

    /// The start of the next line of a whole source, and whether its block is deeper.
    pub(crate) fn next_line(self) -> Option<(Self, bool)> {
        let line = self.finished()?;
        if line.depth > 0 {
            return Some((line.at(Mode::Between), false));
        }
        line.statement_may_end().then(|| (Self::new(self.line), line.statement == Statement::Compound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_be(line: &str) -> bool {
        line.bytes().try_fold(Python::new(Line::Alone), Python::step).is_some_and(Python::line_may_end)
    }

    #[test]
    fn statements_of_networks_are_read() {
        for line in [
            "",
            "import torch.nn as nn",
            "from torch import nn",
            "class Net(nn.Module):",
            "def __init__(self, num_classes=10):",
            "def forward(self, x: torch.Tensor, *rest, **more) -> torch.Tensor:",
            "super().__init__()",
            "self.conv1 = nn.Conv2d(3, 16, kernel_size=(3, 3), padding='same')  # first",
            "self.features = nn.Sequential(",
            "nn.LazyConv2d(24, 3, padding=1),",
            ")",
            "])",
            "self.layers = nn.ModuleList([nn.Linear(64, 64) for _ in range(3)])",
            "x = F.relu(self.bn1(self.conv1(x)))",
            "x = x + -0.5 * x ** 2 @ y // 3",
            "x += 1e-3",
            "x = x.mean((2, 3))",
            "x = x[:, 1:].flatten(1)",
            "x = torch.cat([a(x), b(x)], dim=1)",
            "return self.head(x)",
            "return",
            "return x if not self.training else x / .5",
            "for layer in self.layers:",
            "if x.shape[1] == 3 and y is not None:",
            "if x not in [1, 2]:",
            "else:",
            "a, b = x.chunk(2, 1)",
            "x = torch.nn.functional.relu(x)",
            "\"\"\"A network.\"\"\"",
            "self.n = {'a': 1, \"b\": 'it\\'s'}",
            "raise ValueError('no')",
        ] {
            assert!(may_be(line), "{line:?}");
        }
    }

    #[test]
    fn what_python_does_not_take_is_refused() {
        for line in [
            "self.conv = nn.Conv3000(1)",
            "x = F.reluu(x)",
            "x = relu(x))",
            "x = (x]",
            "x = ",
            "x =",
            "x",
            "self.conv",
            "f(x) = 3",
            "nn = nn.Linear(1)",
            "x = x +",
            "x = x * / 2",
            "x y",
            "return return",
            "x = 3a",
            "x = 1e",
            "x = 'open",
            "for x in y",
            "else",
            "def (x):",
            "x = f(self.x=1)",
            "x = class",
            "x = f(a b)",
            "x = lambda: 1",
            "nn.Linear(10, 20",
            "!",
            "x ! y",
            "x = y if",
        ] {
            assert!(!may_be(line), "{line:?}");
        }
    }
}
