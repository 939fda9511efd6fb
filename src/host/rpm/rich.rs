//! Rich (boolean) dependencies, such as `(a or (b >= 2 if c))`.
//!
//! Source: <https://rpm-software-management.github.io/rpm/manual/boolean_dependencies.html>.

use super::record::{Capability, sense};

/// A rich dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rich {
    /// A plain capability.
    Plain(Capability),
    /// `or`: the first operand that can be had.
    Any(Vec<Rich>),
    /// `and`: all of them.
    All(Vec<Rich>),
    /// `with`: one package that is all of them.
    With(Vec<Rich>),
    /// `without`: a package that is the first, but none of the others.
    Without(Vec<Rich>),
    /// `if` (`unless` with the condition turned round): what, condition, otherwise.
    When {
        what: Box<Rich>,
        condition: Box<Rich>,
        present: bool,
        otherwise: Option<Box<Rich>>,
    },
}

impl Rich {
    /// Whether what it asks for depends on what else is there.
    pub(super) fn is_conditional(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Any(operands)
            | Self::All(operands)
            | Self::With(operands)
            | Self::Without(operands) => operands.iter().any(Self::is_conditional),
            Self::When { .. } => true,
        }
    }
}

/// Nesting beyond any real dependency.
const MAX_DEPTH: usize = 50;

/// Reads `text`, which starts with `(`; `None` if it is malformed.
pub(super) fn parse(text: &str) -> Option<Rich> {
    // Parentheses inside a name, as in `libc.so.6()(64bit)`, belong to it.
    let words = words(text);
    let mut parser = Parser {
        words: &words,
        at: 0,
    };
    let rich = parser.operand(0)?;
    (parser.at == words.len()).then_some(rich)
}

/// Splits at spaces and at the parentheses that group.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in text.split_whitespace() {
        let mut rest = part;
        while let Some(after) = rest.strip_prefix('(') {
            words.push("(".into());
            rest = after;
        }
        // Closing ones that have no partner in the word close a group.
        let mut surplus = rest
            .matches(')')
            .count()
            .saturating_sub(rest.matches('(').count());
        let mut end = rest.len();
        while surplus > 0 && rest[..end].ends_with(')') {
            end -= 1;
            surplus -= 1;
        }
        if end > 0 {
            words.push(rest[..end].into());
        }
        words.extend((end..rest.len()).map(|_| ")".to_owned()));
    }
    words
}

struct Parser<'a> {
    words: &'a [String],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn operand(&mut self, depth: usize) -> Option<Rich> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.peek()? == "(" {
            self.at += 1;
            let rich = self.group(depth)?;
            (self.peek()? == ")").then_some(())?;
            self.at += 1;
            return Some(rich);
        }
        let name = self.peek()?.to_owned();
        self.at += 1;
        let mut capability = Capability {
            name,
            ..Capability::default()
        };
        let sense = match self.peek() {
            Some("<") => sense::RPMSENSE_LESS,
            Some(">") => sense::RPMSENSE_GREATER,
            Some("=") => sense::RPMSENSE_EQUAL,
            Some("<=") => sense::RPMSENSE_LESS | sense::RPMSENSE_EQUAL,
            Some(">=") => sense::RPMSENSE_GREATER | sense::RPMSENSE_EQUAL,
            _ => return Some(Rich::Plain(capability)),
        };
        self.at += 1;
        capability.sense = sense;
        self.peek()?.clone_into(&mut capability.version);
        self.at += 1;
        Some(Rich::Plain(capability))
    }

    fn group(&mut self, depth: usize) -> Option<Rich> {
        let first = self.operand(depth + 1)?;
        let operator = match self.peek()? {
            ")" => return Some(first),
            operator => operator.to_owned(),
        };
        let mut operands = vec![first];
        while self.peek()? == operator {
            self.at += 1;
            operands.push(self.operand(depth + 1)?);
        }
        match operator.as_str() {
            "or" => Some(Rich::Any(operands)),
            "and" => Some(Rich::All(operands)),
            "with" => Some(Rich::With(operands)),
            "without" => Some(Rich::Without(operands)),
            "if" | "unless" => {
                let otherwise = if self.peek()? == "else" {
                    self.at += 1;
                    Some(Box::new(self.operand(depth + 1)?))
                } else {
                    None
                };
                let mut operands = operands.into_iter();
                Some(Rich::When {
                    what: Box::new(operands.next()?),
                    condition: Box::new(operands.next()?),
                    present: operator == "if",
                    otherwise,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(name: &str) -> Rich {
        Rich::Plain(Capability {
            name: name.into(),
            ..Capability::default()
        })
    }

    #[test]
    fn groups_nest() {
        assert_eq!(
            parse("(a or (b and c))"),
            Some(Rich::Any(vec![
                plain("a"),
                Rich::All(vec![plain("b"), plain("c")])
            ]))
        );
        assert_eq!(
            parse("(libc.so.6()(64bit) if x)"),
            Some(Rich::When {
                what: Box::new(plain("libc.so.6()(64bit)")),
                condition: Box::new(plain("x")),
                present: true,
                otherwise: None,
            })
        );
        let Some(Rich::Any(operands)) = parse("(a >= 2 or b)") else {
            panic!()
        };
        assert!(matches!(&operands[0], Rich::Plain(c) if c.sense == 12 && c.version == "2"));
        for bad in ["(a or", "(a xor b)", "()", "(a) b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "[()a-c <=if]{0,200}") {
            parse(&text);
        }
    }
}
