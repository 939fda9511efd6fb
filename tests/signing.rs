//! Signing, with keys made for the test alone and the real tools as judges.

use crate::support::lint::lintian_finds_nothing;
use crate::support::signing::{Bench, RSA};
use crate::support::{both, require, run};
use std::path::Path;
use std::process::{Command, Output};

/// rpm's own verdict, with nothing in its keyring but `key`.
fn rpm_says(bench: &Bench, key: Option<&Path>, package: &Path) -> Output {
    let database = bench.dir.path().join("rpmdb");
    let _ = std::fs::remove_dir_all(&database);
    std::fs::create_dir(&database).unwrap();
    // Read by the rpmkeys that freezedry runs too.
    let macros = format!("%_dbpath {}\n", database.display());
    std::fs::write(bench.dir.path().join(".rpmmacros"), macros).unwrap();
    let rpmkeys = || {
        let mut rpmkeys = Command::new("rpmkeys");
        rpmkeys.env("HOME", bench.dir.path()).env("LC_ALL", "C");
        rpmkeys
    };
    if let Some(key) = key {
        run(rpmkeys().arg("--import").arg(key));
    }
    rpmkeys().arg("-Kv").arg(package).output().unwrap()
}

#[test]
fn rpm_accepts_the_signature_of_every_kind_of_key() {
    let Some(bench) = Bench::new() else { return };
    if !require(&["rpmkeys", "rpm"]) {
        return;
    }
    bench.key(RSA, "rsa2048", "never", "");
    let unsigned = std::fs::read(bench.rpm()).unwrap();
    for (user, algorithm, tag) in [
        ("ed@example.org", "EdDSA", "DSAHEADER"),
        ("rsa@example.org", "RSA", "RSAHEADER"),
    ] {
        // The second signature replaces the first.
        let output = bench.sign(user, &bench.rpm());
        assert!(output.status.success(), "{}", both(&output));
        let key = bench.export(user);
        let said = rpm_says(&bench, Some(&key), &bench.rpm());
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.status.success(), "{}", both(&said));
        assert!(
            text.contains(&format!("Header V4 {algorithm}/SHA256 Signature, key ID ")),
            "{text}"
        );
        assert!(
            text.lines().skip(1).all(|line| line.ends_with(": OK")),
            "{text}"
        );
        assert_eq!(text.matches("Signature").count(), 1, "{text}");
        let query = |format: &str| {
            run(Command::new("rpm")
                .args(["-qp", "--nosignature", "--qf", format])
                .arg(bench.rpm()))
        };
        assert_ne!(query(&format!("%{{{tag}}}")), "(none)");

        let text = run(bench
            .freezedry()
            .args(["inspect", "--json"])
            .arg(bench.rpm()));
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let signature = &report["signatures"][0];
        assert_eq!(signature["verdict"], "good");
        assert_eq!(signature["checked_by"], "rpmkeys");
        assert_eq!(signature["algorithm"], algorithm);
        let listed = run(bench.gpg().args(["--with-colons", "--list-keys", user]));
        assert!(
            listed.contains(&format!(
                "fpr:::::::::{}:",
                signature["key"].as_str().unwrap()
            )),
            "{listed}"
        );
        // rpm does not have the key, but the user does.
        let said = rpm_says(&bench, None, &bench.rpm());
        assert!(
            String::from_utf8_lossy(&said.stdout).contains(": NOKEY"),
            "{}",
            both(&said)
        );
        let text = run(bench.freezedry().arg("inspect").arg(bench.rpm()));
        assert!(text.contains(": good (gpg)\n"), "{text}");
        // Nobody does.
        let mut command = bench.freezedry();
        let empty = tempfile::tempdir().unwrap();
        let text = run(command
            .env("GNUPGHOME", empty.path())
            .arg("inspect")
            .arg(bench.rpm()));
        assert!(
            text.contains(": not checked: this host does not have the key"),
            "{text}"
        );
    }
    // Header and payload are what they were.
    let signed = std::fs::read(bench.rpm()).unwrap();
    let tail = &unsigned[unsigned.len() - 8000..];
    assert!(signed.ends_with(tail));
}

#[test]
fn a_signature_of_something_else_is_bad() {
    let Some(bench) = Bench::new() else { return };
    if !require(&["rpmkeys"]) {
        return;
    }
    assert!(bench.sign("ed@example.org", &bench.rpm()).status.success());
    let mut bytes = std::fs::read(bench.rpm()).unwrap();
    let at = bytes
        .windows(12)
        .rposition(|window| window == b"Virtual mach")
        .unwrap();
    bytes[at] = b'v';
    std::fs::write(bench.rpm(), &bytes).unwrap();
    let key = bench.export("ed@example.org");
    assert!(!rpm_says(&bench, Some(&key), &bench.rpm()).status.success());
    let output = bench
        .freezedry()
        .arg("inspect")
        .arg(bench.rpm())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("BAD: it is not of this package"), "{text}");
    // And nobody signs what is damaged.
    let refusal = Bench::refusal(&bench.sign("ed@example.org", &bench.rpm()));
    assert!(refusal.contains("is damaged: header: "), "{refusal}");
}

#[test]
fn dscverify_and_lintian_accept_the_changes() {
    let Some(bench) = Bench::new() else { return };
    if !require(&["dscverify", "lintian"]) {
        return;
    }
    let names = [
        "hello-vm_1.0-1_amd64.changes",
        "hello-vm_1.0-1_amd64.buildinfo",
    ];
    // A .dsc among them, whose digest the .changes lists.
    let dsc = bench.file("hello-vm_1.0-1.dsc");
    std::fs::write(
        &dsc,
        "Format: 3.0 (native)\nSource: hello-vm\nVersion: 1.0-1\nFiles:\n",
    )
    .unwrap();
    let changes = bench.file(names[0]);
    let text = std::fs::read_to_string(&changes).unwrap();
    let zeros = |digits| "0".repeat(digits);
    let text = text
        .replace(
            "Sha1:\n",
            &format!("Sha1:\n {} 1 hello-vm_1.0-1.dsc\n", zeros(40)),
        )
        .replace(
            "Sha256:\n",
            &format!("Sha256:\n {} 1 hello-vm_1.0-1.dsc\n", zeros(64)),
        )
        .replace(
            "Files:\n",
            &format!(
                "Files:\n {} 1 misc optional hello-vm_1.0-1.dsc\n",
                zeros(32)
            ),
        );
    std::fs::write(&changes, text).unwrap();
    // Twice: an old signature is replaced.  The order of the files is ours.
    for _ in 0..2 {
        let mut sign = bench.freezedry();
        sign.env("FREEZEDRY_SIGN_KEY", "ed@example.org").arg("sign");
        run(sign.args(names.map(|name| bench.file(name))).arg(&dsc));
        run(Command::new("dscverify")
            .env("HOME", bench.dir.path())
            .arg("--keyring")
            .arg(bench.home().join("pubring.kbx"))
            .arg(&changes));
        for name in names {
            run(bench.gpg().arg("--verify").arg(bench.file(name)));
        }
    }
    let [changes, _] = names.map(|name| {
        let text = std::fs::read_to_string(bench.file(name)).unwrap();
        assert_eq!(
            text.matches("BEGIN PGP SIGNED MESSAGE").count(),
            1,
            "{text}"
        );
        bench.file(name)
    });
    // lintian wants a real .dsc, so it sees the package without.
    std::fs::remove_file(&dsc).unwrap();
    let text = std::fs::read_to_string(&changes).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.ends_with("hello-vm_1.0-1.dsc"))
        .collect();
    std::fs::write(&changes, without.join("\n") + "\n").unwrap();
    lintian_finds_nothing(&[changes]);
}

#[test]
fn a_debian_package_with_a_signature_inside() {
    let Some(bench) = Bench::new() else { return };
    if !require(&["dpkg-deb", "ar", "debsig-verify"]) {
        return;
    }
    let refusal = Bench::refusal(&bench.sign("ed@example.org", &bench.deb()));
    assert!(refusal.contains("--embed"), "{refusal}");
    let before = run(Command::new("dpkg-deb").arg("-c").arg(bench.deb()));
    for _ in 0..2 {
        let mut sign = bench.freezedry();
        run(sign
            .args(["sign", "--embed", "--key", "ed@example.org"])
            .arg(bench.deb()));
        let members = run(Command::new("ar").arg("t").arg(bench.deb()));
        assert_eq!(
            members,
            "debian-binary\ncontrol.tar.xz\ndata.tar.xz\n_gpgorigin\n"
        );
        assert_eq!(
            run(Command::new("dpkg-deb").arg("-c").arg(bench.deb())),
            before
        );
    }
    // The judge: a policy that wants this key for the origin.
    let listed = run(bench
        .gpg()
        .args(["--with-colons", "--list-keys", "ed@example.org"]));
    let fingerprint = listed
        .lines()
        .find_map(|line| line.strip_prefix("fpr:::::::::"));
    let fingerprint = fingerprint.unwrap().trim_end_matches(':');
    let id = &fingerprint[fingerprint.len() - 16..];
    let directory = |name: &str| {
        let path = bench.dir.path().join(name).join(id);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let policy = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE Policy SYSTEM \"https://www.debian.org/debsig/1.0/policy.dtd\">\n\
         <Policy xmlns=\"https://www.debian.org/debsig/1.0/\">\n\
         <Origin Name=\"Ed\" id=\"{id}\" Description=\"Ed\"/>\n\
         <Selection><Required Type=\"origin\" File=\"ed.gpg\" id=\"{id}\"/></Selection>\n\
         <Verification MinOptional=\"0\"><Required Type=\"origin\" File=\"ed.gpg\" id=\"{id}\"/></Verification>\n\
         </Policy>\n"
    );
    std::fs::write(directory("policies").join("ed.pol"), policy).unwrap();
    run(bench
        .gpg()
        .args(["--yes", "--output"])
        .arg(directory("keyrings").join("ed.gpg"))
        .args(["--export", "ed@example.org"]));
    let verify = || {
        Command::new("debsig-verify")
            .env("GNUPGHOME", bench.home())
            .arg("--policies-dir")
            .arg(bench.dir.path().join("policies"))
            .arg("--keyrings-dir")
            .arg(bench.dir.path().join("keyrings"))
            .arg(bench.deb())
            .output()
            .unwrap()
    };
    assert!(verify().status.success(), "{}", both(&verify()));
    let text = run(bench.freezedry().arg("inspect").arg(bench.deb()));
    assert!(text.contains("signature     _gpgorigin: EdDSA/"), "{text}");
    assert!(text.contains(": good (gpg)\n"), "{text}");

    // One member is not what was signed.
    let mut bytes = std::fs::read(bench.deb()).unwrap();
    let at = bytes
        .windows(4)
        .position(|window| window == b"2.0\n")
        .unwrap();
    bytes[at + 2] = b'1';
    std::fs::write(bench.deb(), bytes).unwrap();
    assert!(!verify().status.success());
    let output = bench
        .freezedry()
        .arg("inspect")
        .arg(bench.deb())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
}

#[test]
fn package_signs_what_it_writes() {
    let Some(bench) = Bench::new() else { return };
    if !require(&["rpmkeys", "dscverify"]) {
        return;
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-vm/appliance.yaml");
    let out = bench.dir.path().join("signed");
    run(bench
        .freezedry()
        .args(["package", "--format=deb,rpm", "--changes", "--sign", "-o"])
        .arg(&out)
        .arg(&example));
    let key = bench.export("ed@example.org");
    let said = rpm_says(&bench, Some(&key), &out.join("hello-vm-1.0-1.noarch.rpm"));
    assert!(said.status.success(), "{}", both(&said));
    assert!(
        String::from_utf8_lossy(&said.stdout).contains("Signature"),
        "{}",
        both(&said)
    );
    run(Command::new("dscverify")
        .env("HOME", bench.dir.path())
        .arg("--keyring")
        .arg(bench.home().join("pubring.kbx"))
        .arg(out.join("hello-vm_1.0-1_amd64.changes")));
    // With a key that is not there, nothing is written at all.
    let none = bench.dir.path().join("none");
    let output = bench
        .freezedry()
        .args(["package", "--format=rpm", "--sign=nobody@example.org", "-o"])
        .arg(&none)
        .arg(&example)
        .output()
        .unwrap();
    assert!(Bench::refusal(&output).contains("nobody@example.org"));
    assert_eq!(none.read_dir().unwrap().count(), 0);
}

#[test]
fn every_refusal_says_why_and_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.key("Old <old@example.org>", "ed25519", "1d", "");
    bench.key("Locked <locked@example.org>", "ed25519", "never", "secret");
    let before = std::fs::read(bench.rpm()).unwrap();
    assert_eq!(
        Bench::refusal(&bench.sign("nobody@example.org", &bench.rpm())),
        "freezedry: there is no secret key for the key `nobody@example.org`; \
         `gpg --list-secret-keys` shows what there is; name one with --key or in FREEZEDRY_SIGN_KEY"
    );
    assert_eq!(
        Bench::refusal(&bench.sign("old@example.org", &bench.rpm())),
        "freezedry: the key `old@example.org` has expired; \
         extend it with `gpg --quick-set-expire`, or choose another with --key"
    );
    // The question for the passphrase, answered with "cancel".
    let pinentry = bench.dir.path().join("pinentry");
    let text = "#!/bin/sh\necho OK ready\nwhile read -r word rest; do\n\
        case $word in GETPIN) echo 'ERR 83886179 Operation cancelled' ;; BYE) echo OK; exit ;; *) echo OK ;; esac\ndone\n";
    std::fs::write(&pinentry, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&pinentry, mode).unwrap();
    let settings = format!("pinentry-program {}\n", pinentry.display());
    std::fs::write(bench.home().join("gpg-agent.conf"), settings).unwrap();
    let mut end = Command::new("gpgconf");
    run(end
        .env("GNUPGHOME", bench.home())
        .args(["--kill", "gpg-agent"]));
    assert_eq!(
        Bench::refusal(&bench.sign("locked@example.org", &bench.rpm())),
        "freezedry: signing was cancelled at the question for the passphrase; \
         nothing was changed; run the command again"
    );
    // No key at all, and no program at all.
    let empty = tempfile::tempdir().unwrap();
    let mut command = bench.freezedry();
    command
        .env("GNUPGHOME", empty.path())
        .arg("sign")
        .arg(bench.rpm());
    let refusal = Bench::refusal(&command.output().unwrap());
    assert!(
        refusal.contains("gpg has no secret key; `gpg --full-generate-key`"),
        "{refusal}"
    );
    let mut command = bench.freezedry();
    command
        .env("PATH", empty.path())
        .arg("sign")
        .arg(bench.rpm());
    let refusal = Bench::refusal(&command.output().unwrap());
    assert!(
        refusal.contains("neither `gpg` nor `sq` is installed"),
        "{refusal}"
    );
    let refusal = Bench::refusal(&bench.sign("/nowhere/key", &bench.rpm()));
    assert!(
        refusal.contains("there is no file `/nowhere/key` with a key; name"),
        "{refusal}"
    );
    // Something that cannot be signed.
    let text = bench.dir.path().join("text");
    std::fs::write(&text, "x").unwrap();
    let refusal = Bench::refusal(&bench.sign("ed@example.org", &text));
    assert!(
        refusal.contains("is nothing that can be signed"),
        "{refusal}"
    );
    assert_eq!(std::fs::read(bench.rpm()).unwrap(), before);
}

#[test]
fn a_link_stays_one_and_is_the_same_file() {
    let Some(bench) = Bench::new() else { return };
    let link = bench.dir.path().join("link.rpm");
    std::os::unix::fs::symlink(bench.rpm(), &link).unwrap();
    let before = std::fs::read(bench.rpm()).unwrap();
    let mut sign = bench.freezedry();
    sign.arg("sign").arg(&link).arg(bench.rpm()).arg(&link);
    let output = sign.output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(both(&output).matches(": signed ").count(), 1);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(std::fs::read(bench.rpm()).unwrap() != before);
}

/// dscverify would refuse what had been signed.
#[test]
fn digests_of_what_has_changed_since_are_not_signed() {
    let Some(bench) = Bench::new() else { return };
    let changes = bench.file("hello-vm_1.0-1_amd64.changes");
    let before = std::fs::read(&changes).unwrap();
    let sign = |files: &[&Path]| {
        let mut sign = bench.freezedry();
        sign.args(["sign", "--embed"]).args(files).output().unwrap()
    };
    assert!(sign(&[&bench.deb()]).status.success());
    let refusal = Bench::refusal(&sign(&[&changes]));
    assert!(
        refusal.contains("hello-vm_1.0-1_all.deb` as it is now")
            && refusal.contains("; sign both in one command"),
        "{refusal}"
    );
    assert_eq!(std::fs::read(&changes).unwrap(), before);
    // The .buildinfo has the same digests.
    let buildinfo = bench.file("hello-vm_1.0-1_amd64.buildinfo");
    let output = sign(&[&changes, &bench.deb(), &buildinfo]);
    assert!(output.status.success(), "{}", both(&output));
    if require(&["dscverify"]) {
        run(Command::new("dscverify")
            .env("HOME", bench.dir.path())
            .arg("--keyring")
            .arg(bench.home().join("pubring.kbx"))
            .arg(&changes));
    }
}

/// sq in the place of gpg, with a key from a file.
#[test]
fn sq_signs_too() {
    let Some(bench) = Bench::new() else { return };
    if !require(&["sq", "rpmkeys"]) {
        return;
    }
    let key = bench.dir.path().join("secret");
    let exported = bench
        .gpg()
        .args(["--armor", "--export-secret-keys", "ed@example.org"])
        .output()
        .unwrap();
    std::fs::write(&key, exported.stdout).unwrap();
    let changes = bench.file("hello-vm_1.0-1_amd64.changes");
    let mut sign = bench.freezedry();
    run(sign
        .arg("sign")
        .arg("--key")
        .arg(&key)
        .args([&bench.rpm(), &changes]));
    let public = bench.export("ed@example.org");
    let said = rpm_says(&bench, Some(&public), &bench.rpm());
    assert!(said.status.success(), "{}", both(&said));
    assert!(
        String::from_utf8_lossy(&said.stdout).contains("EdDSA"),
        "{}",
        both(&said)
    );
    run(bench.gpg().arg("--verify").arg(&changes));
}
