//! What is wrong with a description, and showing it.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The description cannot be used.
    Error,
    /// It can, but is probably not meant so.
    Warning,
}

/// One problem, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The place, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub title: String,
    /// What to do about it.
    pub help: String,
}

impl Problem {
    /// An error at `span`.
    pub(super) fn error(
        span: &Range<usize>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            span: span.clone(),
            title: title.into(),
            help: help.into(),
        }
    }
}

/// All problems of a description, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    /// Problems of the file called `name` with this text, in the order given.
    pub fn of(name: &str, text: &str, list: Vec<Problem>) -> Self {
        Self {
            list,
            ..Self::new(name, text)
        }
    }

    /// The line and the column, in characters, where `problem` starts; both
    /// count from 1.
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        let before = self.text.get(..problem.span.start).unwrap_or("");
        let line = before.rsplit('\n').next().unwrap_or("");
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    pub(super) fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            list: Vec::new(),
        }
    }

    /// A problem with the file as a whole.
    pub(super) fn of_file(name: &str, title: &str) -> Self {
        let mut problems = Self::new(name, "");
        let help =
            "name an existing YAML file; `examples/hello-vm/appliance.yaml` is one to start from";
        problems.add(Problem::error(&(0..0), title, help));
        problems
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    pub(super) fn sort(&mut self) {
        self.list
            .sort_by_key(|problem| (problem.span.start, problem.span.end));
    }

    /// The problems.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the description cannot be used.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// Every problem with its place, a snippet and its cure, then how many
    /// errors there are.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = String::new();
        for problem in &self.list {
            let level = match problem.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let title = level.primary_title(problem.title.as_str());
            let help = Level::HELP.message(problem.help.as_str());
            let report = if self.text.is_empty() {
                title.element(help)
            } else {
                let mark = AnnotationKind::Primary.span(self.visible(&problem.span));
                let snippet = Snippet::source(self.text.as_str()).path(self.name.as_str());
                title.element(snippet.annotation(mark)).element(help)
            };
            out.push_str(&renderer.render(&[report]));
            out.push_str("\n\n");
        }
        let errors = self
            .list
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .count();
        match errors {
            0 => {}
            1 => out.push_str(&format!("freezedry: 1 error in `{}`\n", self.name)),
            n => out.push_str(&format!("freezedry: {n} errors in `{}`\n", self.name)),
        }
        out
    }

    /// The part of `span` that fits on its first line: a mark under a whole
    /// section hides more than it shows.
    fn visible(&self, span: &Range<usize>) -> Range<usize> {
        let start = (0..=span.start.min(self.text.len()))
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0);
        let line = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let mut end = span.end.clamp(start, line);
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}
