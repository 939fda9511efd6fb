//! The tests by what a user does; unit tests lie beside the code.
// Failing is what tests are for.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unnecessary_debug_formatting,
    clippy::unwrap_used
)]

mod author;
mod boot;
mod boot_background;
mod boot_kept;
mod boot_options;
mod check;
mod databases;
mod downloads;
mod dpkg;
mod examples;
mod guide;
mod helper4;
mod image;
mod inspect;
mod installed;
mod libguestfs;
mod lifecycle;
mod lint;
mod packages;
mod prepare;
mod reference;
mod rpm_database;
mod rpm_formats;
mod self_packaging;
mod signing;
mod source_builds;
mod source_packages;
mod supermin;
mod supermin_cache;
mod supermin_rpm;
mod support;
mod system;

/// A file that nobody mentions above would never be run.
#[test]
fn no_test_file_is_forgotten() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let this = std::fs::read_to_string(here.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            assert!(
                this.contains(&format!("mod {name};")),
                "tests/main.rs lacks `mod {name};`"
            );
        }
    }
}
