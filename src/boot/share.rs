//! Directories of the host in the guest: by virtiofs where its server can run,
//! else by qemu's own 9p.

use super::disk::with_path;
use crate::description;
use crate::{Error, Result, command, files};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory of the host that the guest sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Where it lies on the host.
    pub source: PathBuf,
    /// Where the guest finds it: absolute, and without anything that has a
    /// meaning on the kernel's command line.
    pub target: String,
    /// Whether the guest may write there.
    pub writable: bool,
}

impl Share {
    /// What `HOSTDIR[:GUESTDIR][:ro|:rw]` means.  Without a place of its own a
    /// directory goes to `/mnt/NAME`; without a mode it is read-only.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let (rest, writable) = match (bytes.strip_suffix(b":rw"), bytes.strip_suffix(b":ro")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => (bytes, false),
        };
        // The guest's directory is absolute, so that a colon in the host's can
        // be told from the one between them.
        let colon = rest.windows(2).rposition(|two| two == b":/");
        let (source, target) = match colon {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let source = PathBuf::from(OsString::from_vec(source.to_vec()));
        let source = source
            .canonicalize()
            .map_err(|e| Error::io("cannot share", &source, e))?;
        if !source.is_dir() {
            return Err(Error::input(format!(
                "cannot share `{}`: it is no directory",
                source.display()
            ))
            .hint("share the directory that it lies in, or use `--disk` for an image"));
        }
        let target = match target {
            Some(target) => String::from_utf8_lossy(target).into_owned(),
            None => format!(
                "/mnt/{}",
                source.file_name().unwrap_or_default().to_string_lossy()
            ),
        };
        // In its shortest form, so that two of the same place are seen to be.
        let target: PathBuf = Path::new(&target).components().collect();
        let target = target.to_string_lossy().into_owned();
        if !description::is_kept(&target) {
            return Err(Error::input(format!(
                "cannot share `{}` as `{target}` in the guest",
                source.display()
            ))
            .hint(
                "write HOSTDIR:GUESTDIR with a plain GUESTDIR such as /mnt/work, outside of \
                 what the system keeps for itself (/dev, /proc, /run, /sys)",
            ));
        }
        Ok(Self {
            source,
            target,
            writable,
        })
    }

    fn mode(&self) -> &'static str {
        if self.writable { "rw" } else { "ro" }
    }
}

/// How shares reach the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// By this server.
    Virtiofs(Virtiofsd),
    /// By qemu itself.
    NineP,
}

/// The server of virtiofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Virtiofsd {
    program: PathBuf,
    /// Its options are those of qemu 7 and before, and it needs root; the later
    /// one, in Rust, does not.
    old: bool,
    /// It can forbid writing by itself.
    read_only: bool,
}

/// Where distributions keep it: nowhere in PATH, since it is no user's program.
const PLACES: [&str; 4] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
    "/usr/bin/virtiofsd",
];

impl Transport {
    /// The best that can carry `shares` on this machine.
    pub fn choose(shares: &[Share]) -> Self {
        PLACES
            .iter()
            .filter_map(|place| Virtiofsd::at(Path::new(place)))
            .find(|server| shares.iter().all(|share| server.can(share)))
            .map_or(Self::NineP, Self::Virtiofs)
    }

    /// The modules that the guest's kernel needs for it.
    pub fn modules(&self) -> &'static [&'static str] {
        match self {
            Self::Virtiofs(_) => &["virtiofs"],
            Self::NineP => &["9p", "9pnet_virtio"],
        }
    }

    /// The error for a kernel without the module `module`.
    pub fn lacking(&self, kernel: &str, module: &str) -> Error {
        let error = Error::host(format!(
            "directories cannot be shared: the kernel {kernel} has no module `{module}`"
        ));
        match self {
            // Debian's and Ubuntu's small kernels for virtual machines lack it.
            Self::NineP => error.hint(
                "install one that has it (linux-image-amd64, linux-image-generic), or the server \
                 of virtiofs, which this user can run from version 1 on: package virtiofsd",
            ),
            Self::Virtiofs(_) => error.hint("install a newer kernel"),
        }
    }

    /// What the guest is told: where each share is mounted, and how.
    pub(super) fn parameters(&self, shares: &[Share]) -> Vec<String> {
        let kind = match self {
            Self::Virtiofs(_) => "virtiofs",
            Self::NineP => "9p",
        };
        let parameter = |(index, share): (usize, &Share)| {
            let (mode, target) = (share.mode(), &share.target);
            format!("freezedry.share={kind}:share{index}:{mode}:{target}")
        };
        shares.iter().enumerate().map(parameter).collect()
    }
}

impl Virtiofsd {
    fn at(program: &Path) -> Option<Self> {
        if !program.is_file() {
            return None;
        }
        let help = command::run(Command::new(program).arg("--help")).ok()?;
        let help = [help.stdout, help.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        Some(Self {
            program: program.to_owned(),
            old: !help.contains("--shared-dir"),
            read_only: help.contains("--readonly"),
        })
    }

    /// Whether it can carry `share` for this user.  Read-only is a promise of the
    /// host: that the guest mounts it so is not enough.
    fn can(&self, share: &Share) -> bool {
        let root = rustix::process::geteuid().is_root();
        let confined = share.writable || self.read_only || root;
        confined && (root || !self.old)
    }

    /// Starts it for one share, on a socket that listens already.
    /// What it complains of goes to `log`.
    fn start(&self, share: &Share, socket: &UnixListener, log: &Path) -> Result<Child> {
        let number = socket.as_raw_fd();
        let mut server = if share.writable || self.read_only {
            Command::new(&self.program)
        } else {
            // A mount of its own, which nobody can write through.
            let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && \
                          shift && exec \"$@\"";
            let mut wrapped = Command::new("unshare");
            wrapped
                .args(["--mount", "sh", "-c", script, "sh"])
                .arg(&share.source)
                .arg(&self.program);
            wrapped
        };
        if self.old {
            // No guest has to make device nodes on the host.
            let mut option = b"log_level=err,sandbox=chroot,modcaps=-mknod,source=".to_vec();
            for &byte in share.source.as_os_str().as_bytes() {
                if b",\\".contains(&byte) {
                    option.push(b'\\');
                }
                option.push(byte);
            }
            server.arg(format!("--fd={number}"));
            server.arg("-o").arg(OsString::from_vec(option));
        } else {
            server.args(["--log-level=error", "--fd", &number.to_string()]);
            if rustix::process::geteuid().is_root() {
                server.args(["--sandbox=chroot", "--modcaps=-mknod"]);
            } else {
                server.arg("--sandbox=none");
            }
            if self.read_only && !share.writable {
                server.arg("--readonly");
            }
            server.arg("--shared-dir").arg(&share.source);
        }
        server.stdin(Stdio::null()).stdout(Stdio::null());
        server.stderr(files::create(log)?);
        command::inherit(command::die_with_parent(&mut server), vec![number]);
        server.spawn().map_err(|e| command::not_started(&server, e))
    }
}

/// What carries the shares of a running guest; it ends with this.
#[derive(Debug)]
pub(super) struct Carriers {
    servers: Vec<Child>,
    /// The sockets lie here.
    sockets: Option<tempfile::TempDir>,
}

impl Carriers {
    /// Starts what `shares` need.
    pub(super) fn start(transport: &Transport, shares: &[Share]) -> Result<Self> {
        let mut carriers = Self {
            servers: Vec::new(),
            sockets: None,
        };
        let Transport::Virtiofs(server) = transport else {
            return Ok(carriers);
        };
        if shares.is_empty() {
            return Ok(carriers);
        }
        let directory = tempfile::tempdir()
            .map_err(|e| Error::io("cannot create a directory in", std::env::temp_dir(), e))?;
        for (index, share) in shares.iter().enumerate() {
            let path = directory.path().join(format!("share{index}"));
            let socket = UnixListener::bind(&path)
                .map_err(|e| Error::io("cannot make the socket", &path, e))?;
            carriers
                .servers
                .push(server.start(share, &socket, &log(&path))?);
        }
        carriers.sockets = Some(directory);
        Ok(carriers)
    }

    /// What the servers complained of, if they did.
    pub(super) fn complaint(&self) -> Option<String> {
        let sockets = self.sockets.as_ref()?.path();
        let count = self.servers.len();
        (0..count).find_map(|index| {
            let said = files::read_text(log(&sockets.join(format!("share{index}")))).ok()?;
            let said = said.trim().replace('\n', "; ");
            (!said.is_empty()).then_some(said)
        })
    }

    /// qemu's arguments for `shares`, in a guest with so many bytes of memory.
    pub(super) fn arguments(&self, shares: &[Share], memory: u64) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(sockets) = &self.sockets {
            // The server reads and writes the guest's memory.
            let memory = memory >> 10;
            arguments.extend([
                "-object".into(),
                format!("memory-backend-memfd,id=memory,share=on,size={memory}k").into(),
                "-machine".into(),
                "memory-backend=memory".into(),
            ]);
            for (index, _) in shares.iter().enumerate() {
                let id = format!("share{index}");
                let socket = sockets.path().join(&id);
                arguments.extend([
                    "-chardev".into(),
                    with_path(&format!("socket,id={id},path="), &socket),
                    "-device".into(),
                    format!("vhost-user-fs-pci,chardev={id},tag={id}").into(),
                ]);
            }
            return arguments;
        }
        for (index, share) in shares.iter().enumerate() {
            let id = format!("share{index}");
            let read_only = if share.writable { "off" } else { "on" };
            // What the guest makes belongs to the user, as plain files.
            let options = format!("local,id={id},security_model=none,readonly={read_only},path=");
            arguments.extend([
                "-fsdev".into(),
                with_path(&options, &share.source),
                "-device".into(),
                format!("virtio-9p-pci,fsdev={id},mount_tag={id}").into(),
            ]);
        }
        arguments
    }
}

/// Where the server at `socket` writes its messages.
fn log(socket: &Path) -> PathBuf {
    socket.with_extension("log")
}

impl Drop for Carriers {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill(); // it ends by itself when qemu has
            let _ = server.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_share_goes() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("my:work");
        std::fs::create_dir(&work).unwrap();
        let of = |rest: &str| {
            let mut text = work.clone().into_os_string();
            text.push(rest);
            Share::parse(&text).map(|share| (share.target, share.writable))
        };
        assert_eq!(of("").unwrap(), ("/mnt/my:work".to_owned(), false));
        assert_eq!(of(":rw").unwrap(), ("/mnt/my:work".to_owned(), true));
        assert_eq!(of(":/work").unwrap(), ("/work".to_owned(), false));
        assert_eq!(of(":/work:ro").unwrap(), ("/work".to_owned(), false));
        assert_eq!(of(":/work:rw").unwrap(), ("/work".to_owned(), true));
        assert_eq!(of(":/work//a/.").unwrap(), ("/work/a".to_owned(), false));
        for bad in [
            ":/", ":/a b", ":/a/../b", ":/a\"b", ":work", "/none", ":/run/a", ":/dev", ":/usr",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nine_p_says_read_only_to_qemu_too() {
        let share = |writable| Share {
            source: "/a,b".into(),
            target: "/mnt/x".into(),
            writable,
        };
        let shares = [share(false), share(true)];
        let carriers = Carriers::start(&Transport::NineP, &shares).unwrap();
        let arguments = carriers.arguments(&shares, 1 << 30);
        assert_eq!(
            arguments[1],
            "local,id=share0,security_model=none,readonly=on,path=/a,,b"
        );
        assert_eq!(
            arguments[5],
            "local,id=share1,security_model=none,readonly=off,path=/a,,b"
        );
        assert_eq!(
            Transport::NineP.parameters(&shares),
            [
                "freezedry.share=9p:share0:ro:/mnt/x",
                "freezedry.share=9p:share1:rw:/mnt/x"
            ]
        );
    }
}
