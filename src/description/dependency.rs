//! What a package says of other packages: names, versions, and RPM's rich
//! dependencies.
//!
//! There is one spelling, `name` or `name >= version`; the package formats
//! translate it into their own.

use super::decode::Fault;
use super::rules;
use crate::family::Family;
use std::collections::BTreeMap;
use std::fmt;

/// A dependency on a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// A package, of any version or only of some.
    Package {
        /// Its name.
        name: String,
        /// The versions that will do.
        bound: Option<(Comparison, String)>,
    },
    /// A rich dependency of RPM as it is written, parentheses included.
    Rich(String),
}

/// How a version has to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names say it
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Comparison {
    const ALL: [(&'static str, Self); 5] = [
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        ("=", Self::Equal),
        (">=", Self::GreaterOrEqual),
        (">", Self::Greater),
    ];

    fn parse(sign: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(text, _)| *text == sign);
        found.map(|(_, comparison)| *comparison)
    }

    /// The sign, as a description and an RPM spec file write it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

impl Dependency {
    /// The package `name` in any version.
    pub fn any(name: &str) -> Self {
        Self::Package {
            name: name.to_owned(),
            bound: None,
        }
    }

    /// The bare names of the packages that may fulfil it.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Package { name, .. } => vec![name],
            Self::Rich(text) => rich_names(text).unwrap_or_default(),
        }
    }
}

/// As a description and an RPM spec file write it.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { name, bound: None } => f.write_str(name),
            Self::Package {
                name,
                bound: Some((comparison, version)),
            } => write!(f, "{name} {} {version}", comparison.sign()),
            Self::Rich(text) => f.write_str(text),
        }
    }
}

/// Dependencies by family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    /// Those that are the same everywhere.
    pub all: Vec<Dependency>,
    /// Those of one family.
    pub families: BTreeMap<Family, Vec<Dependency>>,
}

impl Packages {
    /// What there is for `family`.
    pub fn dependencies(&self, family: Family) -> impl Iterator<Item = &Dependency> {
        let own = self.families.get(&family);
        self.all.iter().chain(own.into_iter().flatten())
    }

    /// The bare names for `family`, each once.
    pub fn for_family(&self, family: Family) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.dependencies(family).flat_map(Dependency::names) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// What the packages of an appliance say of others, beyond those that it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the words are those of the package formats
pub struct Relations {
    pub recommends: Packages,
    pub suggests: Packages,
    pub provides: Packages,
    pub conflicts: Packages,
    /// What it takes the place of.
    pub obsoletes: Packages,
}

/// Where a dependency stands, which limits what it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The key of the description.
    pub(super) key: &'static str,
    /// The family that it is for; `None` for all.
    pub(super) family: Option<Family>,
}

impl Place {
    fn is_rpm(self) -> bool {
        matches!(self.family, Some(Family::Fedora | Family::Suse))
    }

    fn rpm_instead(self) -> String {
        format!("put it under `{0}.fedora` or `{0}.suse`", self.key)
    }
}

/// Reads `name`, `name >= version` or, where RPM reads it, `(a or b)`.
pub(super) fn parse(text: &str, place: Place) -> Result<Dependency, Fault> {
    if text.starts_with('(') {
        return rich(text, place);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, bound) = match words[..] {
        [name] => (name, None),
        [name, sign, version] if Comparison::parse(sign).is_some() => {
            bound_version(text, version)?;
            let bound = Comparison::parse(sign).map(|sign| (sign, version.to_owned()));
            (name, bound)
        }
        _ => return Err(misspelt(text)),
    };
    if !rules::is_package(name) {
        return Err(misspelt(text));
    }
    if rules::is_capability(name) && !place.is_rpm() {
        return Err(Fault(
            format!("`{name}` is a capability, which only RPM has"),
            place.rpm_instead(),
        ));
    }
    if let (Some((comparison, version)), "provides") = (&bound, place.key)
        && *comparison != Comparison::Equal
    {
        return Err(Fault(
            format!("`{text}` provides no certain version"),
            format!("write `{name} = {version}`"),
        ));
    }
    Ok(Dependency::Package {
        name: name.to_owned(),
        bound,
    })
}

/// Whether `text` can stand where all families read it.
pub(super) fn legal_anywhere(text: &str) -> Result<(), Fault> {
    parse(
        text,
        Place {
            key: "packages",
            family: None,
        },
    )
    .map(drop)
}

/// Whether `text` can stand where a family of RPM reads it.
pub(super) fn legal_for_rpm(text: &str) -> Result<(), Fault> {
    let family = Some(Family::Fedora);
    parse(
        text,
        Place {
            key: "packages",
            family,
        },
    )
    .map(drop)
}

/// A version of another package: epoch, version and release.
fn bound_version(text: &str, version: &str) -> Result<(), Fault> {
    let good = |c: char| c.is_ascii_alphanumeric() || ".+~:-".contains(c);
    if version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(good) {
        return Ok(());
    }
    Err(Fault(
        format!("`{text}` does not end in a version"),
        "write, for example, `bash >= 5.2`".into(),
    ))
}

/// What is wrong with `text`, which is no dependency.
fn misspelt(text: &str) -> Fault {
    let signs = |c: char| "<>=".contains(c);
    let shown = text.escape_debug();
    let (Some(first), Some(last)) = (text.find(signs), text.rfind(signs)) else {
        return Fault(
            format!("`{shown}` is no name of a package"),
            "write the name as the package manager shows it; a version may follow: `bash >= 5.2`"
                .into(),
        );
    };
    let name = text[..first].trim().trim_end_matches('(').trim_end();
    let version = text[last + 1..].trim().trim_end_matches(')').trim_end();
    let sign = match &text[first..=last] {
        "<<" => "<",
        ">>" => ">",
        "==" => "=",
        sign => sign,
    };
    let help = match (Comparison::parse(sign), rules::is_package(name)) {
        (Some(_), true) if !version.is_empty() => format!("write `{name} {sign} {version}`"),
        _ => "write, for example, `bash >= 5.2`".into(),
    };
    Fault(
        format!("`{shown}` is no name with a version"),
        format!("{help}; it is translated for each family"),
    )
}

fn rich(text: &str, place: Place) -> Result<Dependency, Fault> {
    if !place.is_rpm() {
        return Err(Fault(
            format!("`{text}` is a rich dependency, which only RPM has"),
            place.rpm_instead(),
        ));
    }
    if ["provides", "obsoletes"].contains(&place.key) {
        return Err(Fault(
            format!("`{text}` is a rich dependency, which cannot stand here"),
            "name the packages one by one".into(),
        ));
    }
    match rich_names(text) {
        Some(_) => Ok(Dependency::Rich(
            text.split_whitespace().collect::<Vec<_>>().join(" "),
        )),
        None => Err(Fault(
            format!("`{}` is no rich dependency of RPM", text.escape_debug()),
            "write, for example, `(a or b)`, `(a >= 2 and a < 3)` or `(a if b)`".into(),
        )),
    }
}

/// The packages that a rich dependency asks for, conditions left out; `None`
/// if it is malformed.
///
/// Source: <https://rpm-software-management.github.io/rpm/manual/boolean_dependencies.html>.
fn rich_names(text: &str) -> Option<Vec<&str>> {
    let words = rich_words(text);
    let mut names = Vec::new();
    let rest = group(&words, true, &mut names, 0)?;
    rest.is_empty().then_some(names)
}

/// Splits at spaces and at the parentheses that group; those inside a name, as
/// in `libc.so.6()(64bit)`, belong to it.
fn rich_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut part in text.split_whitespace() {
        while part.starts_with('(') {
            words.push(&part[..1]);
            part = &part[1..];
        }
        let mut end = part.len();
        let open = part.matches('(').count();
        let surplus = part.matches(')').count().saturating_sub(open);
        while part.len() - end < surplus && part[..end].ends_with(')') {
            end -= 1;
        }
        if end > 0 {
            words.push(&part[..end]);
        }
        words.extend(part[end..].matches(')'));
    }
    words
}

/// Reads `( operand operator operand ... )`, and returns the words after it.
fn group<'w, 't>(
    words: &'w [&'t str],
    wanted: bool,
    names: &mut Vec<&'t str>,
    depth: usize,
) -> Option<&'w [&'t str]> {
    // Deeper than any real one.
    if depth > 30 {
        return None;
    }
    let mut rest = words.strip_prefix(&["("])?;
    let mut operators: Vec<&str> = Vec::new();
    loop {
        // A condition is looked at, but not asked for.
        let asked = wanted && !matches!(operators.last(), Some(&("if" | "unless" | "without")));
        rest = match rest {
            ["(", ..] => group(rest, asked, names, depth + 1)?,
            [name, sign, version, tail @ ..] if Comparison::parse(sign).is_some() => {
                bound_version("", version).ok()?;
                operand(name, asked, names)?;
                tail
            }
            [name, tail @ ..] => {
                operand(name, asked, names)?;
                tail
            }
            [] => return None,
        };
        match rest {
            [")", tail @ ..] => return known(&operators).then_some(tail),
            [operator, tail @ ..] => {
                operators.push(operator);
                rest = tail;
            }
            [] => return None,
        }
    }
}

fn operand<'t>(name: &'t str, asked: bool, names: &mut Vec<&'t str>) -> Option<()> {
    if !rules::is_package(name) {
        return None;
    }
    if asked && !names.contains(&name) {
        names.push(name);
    }
    Some(())
}

/// Whether rpm takes these operators in one group: those that chain, or one
/// that does not.
fn known(operators: &[&str]) -> bool {
    match operators {
        ["if" | "unless" | "without"] | ["if" | "unless", "else"] => true,
        [first @ ("and" | "or" | "with"), rest @ ..] => rest.iter().all(|other| other == first),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FEDORA: Place = Place {
        key: "packages",
        family: Some(Family::Fedora),
    };

    fn names(text: &str) -> Vec<String> {
        let Ok(dependency) = parse(text, FEDORA) else {
            return vec!["malformed".into()];
        };
        dependency.names().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_names_in_a_dependency_are_those_it_asks_for() {
        assert_eq!(names("bash"), ["bash"]);
        assert_eq!(names("bash >= 1:5.2-3"), ["bash"]);
        assert_eq!(names("(a or b >= 2)"), ["a", "b"]);
        assert_eq!(names("(a if (b or c) else d)"), ["a", "d"]);
        assert_eq!(names("(pkgconfig(x) without y)"), ["pkgconfig(x)"]);
        for bad in [
            "(a)",
            "(a or)",
            "(a or b",
            "(a or b))",
            "(a or b and c)",
            "(a nor b)",
            "()",
            "(",
            "(a if b if c)",
            "(a >= or b)",
            "(a or b) c",
        ] {
            assert_eq!(names(bad), ["malformed"], "{bad}");
        }
    }

    #[test]
    fn what_a_slip_should_have_been_is_said() {
        for (text, help) in [
            ("bash (>= 5)", "write `bash >= 5`"),
            ("bash>=5", "write `bash >= 5`"),
            ("bash << 5", "write `bash < 5`"),
            ("bash =>", "write, for example, `bash >= 5.2`"),
        ] {
            let Err(Fault(_, said)) = parse(text, FEDORA) else {
                panic!("{text} was taken");
            };
            assert_eq!(said.split(';').next(), Some(help), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            name in "[a-z][a-z0-9+.-]{0,20}",
            bound in proptest::option::of((0..5usize, "[0-9][0-9a-z.+~]{0,9}")),
        ) {
            let bound = bound.map(|(sign, version)| (Comparison::ALL[sign].1, version));
            let dependency = Dependency::Package { name, bound };
            prop_assert_eq!(parse(&dependency.to_string(), FEDORA).ok(), Some(dependency));
        }

        #[test]
        fn garbage_never_panics(text in "[( )a-c<>=0-9é|]{0,40}", key in prop_oneof![Just("packages"), Just("provides")]) {
            for family in [None, Some(Family::Suse), Some(Family::Debian)] {
                let _ = parse(&text, Place { key, family });
            }
        }
    }
}
