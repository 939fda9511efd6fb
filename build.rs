//! Compiles PID 1 of the initrd, which the library embeds.
//!
//! It is compiled by hand, as a crate of its own without std or libc, because
//! Cargo knows no way to embed one binary in another on stable Rust; and always
//! optimised, because without that it does not link.  Packagers can name one
//! that is ready made in `FREEZEDRY_INIT`.
#![allow(clippy::print_stdout)] // the way to talk to Cargo

use std::path::PathBuf;
use std::process::Command;

fn main() {
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

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| fail(&format!("Cargo does not set {name}")))
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    // Cargo shows the line above; there is nothing to go on with.
    #[allow(clippy::exit, clippy::disallowed_methods)]
    std::process::exit(1)
}
