//! Unit files of systemd, systemd.unit(5), and preset files, systemd.preset(5).

use super::words;
use crate::glob::Pattern;

/// What of a unit file matters before it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its `[Install]` section.
    pub(super) install: Install,
    /// The accounts that it runs as, unless systemd makes them when it does.
    pub(super) users: Vec<String>,
    /// Groups, likewise.
    pub(super) groups: Vec<String>,
}

/// How a unit is enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Install {
    /// The directories that get a link to it, without what it is for:
    /// `multi-user.target.wants`, `x.service.requires`.
    pub(super) directories: Vec<String>,
    pub(super) aliases: Vec<String>,
    /// Units that are enabled with it.
    pub(super) also: Vec<String>,
    /// The instance of a template that is meant without another.
    pub(super) default_instance: Option<String>,
}

impl Install {
    /// Whether there is anything to enable.
    pub(super) fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.aliases.is_empty() && self.also.is_empty()
    }
}

/// Reads a unit file; what it does not need is passed over.
pub(super) fn parse(text: &str) -> Unit {
    let mut unit = Unit::default();
    let mut dynamic = false;
    let mut section = String::new();
    for line in joined(text) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let list = || value.split_whitespace().map(str::to_owned);
        let install = &mut unit.install;
        match (section.as_str(), key) {
            ("Install", "WantedBy") => add(&mut install.directories, value, ".wants"),
            ("Install", "RequiredBy") => add(&mut install.directories, value, ".requires"),
            ("Install", "UpheldBy") => add(&mut install.directories, value, ".upholds"),
            ("Install", "Alias") => add(&mut install.aliases, value, ""),
            ("Install", "Also") => add(&mut install.also, value, ""),
            ("Install", "DefaultInstance") => install.default_instance = Some(value.to_owned()),
            ("Service" | "Socket" | "Mount" | "Swap", "User" | "SocketUser") => {
                unit.users.extend(list());
            }
            ("Service" | "Socket" | "Mount" | "Swap", "Group" | "SocketGroup") => {
                unit.groups.extend(list());
            }
            ("Service", "SupplementaryGroups") => unit.groups.extend(list()),
            ("Service", "DynamicUser") => {
                dynamic = matches!(value, "yes" | "true" | "on" | "1");
            }
            _ => {}
        }
    }
    if dynamic {
        unit.users.clear();
    }
    unit
}

/// Adds the words of `value`; an empty value takes back what was there.
fn add(list: &mut Vec<String>, value: &str, suffix: &str) {
    if value.is_empty() {
        list.retain(|each| !each.ends_with(suffix));
    }
    list.extend(
        value
            .split_whitespace()
            .map(|word| format!("{word}{suffix}")),
    );
}

/// Lines without comments, joined where one ends in a backslash.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in words::lines(text) {
        let (line, more) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| open) {
            Some(last) => {
                last.push(' ');
                last.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
        open = more;
    }
    lines
}

/// A unit's name in its parts: `getty@tty1.service` is `getty`, `tty1`, `.service`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) prefix: &'a str,
    /// `None` of a plain unit, empty of a template.
    pub(super) instance: Option<&'a str>,
    /// With its dot.
    pub(super) suffix: &'a str,
}

impl<'a> Name<'a> {
    /// `None` for what is no unit.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        const SUFFIXES: [&str; 9] = [
            ".service",
            ".socket",
            ".target",
            ".device",
            ".mount",
            ".automount",
            ".swap",
            ".timer",
            ".path",
        ];
        let slice = [".slice", ".scope"];
        let suffix = SUFFIXES
            .into_iter()
            .chain(slice)
            .find(|suffix| name.ends_with(suffix))?;
        let stem = name.strip_suffix(suffix).filter(|stem| !stem.is_empty())?;
        let (prefix, instance) = match stem.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (stem, None),
        };
        Some(Self {
            prefix,
            instance,
            suffix,
        })
    }

    pub(super) fn is_template(&self) -> bool {
        self.instance == Some("")
    }

    /// This template's instance `instance`.
    pub(super) fn instantiate(&self, instance: &str) -> String {
        format!("{}@{instance}{}", self.prefix, self.suffix)
    }

    /// `text` of an `[Install]` section with the specifiers that it can have
    /// there; `None` if another one stands in it.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            expanded.push_str(&rest[..at]);
            match rest[at + 1..].chars().next()? {
                '%' => expanded.push('%'),
                'i' | 'I' => expanded.push_str(self.instance.unwrap_or("")),
                'p' | 'P' => expanded.push_str(self.prefix),
                'j' | 'J' => expanded.push_str(self.prefix.rsplit('-').next()?),
                'n' => expanded.push_str(&self.whole()),
                'N' => expanded.push_str(self.whole().strip_suffix(self.suffix)?),
                _ => return None,
            }
            rest = &rest[at + 2..];
        }
        expanded.push_str(rest);
        Some(expanded)
    }

    fn whole(&self) -> String {
        match self.instance {
            Some(instance) => self.instantiate(instance),
            None => format!("{}{}", self.prefix, self.suffix),
        }
    }
}

/// A line of a preset file.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    enable: bool,
    pattern: Pattern,
    instances: Vec<String>,
}

/// What presets say of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To enable, in the case of a template with these instances.
    Enable(Vec<String>),
    Disable,
}

/// The rules of a preset file.
pub(super) fn rules(text: &str) -> impl Iterator<Item = Rule> {
    words::lines(text).filter_map(|line| {
        let mut words = line.split_whitespace();
        let enable = match words.next()? {
            "enable" => true,
            "disable" => false,
            // `ignore` leaves a unit as it is, which here is: disabled.
            "ignore" => false,
            _ => return None,
        };
        let pattern = Pattern::new(words.next()?).ok()?;
        Some(Rule {
            enable,
            pattern,
            instances: words.map(str::to_owned).collect(),
        })
    })
}

/// What the first rule that fits says of `unit`; `None` if none does.
pub(super) fn verdict(rules: &[Rule], unit: &str) -> Option<Verdict> {
    let rule = rules.iter().find(|rule| rule.pattern.matches(unit))?;
    Some(if rule.enable {
        Verdict::Enable(rule.instances.clone())
    } else {
        Verdict::Disable
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_unit_says_how_it_is_enabled_and_who_it_runs_as() {
        let unit = parse(
            "[Unit]\nWantedBy=no\n[Service]\nUser=www\nSupplementaryGroups=a \\\n  b\n# x\n\
             [Install]\nWantedBy=old.target\nWantedBy=\nWantedBy=multi-user.target x.target\n\
             RequiredBy = y.service\nAlias=z.service\nAlso=w.socket\nDefaultInstance=tty1\n",
        );
        assert_eq!(unit.users, ["www"]);
        assert_eq!(unit.groups, ["a", "b"]);
        assert_eq!(
            unit.install.directories,
            [
                "multi-user.target.wants",
                "x.target.wants",
                "y.service.requires"
            ]
        );
        assert_eq!(
            (&unit.install.aliases[0][..], &unit.install.also[0][..]),
            ("z.service", "w.socket")
        );
        assert_eq!(unit.install.default_instance.as_deref(), Some("tty1"));
        assert!(
            parse("[Service]\nUser=a\nDynamicUser=yes\n")
                .users
                .is_empty()
        );
    }

    #[test]
    fn names_have_parts() {
        let name = Name::parse("getty@tty1.service").unwrap();
        assert_eq!(
            (name.prefix, name.instance, name.suffix),
            ("getty", Some("tty1"), ".service")
        );
        assert_eq!(
            name.expand("%p-%i-%n-%%"),
            Some("getty-tty1-getty@tty1.service-%".into())
        );
        assert_eq!(name.expand("%b"), None);
        assert!(Name::parse("getty@.service").unwrap().is_template());
        for none in ["", ".service", "a.conf", "a.service.d"] {
            assert_eq!(Name::parse(none), None);
        }
    }

    #[test]
    fn the_first_rule_decides() {
        let rules: Vec<Rule> = rules(
            "enable ssh.*\ndisable ssh.socket\nenable getty@.service tty1 tty2\n# x\ndisable *\n",
        )
        .collect();
        assert_eq!(verdict(&rules, "ssh.socket"), Some(Verdict::Enable(vec![])));
        assert_eq!(verdict(&rules, "x.socket"), Some(Verdict::Disable));
        let getty = verdict(&rules, "getty@.service");
        assert_eq!(
            getty,
            Some(Verdict::Enable(vec!["tty1".into(), "tty2".into()]))
        );
        assert_eq!(verdict(&rules[..1], "x.socket"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*(\n\\PC*){0,5}") {
            let _ = parse(&text);
            let rules: Vec<Rule> = rules(&text).collect();
            let _ = verdict(&rules, &text);
            if let Some(name) = Name::parse(&text) {
                let _ = name.expand(&text);
            }
        }
    }
}
