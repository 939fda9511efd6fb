//! The distributions' linters.  Whatever they can say has to be listed here or
//! in `tests/rpmlint.toml`, with its reason, or it is a failure.

use super::{both, source};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Tags of lintian for packages that are not meant for Debian's own archive.
const LINTIAN: [&str; 4] = [
    // There is no request for packaging that it could close.
    "initial-upload-closes-no-bugs",
    // An appliance need not have a home page.
    "no-homepage-field",
    // Its source is made with the package: there is no place to watch for
    // another, and no upstream project to say more about.
    "debian-watch-file-is-missing",
    "upstream-metadata-file-is-missing",
];

/// What lintian says of `.deb`, `.dsc` and `.changes` files: informational,
/// pedantic and experimental tags are as bad as errors.
pub(crate) fn lintian(files: &[PathBuf]) -> Output {
    let mut lintian = Command::new("lintian");
    lintian
        .args([
            "--allow-root",
            "--display-info",
            "--display-experimental",
            "--pedantic",
        ])
        .args(["--fail-on", "error,warning,info,pedantic,experimental"])
        .args(["--suppress-tags", &LINTIAN.join(",")])
        .args(files);
    lintian.output().unwrap()
}

pub(crate) fn lintian_finds_nothing(files: &[PathBuf]) {
    assert!(!files.is_empty());
    let output = lintian(files);
    let silent = output.stdout.is_empty() && output.stderr.is_empty();
    assert!(output.status.success() && silent, "{}", both(&output));
}

/// What rpmlint says of `.rpm` and `.spec` files.
pub(crate) fn rpmlint(files: &[PathBuf]) -> Output {
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--config").arg(source("tests/rpmlint.toml"));
    rpmlint.args(files).output().unwrap()
}

pub(crate) fn rpmlint_finds_nothing(files: &[PathBuf]) {
    assert!(!files.is_empty());
    let is_source = |path: &&PathBuf| path.to_string_lossy().ends_with(".src.rpm");
    let (sources, others): (Vec<_>, Vec<_>) = files.iter().partition(is_source);
    // rpmlint 2.4 takes the spec files of several source packages for one's.
    let mut groups: Vec<Vec<&PathBuf>> = sources.into_iter().map(|path| vec![path]).collect();
    groups.extend((!others.is_empty()).then_some(others));
    for group in groups {
        let specs = group.iter().filter(|path| is_spec(path)).count();
        let group: Vec<PathBuf> = group.into_iter().cloned().collect();
        let output = rpmlint(&group);
        let end = format!(
            " {} packages and {specs} specfiles checked; 0 errors, 0 warnings, ",
            group.len() - specs
        );
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(&end),
            "{}",
            both(&output)
        );
    }
}

fn is_spec(path: &Path) -> bool {
    path.extension().is_some_and(|own| own == "spec")
}
