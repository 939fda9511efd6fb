//! docs/guide.md, executed as it is written.
//!
//! In ```` ```console ```` blocks, lines that start with `$ ` are commands, run
//! in order in one scratch directory; `> ` continues a command; what follows is
//! its output, standard error included, with `[..]` for anything in a line and
//! `...` for any lines.  ```` ```yaml ```` blocks whose first line is `# PATH`
//! are files.  Other blocks are only read.

use crate::support::{require, skip};
use std::path::Path;
use std::process::Command;

/// A step of a guide.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    File {
        path: String,
        content: String,
    },
    Command {
        line: usize,
        text: String,
        output: String,
    },
}

fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<(&str, usize)> = None;
    for (number, line) in guide.lines().enumerate() {
        let Some((language, indent)) = block else {
            let bare = line.trim_start();
            if let Some(language) = bare.strip_prefix("```") {
                block = Some((language, line.len() - bare.len()));
            }
            continue;
        };
        let line = line.get(indent..).unwrap_or("");
        if line == "```" {
            block = None;
        } else if language == "yaml" {
            match (line.strip_prefix("# "), steps.last_mut()) {
                (Some(path), _) if !path.contains(' ') => steps.push(Step::File {
                    path: path.into(),
                    content: String::new(),
                }),
                (_, Some(Step::File { content, .. })) => content.push_str(&format!("{line}\n")),
                _ => panic!("line {}: YAML without a file name", number + 1),
            }
        } else if language == "console" {
            if let Some(text) = line.strip_prefix("$ ") {
                steps.push(Step::Command {
                    line: number + 1,
                    text: text.into(),
                    output: String::new(),
                });
                continue;
            }
            match (line.strip_prefix("> "), steps.last_mut()) {
                (Some(more), Some(Step::Command { text, output, .. })) if output.is_empty() => {
                    text.push_str(&format!("\n{more}"));
                }
                (_, Some(Step::Command { output, .. })) => output.push_str(&format!("{line}\n")),
                _ => panic!("line {}: output without a command", number + 1),
            }
        }
    }
    assert_eq!(block, None, "a block does not end");
    steps
}

/// Whether `text` is `pattern`, in which `[..]` stands for anything.
fn line_matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once("[..]") {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| line_matches(rest, &text[at..]))
        }),
    }
}

/// Whether `lines` are `patterns`, in which `...` stands for any lines.
fn matches(patterns: &[&str], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|at| matches(rest, &lines[at..])),
        Some((pattern, rest)) => lines
            .split_first()
            .is_some_and(|(line, lines)| line_matches(pattern, line) && matches(rest, lines)),
    }
}

#[test]
fn the_guide_s_commands_do_what_it_says() {
    if !require(&["qemu-system-x86_64"]) {
        return;
    }
    if !Path::new("/var/lib/dpkg/status").exists() {
        skip("this is no Debian system, whose names of packages the guide shows");
        return;
    }
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md");
    let steps = steps(&std::fs::read_to_string(guide).unwrap());
    assert!(steps.len() > 15);
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let work = dir.path().join("work");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::create_dir_all(&work).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_freezedry")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut status = 0;
    for step in &steps {
        match step {
            Step::File { path, content } => {
                let path = work.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Step::Command { line, text, output } => {
                // `$?` is that of the command before.
                let script = format!("exec 2>&1\n(exit {status})\n{text}\n");
                let result = Command::new("timeout")
                    .args(["180", "sh", "-c", &script])
                    .current_dir(&work)
                    .env("PATH", &path)
                    .env("HOME", &home)
                    .env("LC_ALL", "C.UTF-8")
                    .env_remove("FREEZEDRY_CACHE_DIR")
                    .env_remove("XDG_CACHE_HOME")
                    .env_remove("XDG_DATA_HOME")
                    .env_remove("XDG_RUNTIME_DIR")
                    .env_remove("DEBFULLNAME")
                    .output()
                    .unwrap();
                status = result.status.code().unwrap();
                assert!(
                    status != 124 && status < 125,
                    "guide.md:{line}: `{text}` hung or was lost: {result:?}"
                );
                let said = String::from_utf8_lossy(&result.stdout);
                // The guide says that this line comes where KVM does not work.
                let lines: Vec<&str> = said
                    .lines()
                    .filter(|line| !line.starts_with("freezedry: not using KVM: "))
                    .collect();
                // A command between two others ends with a line break or not.
                let expected: Vec<&str> = output.lines().collect();
                assert!(
                    matches(&expected, &lines),
                    "guide.md:{line}: `{text}` (status {status}) says\n{}\nand not\n{output}",
                    lines.join("\n")
                );
            }
        }
    }
}

#[test]
fn wildcards_match_what_they_should() {
    assert!(line_matches("a [..] c", "a b b c"));
    assert!(line_matches("[..]", ""));
    assert!(!line_matches("a [..] c", "a b"));
    assert!(matches(&["a", "...", "c[..]"], &["a", "b", "b", "cc"]));
    assert!(!matches(&["a"], &["a", "b"]));
    assert!(!matches(&[], &["a"]));
    let step = Step::Command {
        line: 3,
        text: "cat <<E\nx".into(),
        output: "x\n".into(),
    };
    assert_eq!(steps("text\n```console\n$ cat <<E\n> x\nx\n```\n"), [step]);
}
