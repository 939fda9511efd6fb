//! Compiles PID 1 of the initrd, which the library embeds, and lists the
//! examples, which it embeds too.
//!
//! PID 1 is compiled by hand, as a crate of its own without std or libc, because
//! Cargo knows no way to embed one binary in another on stable Rust; and always
//! optimised, because without that it does not link.  Packagers can name one
//! that is ready made in `FREEZEDRY_INIT`.
// Printing is the way to talk to Cargo.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unnecessary_debug_formatting
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    list_examples();
    println!("cargo::rerun-if-changed=init");
    println!("cargo::rerun-if-env-changed=FREEZEDRY_INIT");
    let out = PathBuf::from(variable("OUT_DIR")).join("init");
    if let Some(ready) = std::env::var_os("FREEZEDRY_INIT") {
        if let Err(error) = std::fs::copy(&ready, &out) {
            fail(&format!(
                "cannot copy FREEZEDRY_INIT={}: {error}",
                ready.display()
            ));
        }
        return;
    }
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    if architecture != "x86_64" {
        fail(&format!(
            "PID 1 of the initrd is written for x86_64, not yet for {architecture}; \
             name a ready-made one in FREEZEDRY_INIT"
        ));
    }
    let status = Command::new(variable("RUSTC"))
        .args([
            "init/main.rs",
            "--crate-name=init",
            "--crate-type=bin",
            "--edition=2024",
        ])
        .arg("--target")
        .arg(variable("TARGET"))
        .args([
            "-Copt-level=z",
            "-Clto=fat",
            "-Ccodegen-units=1",
            "-Cpanic=abort",
        ])
        .args(["-Cstrip=symbols", "-Crelocation-model=static"])
        .arg("-Clink-args=-nostartfiles -nostdlib -static -no-pie -Wl,--gc-sections")
        .arg("-Clink-args=-Wl,--build-id=none -Wl,-z,noseparate-code")
        .arg("-o")
        .arg(&out)
        .env("FREEZEDRY_VERSION", variable("CARGO_PKG_VERSION"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("compiling init/main.rs failed: {status}")),
        Err(error) => fail(&format!("cannot run rustc: {error}")),
    }
}

/// Writes the table that src/examples.rs includes: each folder of `examples/`
/// with its files.
fn list_examples() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("examples");
    println!("cargo::rerun-if-changed=examples");
    let mut table =
        "/// Every example, sorted by name.\npub static ALL: &[Example] = &[\n".to_owned();
    for folder in sorted(&root) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut files = String::new();
        walk(&folder, &mut |path| {
            let inside = path.strip_prefix(&folder).unwrap_or(path);
            let mode = path.metadata().map_or(0, |meta| meta.permissions().mode());
            files.push_str(&format!(
                "File {{ path: {inside:?}, executable: {}, content: include_bytes!({path:?}) }},\n",
                mode & 0o100 != 0
            ));
        });
        if folder.join("appliance.yaml").is_file() {
            table.push_str(&format!(
                "Example {{ name: {name:?}, files: &[\n{files}] }},\n"
            ));
        }
    }
    table.push_str("];\n");
    let out = PathBuf::from(variable("OUT_DIR")).join("examples.rs");
    if let Err(error) = std::fs::write(&out, table) {
        fail(&format!("cannot write {}: {error}", out.display()));
    }
}

fn walk(folder: &Path, found: &mut dyn FnMut(&Path)) {
    for path in sorted(folder) {
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_dir() {
            walk(&path, found);
        } else {
            found(&path);
        }
    }
}

/// What is in `folder`; nothing if it cannot be listed.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| fail(&format!("Cargo does not set {name}")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    // Cargo shows the line above; there is nothing to go on with.
    #[allow(clippy::exit, clippy::disallowed_methods)]
    std::process::exit(1)
}
