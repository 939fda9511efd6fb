//! The one error type: what was being done, to what, why it failed, and the cure.

use std::fmt;
use std::path::Path;

/// A result whose error can be shown to a user as it is.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose move it is; the command line turns this into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input (a description, an option, a skeleton) is wrong.
    Input,
    /// This machine lacks something: a kernel, qemu, a package, disk space.
    Host,
    /// A system call or a child process failed.
    System,
}

/// A failure: one sentence that names the thing it happened to, the cause, and
/// where there is one, what to do next.
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
}

impl Error {
    /// An error of `kind`; `message` is a sentence without its full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
            hint: None,
        }
    }

    /// The input is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    /// The machine lacks something.
    pub fn host(message: impl Into<String>) -> Self {
        Self::new(Kind::Host, message)
    }

    /// `doing` (for example `cannot read`) failed for `path`.
    pub fn io(doing: &str, path: impl AsRef<Path>, cause: impl Into<std::io::Error>) -> Self {
        Self::new(
            Kind::System,
            format!("{doing} `{}`", path.as_ref().display()),
        )
        .caused_by(cause.into())
    }

    /// Adds the cause, which is printed after a colon.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Adds what the user can do about it: a sentence without its full stop.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whose move it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do about it, if that is known.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The message and its causes on one line, without the hint.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self
            .source
            .as_deref()
            .map(|source| source as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            // An `Error` has printed its own causes already.
            cause = if error.is::<Error>() {
                None
            } else {
                error.source()
            };
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} error: {self}", self.kind)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_path_and_every_cause_once() {
        let inner = Error::io(
            "cannot read",
            "/a",
            std::io::Error::from_raw_os_error(libc::EACCES),
        );
        let outer = Error::host("no usable kernel")
            .caused_by(inner)
            .hint("install one");
        assert_eq!(
            outer.to_string(),
            "no usable kernel: cannot read `/a`: Permission denied (os error 13)"
        );
        assert_eq!(outer.advice(), Some("install one"));
    }
}
