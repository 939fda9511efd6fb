//! `name>=version`, as pacman and apk write what a package needs and provides.
//!
//! Sources: PKGBUILD(5) (`depends`, `provides`) and apk-world(5).

use super::packages::{Package, PackageId};
use std::cmp::Ordering;
use std::collections::HashMap;

/// A name with a bound on its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) bound: Option<Bound>,
}

/// Which versions are within a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    less: bool,
    equal: bool,
    greater: bool,
    /// A version that only begins like this one counts as equal (apk's `~`).
    pub(super) prefix: bool,
    pub(super) version: String,
}

impl Relation {
    /// Reads one relation; `None` if it has no name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let at = text.find(['<', '=', '>', '~']).unwrap_or(text.len());
        let (name, rest) = text.split_at(at);
        if name.is_empty() {
            return None;
        }
        let at = rest.find(|c| !"<=>~".contains(c)).unwrap_or(rest.len());
        let (operator, version) = rest.split_at(at);
        let prefix = operator.contains('~');
        let bound = (!operator.is_empty()).then(|| Bound {
            less: operator.contains('<'),
            equal: operator.contains('=') || prefix,
            greater: operator.contains('>'),
            prefix,
            version: version.to_owned(),
        });
        Some(Self {
            name: name.to_owned(),
            bound,
        })
    }

    /// The same name in any version.
    pub(super) fn unbounded(&self) -> Self {
        Self {
            name: self.name.clone(),
            bound: None,
        }
    }
}

impl Bound {
    /// Whether a version that compares to ours as `order` says is within.
    pub(super) fn admits(&self, order: Ordering) -> bool {
        match order {
            Ordering::Less => self.less,
            Ordering::Equal => self.equal,
            Ordering::Greater => self.greater,
        }
    }
}

/// Who is called what, and who provides what.
#[derive(Debug, Default)]
pub(super) struct Names {
    packages: HashMap<String, PackageId>,
    /// With the version provided, if it is said.
    provided: HashMap<String, Vec<(PackageId, Option<String>)>>,
}

impl Names {
    /// Adds a package and what it provides.
    pub(super) fn add(&mut self, id: PackageId, name: &str, provides: Vec<Relation>) {
        self.packages.entry(name.to_owned()).or_insert(id);
        for relation in provides {
            let version = relation.bound.map(|bound| bound.version);
            let by = self.provided.entry(relation.name);
            by.or_default().push((id, version));
        }
    }

    /// The package that satisfies `wanted`: the one of that name, else the first
    /// that provides it.  `admits` tells whether a version is within a bound; a
    /// provision without a version is within none.
    pub(super) fn satisfying(
        &self,
        packages: &[Package],
        wanted: &Relation,
        admits: impl Fn(&Bound, &str) -> bool,
    ) -> Option<PackageId> {
        let within = |version: Option<&str>| match &wanted.bound {
            None => true,
            Some(bound) => version.is_some_and(|version| admits(bound, version)),
        };
        let named = self.packages.get(&wanted.name).copied();
        let named = named.filter(|&id| within(Some(&packages[id].version)));
        named.or_else(|| {
            let mut provided = self.provided.get(&wanted.name)?.iter();
            provided
                .find(|(_, version)| within(version.as_deref()))
                .map(|(id, _)| *id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn relations_are_taken_apart() {
        let relation = Relation::parse("libfoo.so=1-64").unwrap();
        assert_eq!(relation.name, "libfoo.so");
        assert_eq!(relation.bound.unwrap().version, "1-64");
        for (text, less, equal, greater) in [
            ("a>=1:2", false, true, true),
            ("a<2", true, false, false),
            ("so:lib.so.1=1.2", false, true, false),
            ("a~1.2", false, true, false),
        ] {
            let bound = Relation::parse(text).unwrap().bound.unwrap();
            assert_eq!(bound.admits(Ordering::Less), less, "{text}");
            assert_eq!(bound.admits(Ordering::Equal), equal, "{text}");
            assert_eq!(bound.admits(Ordering::Greater), greater, "{text}");
        }
        assert_eq!(Relation::parse("/bin/sh").unwrap().bound, None);
        assert_eq!(Relation::parse(">=1"), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,40}") {
            let _ = Relation::parse(&text);
        }
    }
}
