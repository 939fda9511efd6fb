//! Guests in the background and by ssh, with a real qemu; several checks share a
//! boot.

use crate::boot_options::{SMALL, stderr, stdout};
use crate::support::appliance::{Appliance, Engine, Running, finish, qemus, wait_for};
use crate::support::{both, freezedry, require};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// A guest with an sshd, as its packages come: without what scripts would set up.
const SSHD: &str = "packages: [bash, coreutils, iproute2, openssh-server, openssh-client]\n\
    files:\n\
    - {path: /etc/passwd, content: \"root:x:0:0:root:/root:/bin/bash\\nsshd:x:105:65534::/run/sshd:/bin/false\\n\"}\n\
    - {path: /etc/group, content: \"root:x:0:\\nnogroup:x:65534:\\n\"}\n\
    boot:\n  memory: 256M\n  \
    init: \"mkdir -p -m 755 /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; \
    exec /usr/sbin/sshd -D -e -f /dev/null\"\n";

/// Ends what a failing test would leave in the background.
pub(crate) struct Background<'a>(pub(crate) &'a Appliance);

impl Background<'_> {
    fn command(&self, rest: &[&str]) -> Command {
        let mut boot = self.0.boot();
        boot.env("XDG_DATA_HOME", self.0.dir.path().join("data"));
        boot.current_dir(self.0.dir.path()).args(rest);
        boot
    }

    pub(crate) fn boot(&self, rest: &[&str]) -> Output {
        finish(&mut self.command(rest), b"input")
    }

    /// What others could know of guests, by name.
    fn left(&self) -> Vec<String> {
        let listed = std::fs::read_dir(self.0.cache().join("run")).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut left: Vec<String> = listed.map(name).collect();
        left.sort();
        left
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        for id in qemus(self.0.dir.path()) {
            let id = rustix::process::Pid::from_raw(id.parse().unwrap()).unwrap();
            let _ = rustix::process::kill_process(id, Signal::KILL);
        }
    }
}

/// Fails unless `output` is that of a failed boot, with this message.
fn refused(output: &Output, message: &str) {
    assert_eq!(output.status.code(), Some(125), "{}", both(output));
    assert!(stderr(output).contains(message), "{}", both(output));
}

#[test]
fn a_guest_in_the_background_is_listed_spoken_to_by_ssh_and_stopped() {
    if !require(&["ssh", "ssh-keygen", "sshd", "debugfs"]) {
        return;
    }
    let Some(appliance) = Appliance::new("sshd", SSHD, Engine::Freezedry) else {
        return;
    };
    let guest = Background(&appliance);
    let path = |name: &str| appliance.dir.path().join(name);
    refused(
        &guest.boot(&["--stop"]),
        "no guest `sshd` runs in the background",
    );

    let output = guest.boot(&["--detach", "--ssh", "--persist=/srv"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).starts_with("freezedry: `sshd` runs in the background (process "));
    // As after another login.
    let elsewhere = path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let mut list = guest.command(&["--list"]);
    let listed = stdout(&finish(list.env("XDG_RUNTIME_DIR", elsewhere), b""));
    let words: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(
        words[0] == "sshd" && words.last().unwrap().ends_with(":22"),
        "{listed}"
    );
    let listed = stdout(&guest.boot(&["--list", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(
        listed[0]["name"] == "sshd" && listed[0]["up"] == true && listed[0]["ports"][0][1] == 22,
        "{listed}"
    );
    refused(
        &guest.boot(&["--detach"]),
        "`sshd` runs already in the background; end it with",
    );

    // It has no network: ssh is no way out.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("exec 3<>/dev/tcp/10.0.2.2/{port}");
    let output = guest.boot(&["--ssh", "--", "bash", "-c", &connect]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));

    // Words arrive as they are, streams apart, and the status is the command's.
    let script = "printf '[%s]' \"$@\"; cat; echo oops >&2; echo kept >/srv/file; exit 5";
    let output = guest.boot(&["--ssh", "--", "sh", "-c", script, "sh", "it's", "a  b"]);
    assert_eq!(output.status.code(), Some(5), "{}", both(&output));
    assert_eq!(stdout(&output), "[it's][a  b]input");
    assert_eq!(stderr(&output), "oops\n");
    for (script, status) in [("kill -9 $$", 137), ("exit 255", 255)] {
        let output = guest.boot(&["--ssh", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(status), "{}", both(&output));
        assert_eq!(stderr(&output), "");
    }
    refused(
        &guest.boot(&["--ssh", "--share=.", "--", "true"]),
        "`sshd` runs already, so that `--share` would have no effect",
    );
    // Another key.
    let mut stranger = guest.command(&["--ssh", "--", "true"]);
    stranger.env("XDG_DATA_HOME", path("stranger"));
    refused(
        &finish(&mut stranger, b""),
        "ssh failed: root@127.0.0.1: Permission denied",
    );

    // By its description.
    let mut stop = freezedry();
    stop.arg("boot").arg(path("appliance.yaml")).arg("--stop");
    let output = finish(stop.env("FREEZEDRY_CACHE_DIR", appliance.cache()), b"");
    assert_eq!(
        both(&output),
        "exit status: 0\nstdout: \nstderr: ",
        "it is stopped without force"
    );
    assert!(qemus(appliance.dir.path()).is_empty());
    assert_eq!(stdout(&guest.boot(&["--list"])), "");
    let log = std::fs::read_to_string(appliance.cache().join("run/sshd.log")).unwrap();
    assert!(log.contains("Received signal 15; terminating."), "{log}");
    let image = path("data/freezedry/sshd/srv.img");
    let mut debugfs = Command::new("debugfs");
    debugfs.args(["-R", "cat /files/file"]).arg(image);
    assert_eq!(stdout(&debugfs.output().unwrap()), "kept\n");
}

/// Without one in the background a guest is started, and ends with the command.
#[test]
fn a_guest_that_is_started_for_ssh_loses_nothing() {
    if !require(&["ssh", "ssh-keygen", "sshd"]) {
        return;
    }
    let Some(appliance) = Appliance::new("login", SSHD, Engine::Freezedry) else {
        return;
    };
    let guest = Background(&appliance);
    let disk = appliance.dir.path().join("disk");
    let begins = |text: &str| std::fs::read(&disk).unwrap().starts_with(text.as_bytes());
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let script = "echo first >/dev/vdb; echo done";
    let output = guest.boot(&["--ssh", "--disk=disk", "--", "sh", "-c", script]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "done\n"),
        "{}",
        both(&output)
    );
    assert!(begins("first\n"));
    assert_eq!(guest.left(), [""; 0]);

    let script = "echo second >/dev/vdb; echo done; sleep 1000";
    let mut boot = guest.command(&["--ssh", "--disk=disk", "--", "sh", "-c", script]);
    let mut running = Running::start(&mut boot);
    running.until("done");
    running.signal(Signal::INT);
    assert_eq!(running.end(), Some(130));
    assert!(begins("second\n"));
    assert!(qemus(appliance.dir.path()).is_empty());
    assert_eq!(guest.left(), [""; 0]);
}

#[test]
fn a_guest_in_the_background_that_cannot_start_says_why_and_leaves_nothing() {
    let Some(appliance) = Appliance::new("failing", SMALL, Engine::Freezedry) else {
        return;
    };
    let guest = Background(&appliance);
    let module = "--module=no_such_module";
    refused(
        &guest.boot(&["--detach", module]),
        "has no module `no_such_module`",
    );
    refused(&guest.boot(&["--ssh"]), "the appliance has no sshd; add");
    // This one's command ends at once.
    let output = guest.boot(&["--detach"]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{}", both(&output));
    wait_for("its end", || stdout(&guest.boot(&["--list"])).is_empty());
    // As after kill -9 and a crash of the machine: an entry that nobody holds.
    let run = appliance.cache().join("run");
    std::fs::write(run.join("failing.json"), "{}").unwrap();
    assert_eq!(
        both(&guest.boot(&["--list"])),
        "exit status: 0\nstdout: \nstderr: "
    );
    assert_eq!(guest.left(), ["failing.lock", "failing.log"]);

    for (options, message) in [
        (&["--list", "--stop=failing"][..], "cannot be used with"),
        (&["--reset", "--", "true"], "cannot be used with"),
        (&["--json"], "--list"),
    ] {
        refused(&guest.boot(options), message);
    }
    // Anybody could say there what is to be ended.
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o777)).unwrap();
    refused(&guest.boot(&["--list"]), "/run` is not yours alone");
}

#[test]
fn of_two_that_start_one_guest_one_does_and_ctrl_c_ends_it_until_it_is_up() {
    let text = "packages: [bash, coreutils]\nboot: {memory: 256M}\n";
    let Some(appliance) = Appliance::new("once", text, Engine::Freezedry) else {
        return;
    };
    let guest = Background(&appliance);
    let running = Running::start(&mut guest.command(&["--detach"]));
    wait_for("a guest that starts", || {
        !stdout(&guest.boot(&["--list"])).is_empty()
    });
    running.signal(Signal::INT);
    assert_eq!(running.end(), None, "it dies of the signal");
    wait_for("its guest to end", || {
        stdout(&guest.boot(&["--list"])).is_empty()
    });

    let both = [(); 2].map(|()| Running::start(&mut guest.command(&["--detach"])));
    let mut codes = both.map(Running::end);
    codes.sort();
    assert_eq!(codes, [Some(0), Some(125)]);
    let listed = stdout(&guest.boot(&["--list"]));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert_eq!(guest.boot(&["--stop"]).status.code(), Some(0));
}
