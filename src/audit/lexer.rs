//! A shell script as words, separators and redirections.
//!
//! Source: POSIX.1-2024, "Shell Command Language", "Token Recognition".

/// A part of a script.
pub(super) enum Token {
    /// A word without its quotes; plain if nothing in it is expanded.
    Word { text: String, plain: bool },
    /// What ends a command.
    Separator(String),
    /// `<`, `>` and their relatives; a target follows.
    Redirection,
}

/// What is left of a script.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    /// The delimiters of here-documents that start at the next line.
    documents: Vec<String>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            documents: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        loop {
            let first = self.rest.chars().next()?;
            match first {
                ' ' | '\t' | '\r' => self.advance(1),
                '\\' if self.rest.starts_with("\\\n") => self.advance(2),
                '#' => self.advance(self.rest.find('\n').unwrap_or(self.rest.len())),
                '\n' => {
                    self.advance(1);
                    self.skip_documents();
                    return Some(Token::Separator("\n".into()));
                }
                ';' | '&' | '|' | '(' | ')' => {
                    let double = self.rest[1..].starts_with(first);
                    let length = if double && "(".contains(first) {
                        1
                    } else {
                        1 + usize::from(double)
                    };
                    let text = self.rest[..length].to_owned();
                    self.advance(length);
                    return Some(Token::Separator(text));
                }
                '<' | '>' => {
                    self.redirection();
                    return Some(Token::Redirection);
                }
                _ => return Some(self.word()),
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    /// Takes the operator, and notes the delimiter of a here-document.
    fn redirection(&mut self) {
        let document = self.rest.starts_with("<<") && !self.rest.starts_with("<<<");
        let length = self
            .rest
            .find(|c| !"<>&|-".contains(c))
            .unwrap_or(self.rest.len());
        self.advance(length);
        if document {
            let mut ahead = Lexer::new(self.rest);
            ahead.advance(ahead.rest.len() - ahead.rest.trim_start_matches([' ', '\t']).len());
            if let Token::Word { text, .. } = ahead.word() {
                self.documents.push(text);
            }
        }
    }

    /// Passes over the word after a redirection.
    pub(super) fn skip_target(&mut self) {
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.advance(blanks);
        if !self.rest.starts_with(['\n', ';', '&', '|', ')', '(']) && !self.rest.is_empty() {
            self.word();
        }
    }

    fn skip_documents(&mut self) {
        for delimiter in std::mem::take(&mut self.documents) {
            while !self.rest.is_empty() {
                let line = self.rest.split('\n').next().unwrap_or("");
                self.advance(line.len() + 1);
                if line.trim_start_matches('\t') == delimiter {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Token {
        let mut text = String::new();
        let mut plain = true;
        let mut chars = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        // What is inside of `"…"`, `$(…)` or `${…}` belongs to the word.
        let mut quote = None;
        let mut depth = 0usize;
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), c) => text.push(c),
                (_, '\\') => {
                    if let Some((_, c)) = chars.next()
                        && c != '\n'
                    {
                        text.push(c);
                    }
                }
                (_, '`') => plain = false,
                (_, '$') => {
                    plain = false;
                    if let Some((_, '(' | '{')) = chars.peek() {
                        chars.next();
                        depth += 1;
                    }
                }
                (_, ')' | '}') if depth > 0 => depth -= 1,
                (_, '(' | '{') if depth > 0 => depth += 1,
                (Some(_), c) => text.push(c),
                (None, '\'' | '"') if depth == 0 => quote = Some(c),
                (None, c) if depth == 0 && " \t\r\n;&|()<>".contains(c) => {
                    end = at;
                    break;
                }
                (None, c) => {
                    plain &= !"*?[]~".contains(c);
                    text.push(c);
                }
            }
        }
        self.advance(end);
        // `2>` is a redirection of descriptor 2.
        if self.rest.starts_with(['<', '>'])
            && !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_digit())
        {
            self.redirection();
            return Token::Redirection;
        }
        Token::Word { text, plain }
    }
}
