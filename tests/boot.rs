//! boot-NAME with a real qemu: what a user sees, whichever engine is there.

use crate::support::appliance::{Appliance, Engine, finish, qemus, wait_for};
use crate::support::{both, freezedry, skip};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Output, Stdio};

const SMALL: &str =
    "packages: [bash, coreutils]\nboot: {memory: 256M, init: \"echo default; exit 3\"}\n";

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command in the guest does, and what has to come out of it.
fn behaves(engine: Engine) {
    let Some(appliance) = Appliance::new("small", SMALL, engine) else {
        return;
    };
    // Status, standard output and standard error, for words and input.
    let cases: &[(&[&str], &str, i32, &str, &str)] = &[
        (&[], "", 3, "default\n", ""),
        (&["true"], "", 0, "", ""),
        (
            &[
                "sh",
                "-c",
                "printf 'no line end'; printf 'oops' >&2; exit 7",
            ],
            "",
            7,
            "no line end",
            "oops",
        ),
        (&["sh", "-c", "echo; echo; exit 255"], "", 255, "\n\n", ""),
        (&["sh", "-c", "kill -9 $$"], "", 137, "", ""),
        (&["cat"], "line\n\nanother", 0, "line\n\nanother", ""),
        (
            &[
                "printf",
                "[%s]",
                "two words",
                "it's",
                "\"$HOME\" `id` \\",
                "",
                "a\nb",
            ],
            "",
            0,
            "[two words][it's][\"$HOME\" `id` \\][][a\nb]",
            "",
        ),
    ];
    for (words, input, code, out, err) in cases {
        let output = appliance.run(words, input.as_bytes());
        assert_eq!(
            output.status.code(),
            Some(*code),
            "{words:?}: {}",
            both(&output)
        );
        assert_eq!(stdout(&output), *out, "{words:?}: {}", both(&output));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            *err,
            "{words:?}: {}",
            both(&output)
        );
    }
    let output = appliance.run(&["no-such-command"], b"");
    assert_eq!(output.status.code(), Some(127), "{}", both(&output));
    assert!(
        both(&output).contains("no-such-command: not found"),
        "{}",
        both(&output)
    );
    let output = appliance.run(&["/etc"], b"");
    assert_eq!(output.status.code(), Some(126), "{}", both(&output));
    assert!(qemus(appliance.dir.path()).is_empty());
}

#[test]
fn commands_behave_with_freezedry() {
    behaves(Engine::Freezedry);
}

#[test]
fn commands_behave_with_stock_supermin_and_qemu() {
    behaves(Engine::Stock);
}

#[test]
fn the_readme_s_box_prints_42() {
    let readme = include_str!("../README.md");
    let text = readme
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    if !std::path::Path::new("/usr/bin/python3").exists() {
        skip("python3 is not installed with the system's package manager");
        return;
    }
    let Some(appliance) = Appliance::of("box", text, Engine::Freezedry) else {
        return;
    };
    let output = appliance.run(&[], b"");
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "42\n"),
        "{}",
        both(&output)
    );
}

#[test]
fn binary_data_passes_both_ways_untouched() {
    let Some(appliance) = Appliance::new("binary", SMALL, Engine::Freezedry) else {
        return;
    };
    let input: Vec<u8> = (0..1_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let output = appliance.run(&["cat"], &input);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(
        output.stdout == input,
        "{} bytes came back",
        output.stdout.len()
    );
}

#[test]
fn a_command_that_does_not_read_its_endless_input_ends() {
    let Some(appliance) = Appliance::new("endless", SMALL, Engine::Freezedry) else {
        return;
    };
    let mut boot = appliance.boot();
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let output = boot
        .args(["--", "echo", "done"])
        .stdin(zero)
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "done\n", "{}", both(&output));
}

/// Starts a guest that sleeps, and ends its boot-NAME with `signal`.
fn ended_by(engine: Engine, signal: Signal) -> Option<i32> {
    let appliance = Appliance::new("ended", SMALL, engine)?;
    let script = "echo up; sleep 1000";
    let mut boot = appliance.boot();
    let mut child = boot
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("qemu", || !qemus(appliance.dir.path()).is_empty());
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    wait_for("qemu to end", || qemus(appliance.dir.path()).is_empty());
    status.code()
}

#[test]
fn no_qemu_is_left_behind_whatever_ends_boot() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        if let Some(ended) = Some(ended_by(Engine::Freezedry, signal)).flatten() {
            assert_eq!(ended, code, "{signal:?}");
        }
    }
    // Nothing can be done before this one, and there is no exit status.
    ended_by(Engine::Freezedry, Signal::KILL);
}

#[test]
fn no_qemu_is_left_behind_with_stock_tools() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        if let Some(ended) = Some(ended_by(Engine::Stock, signal)).flatten() {
            assert_eq!(ended, code, "{signal:?}");
        }
    }
    ended_by(Engine::Stock, Signal::KILL);
}

#[test]
fn a_guest_that_dies_is_125_with_the_reason_in_the_last_line() {
    let Some(appliance) = Appliance::new("dying", SMALL, Engine::Freezedry) else {
        return;
    };
    let output = appliance.run(&["sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60"], b"");
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().last().unwrap();
    assert!(
        last.contains("the guest ended before its command did"),
        "{said}"
    );
    assert!(
        last.contains("Kernel panic - not syncing: sysrq triggered crash"),
        "{said}"
    );
}

#[test]
fn an_appliance_without_a_shell_says_so() {
    let Some(appliance) = Appliance::new("bare", SMALL, Engine::Freezedry) else {
        return;
    };
    let output = finish(
        freezedry()
            .args(["boot", "--accel=tcg", "--name=bare-of-all"])
            .arg(bare_skeleton(&appliance))
            .args(["--", "true"])
            .env("FREEZEDRY_CACHE_DIR", appliance.cache()),
        b"",
    );
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("cannot run /init of the appliance: no such file or directory"),
        "{said}"
    );
    assert!(
        said.contains("is the interpreter in its first line there"),
        "{said}"
    );
}

/// A skeleton whose `/init` has no interpreter.
fn bare_skeleton(appliance: &Appliance) -> std::path::PathBuf {
    let skeleton = appliance.dir.path().join("bare.d");
    std::fs::create_dir(&skeleton).unwrap();
    let member = freezedry::skeleton::Member::file("/init", 0o755, 0, *b"#!/bin/sh\n");
    std::fs::write(
        skeleton.join("init.tar.gz"),
        freezedry::skeleton::pack(&[member]).unwrap(),
    )
    .unwrap();
    skeleton
}

#[test]
fn kvm_that_does_not_work_is_found_out_by_itself() {
    let Some(appliance) = Appliance::new("nokvm", SMALL, Engine::Freezedry) else {
        return;
    };
    // Pretend that the probe had found KVM to work; on a machine where it does,
    // this shows that it is used.
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::create_dir_all(appliance.cache()).unwrap();
    let memory = appliance.cache().join("kvm");
    std::fs::write(&memory, format!("{boot_id}works\n")).unwrap();
    let output = finish(
        appliance
            .boot()
            .args(["--accel=auto", "--timing", "--", "echo", "up"]),
        b"",
    );
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "up\n"),
        "{}",
        both(&output)
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("(TCG)") {
        assert!(
            said.lines()
                .next()
                .unwrap()
                .starts_with("freezedry: not using KVM: "),
            "{said}"
        );
        assert!(!std::fs::read_to_string(&memory).unwrap().contains("works"));
    } else {
        assert!(said.contains("(KVM)"), "{said}");
    }
}

#[test]
fn a_missing_qemu_is_said_with_the_package_to_install() {
    let Some(appliance) = Appliance::new("noqemu", SMALL, Engine::Freezedry) else {
        return;
    };
    let skeleton = appliance
        .dir
        .path()
        .join("root/usr/share/freezedry/noqemu/supermin.d");
    let output = freezedry()
        .arg("boot")
        .arg(skeleton)
        .args(["--accel=tcg", "--", "true"])
        .env("FREEZEDRY_CACHE_DIR", appliance.cache())
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", both(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.starts_with(
            "freezedry: qemu is not installed; install it: apt install qemu-system-x86"
        ),
        "{said}"
    );
}

#[test]
fn the_cache_is_used_until_something_that_matters_changes() {
    let Some(appliance) = Appliance::new("cached", SMALL, Engine::Freezedry) else {
        return;
    };
    let said = |arguments: &[&str]| {
        let output = finish(
            appliance
                .boot()
                .arg("-v")
                .args(arguments)
                .args(["--", "true"]),
            b"",
        );
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&[]).contains("rehydrated, because there was none yet"));
    assert!(said(&[]).contains("the appliance in the cache is fresh"));
    assert!(said(&["--module=fuse"]).contains("rehydrated, because what goes into it has changed"));
    let made = appliance.cache().join("v1/cached/appliance");
    std::fs::write(made.join("initrd"), "").unwrap();
    assert!(
        said(&["--module=fuse"]).contains("rehydrated, because the one in the cache is damaged")
    );
    assert!(
        said(&["--rebuild", "--module=fuse"]).contains("rehydrated, because there was none yet")
    );
    let copied =
        std::os::unix::fs::MetadataExt::blocks(&made.join("root").metadata().unwrap()) * 512;
    assert!(
        copied < 100_000_000,
        "rehydrating a small appliance took {copied} bytes"
    );
}

#[test]
fn a_slow_reader_gets_every_byte() {
    let Some(appliance) = Appliance::new("slow", SMALL, Engine::Freezedry) else {
        return;
    };
    let mut boot = appliance.boot();
    boot.args(["--", "sh", "-c", "head -c 1000000 /dev/zero; exit 5"]);
    let child = boot
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Longer than the guest needs to end: what it wrote waits on the way.
    wait_for("qemu", || !qemus(appliance.dir.path()).is_empty());
    std::thread::sleep(std::time::Duration::from_secs(8));
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(5), 1_000_000)
    );
}

#[test]
fn several_boots_at_once_make_the_appliance_once_and_do_not_wait_for_each_other() {
    let Some(appliance) = Appliance::new("many", SMALL, Engine::Freezedry) else {
        return;
    };
    let start = || {
        let mut boot = appliance.boot();
        boot.args(["-v", "--", "sh", "-c", "echo up; read -r line; echo $line"]);
        let streams = boot
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        streams.spawn().unwrap()
    };
    let mut guests = [start(), start(), start()];
    // All are up at the same time: each waits for a line.
    let count = || qemus(appliance.dir.path()).len();
    wait_for("three guests", || count() == 3);
    let mut outputs = Vec::new();
    for guest in &mut guests {
        std::io::Write::write_all(guest.stdin.as_mut().unwrap(), b"go on\n").unwrap();
    }
    for guest in guests {
        outputs.push(guest.wait_with_output().unwrap());
    }
    let made = outputs
        .iter()
        .filter(|output| both(output).contains("rehydrated, because"))
        .count();
    assert_eq!(made, 1);
    for output in &outputs {
        assert_eq!(stdout(output), "up\ngo on\n", "{}", both(output));
    }
}

#[test]
fn a_terminal_becomes_the_guest_s_console() {
    use std::io::{Read, Write};
    let shell = "packages: [bash, coreutils, util-linux]\nboot: {memory: 256M}\n";
    let Some(appliance) = Appliance::new("console", shell, Engine::Freezedry) else {
        return;
    };
    let mut boot = appliance.boot();
    let mut child = boot
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut console = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut read_until = |mark: &str| {
        let mut byte = [0; 1];
        while !String::from_utf8_lossy(&seen).contains(mark) {
            assert_eq!(
                console.read(&mut byte).unwrap(),
                1,
                "{}",
                String::from_utf8_lossy(&seen)
            );
            seen.push(byte[0]);
        }
    };
    read_until("# ");
    stdin
        .write_all(b"echo $((6 * 7)); test -t 0 && echo a-terminal\n")
        .unwrap();
    read_until("\r\n42\r\n");
    read_until("\r\na-terminal\r\n");
    stdin.write_all(b"exit\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
