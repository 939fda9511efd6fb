//! What is generated from one definition: the schema, manual pages,
//! completions, help.

use crate::support::{both, compare, freezedry, named, require, run, skip, source};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn the_schema_that_is_checked_in_is_current() {
    let now = run(freezedry().arg("schema"));
    let checked_in =
        std::fs::read_to_string(source("specs/appliance.schema.json")).unwrap_or_default();
    assert!(
        now == checked_in,
        "renew it: cargo run -q -- schema > specs/appliance.schema.json"
    );
}

/// Mistakes that a schema of one value at a time cannot express.
const BEYOND_THE_SCHEMA: [(&str, &str); 16] = [
    ("boot-memory-too-little", "it compares sizes"),
    ("boot-ports-without-network", "it concerns two keys"),
    ("changelog-no-such-day", "it knows the calendar"),
    ("changelog-oldest-first", "it compares entries"),
    ("duplicate-key", "it is a mistake of YAML"),
    ("engine-supermin-needs-freezedry", "it concerns two keys"),
    ("file-source-directory", "it looks at the file system"),
    ("file-source-missing", "it looks at the file system"),
    ("file-source-outside", "it looks at the file system"),
    ("file-twice", "it compares entries"),
    ("obsoletes-rich", "what is legal depends on the key"),
    ("provides-range", "what is legal depends on the key"),
    ("rich-malformed", "it counts parentheses"),
    ("yaml-not-utf8-safe", "it is a mistake of YAML"),
    ("yaml-tab", "it is a mistake of YAML"),
    ("yaml-two-documents", "it is a mistake of YAML"),
];

const VALIDATE: &str = "
import json, jsonschema, sys
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for name, instance in json.load(sys.stdin):
    errors = [error.message for error in validator.iter_errors(instance)]
    print(json.dumps([name, errors]))
";

/// What python3-jsonschema finds wrong with each description.
fn validate(descriptions: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    let instances: Vec<(&String, Value)> = descriptions
        .iter()
        .filter_map(|(name, text)| Some((name, serde_yaml::from_str(text).ok()?)))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("instances.json");
    std::fs::write(&input, serde_json::to_vec(&instances).unwrap()).unwrap();
    let answers = run(Command::new("python3")
        .args(["-c", VALIDATE])
        .arg(source("specs/appliance.schema.json"))
        .stdin(std::fs::File::open(input).unwrap()));
    answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_schema_accepts_what_is_good_and_rejects_what_it_can_see() {
    let python = Command::new("python3")
        .args(["-c", "import jsonschema"])
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        skip("Python's module `jsonschema` is missing");
        return;
    }
    let read = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (
            name,
            String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
        )
    };
    let dir = tempfile::tempdir().unwrap();
    run(freezedry().args(["new", "start"]).current_dir(dir.path()));
    let mut good = named("tests/host-descriptions", "yaml");
    good.push(dir.path().join("start/appliance.yaml"));
    let examples = source("examples").read_dir().unwrap();
    good.extend(examples.map(|entry| entry.unwrap().path().join("appliance.yaml")));
    let mut good: Vec<_> = good.iter().map(|path| read(path)).collect();
    let readme = std::fs::read_to_string(source("README.md")).unwrap();
    let yaml = readme
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    good.push(("README".into(), yaml.into()));
    let number = good.len();
    let verdicts = validate(&good);
    assert_eq!(verdicts.len(), number);
    for (name, errors) in verdicts {
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }

    let bad: Vec<_> = named("tests/descriptions", "yaml")
        .iter()
        .map(|path| read(path))
        .collect();
    let mut accepted: Vec<String> = validate(&bad)
        .into_iter()
        .filter_map(|(name, errors)| errors.is_empty().then_some(name))
        .collect();
    accepted.retain(|name| !BEYOND_THE_SCHEMA.iter().any(|(known, _)| known == name));
    assert_eq!(accepted, [""; 0], "the schema accepts these");
}

#[test]
fn manual_pages_are_clean_and_there_is_one_for_each_command() {
    if !require(&["man"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    run(freezedry().arg("man").arg(dir.path()));
    let help = run(freezedry().arg("--help"));
    let commands = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let mut pages = vec!["freezedry.1".to_owned(), "appliance.yaml.5".into()];
    // Deeper lines go on with the description of the command before.
    let names = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    pages.extend(
        names
            .filter(|name| !name.is_empty() && *name != "help")
            .map(|name| format!("freezedry-{name}.1")),
    );
    assert!(pages.len() > 8, "{pages:?}");
    for page in pages {
        let path = dir.path().join(&page);
        let output = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(&path)
            .env("MANROFFSEQ", "")
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{page}: {}",
            both(&output)
        );
        assert!(output.stdout.len() > 300, "{page}: {}", both(&output));
        if require(&["mandoc"]) {
            run(Command::new("mandoc")
                .args(["-T", "lint", "-W", "error"])
                .arg(&path));
        }
    }
    let manual = std::fs::read_to_string(dir.path().join("appliance.yaml.5")).unwrap();
    let schema: Value = serde_json::from_str(&run(freezedry().arg("schema"))).unwrap();
    for key in schema["properties"].as_object().unwrap().keys() {
        assert!(manual.contains(&format!("\\fB{key}\\fR (")), "{key}");
    }
}

#[test]
fn completions_work_in_each_shell_that_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let file = |shell: &str| {
        let path = dir.path().join(shell);
        std::fs::write(&path, run(freezedry().args(["completions", shell]))).unwrap();
        path
    };
    let bash = "source \"$0\"; COMP_WORDS=(freezedry reh); COMP_CWORD=1; \
                _freezedry freezedry reh freezedry; echo \"${COMPREPLY[@]}\"";
    if require(&["bash"]) {
        let said = run(Command::new("bash").args(["-euc", bash]).arg(file("bash")));
        assert_eq!(said.trim(), "rehydrate");
    }
    if require(&["zsh"]) {
        // A completion of zsh can only run at a prompt; that it loads and
        // registers is what a script can see.
        let zsh = "autoload -U compinit; compinit -u -d \"$0.dump\"; source \"$0\"; echo ${_comps[freezedry]}";
        let said = run(Command::new("zsh").args(["-fc", zsh]).arg(file("zsh")));
        assert_eq!(said.trim(), "_freezedry");
    }
    if require(&["fish"]) {
        let fish = format!(
            "source {}; complete -C 'freezedry reh'",
            file("fish").display()
        );
        let said = run(Command::new("fish")
            .args(["--no-config", "-c", &fish])
            .env("HOME", dir.path()));
        assert!(said.starts_with("rehydrate\t"), "{said}");
    }
}

/// docs/reference/COMMAND.txt is what `freezedry COMMAND --help` says.
#[test]
fn the_help_that_is_checked_in_is_current() {
    let help = |arguments: &[&str]| {
        run(freezedry()
            .args(arguments)
            .arg("--help")
            .env_remove("COLUMNS"))
    };
    let main = help(&[]);
    let mut wrong = Vec::new();
    compare(&source("docs/reference/freezedry.txt"), &main, &mut wrong);
    let commands = main
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let mut expected = vec!["freezedry".to_owned()];
    for name in commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
    {
        if name.is_empty() || name == "help" {
            continue;
        }
        let file = source("docs/reference").join(format!("{name}.txt"));
        compare(&file, &help(&[name]), &mut wrong);
        expected.push(name.to_owned());
    }
    assert!(
        wrong.is_empty(),
        "renew them: BLESS=1 cargo test --test end_to_end reference::the_help\n{}",
        wrong.join("\n")
    );
    for path in named("docs/reference", "txt") {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            expected.contains(&name),
            "{path:?} is of no command; remove it"
        );
    }
}
