//! `freezedry check`: what it says of bad descriptions, to the letter.

use crate::support::{both, freezedry};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/descriptions")
}

/// Each `tests/descriptions/NAME.yaml` gets exactly the message in `NAME.txt`.
/// After an intended change run the test with `BLESS=1` and read the difference.
#[test]
fn bad_descriptions_get_exactly_these_messages() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut names: Vec<_> = folder()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    names.sort();
    assert!(names.len() >= 30);
    let mut wrong = Vec::new();
    for path in &names {
        let name = path.file_name().unwrap();
        let output = freezedry()
            .arg("check")
            .arg(name)
            .current_dir(folder())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{name:?}: {}", both(&output));
        assert!(output.stdout.is_empty(), "{name:?}: {}", both(&output));
        let expected = path.with_extension("txt");
        if bless {
            std::fs::write(&expected, &output.stderr).unwrap();
        } else if std::fs::read(&expected).ok().as_deref() != Some(&output.stderr[..]) {
            wrong.push(format!(
                "{name:?} says:\n{}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "run with BLESS=1 if this is meant:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_message_is_left_without_its_description() {
    for entry in folder().read_dir().unwrap() {
        let path = entry.unwrap().path();
        assert!(
            path.with_extension("yaml").exists(),
            "{path:?} belongs to nothing"
        );
    }
}

#[test]
fn every_example_is_good_and_check_says_nothing() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in examples.read_dir().unwrap() {
        let path = entry.unwrap().path().join("appliance.yaml");
        let output = freezedry().arg("check").arg(&path).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{path:?}: {}",
            both(&output)
        );
    }
}

pub(crate) fn readme_description() -> String {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let rest = readme.split("```yaml\n").nth(1).unwrap();
    rest.split("```").next().unwrap().to_owned()
}

#[test]
fn the_readme_s_description_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("box.yaml");
    std::fs::write(&path, readme_description()).unwrap();
    let output = freezedry().arg("check").arg(&path).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        both(&output)
    );
}

#[test]
fn a_missing_file_is_a_problem_and_wrong_usage_is_2() {
    let output = freezedry()
        .args(["check", "/nowhere.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("error: cannot read the description `/nowhere.yaml`: No such file"),
        "{said}"
    );
    assert_eq!(
        freezedry().arg("check").output().unwrap().status.code(),
        Some(2)
    );
    assert_eq!(
        freezedry()
            .arg("frobnicate")
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        freezedry().arg("boot").output().unwrap().status.code(),
        Some(125)
    );
}

mod garbage {
    use freezedry::description;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics(text in "[-a-z:#{}\\[\\],&*!|>'\"%@ \n\t0-9]{0,200}") {
            let _ = description::parse(&text, "x", std::path::Path::new("/nowhere"));
        }

        #[test]
        fn in_known_keys_never_panics(
            key in prop_oneof![
                Just("name"), Just("packages"), Just("files"), Just("boot"), Just("changelog"), Just("epoch"),
            ],
            value in "[ -~é\n]{0,60}",
        ) {
            let text = format!("{key}: {value}\n");
            if let Err(problems) = description::parse(&text, "x", std::path::Path::new("/nowhere")) {
                prop_assert!(!problems.render(false).is_empty());
            }
        }
    }
}
