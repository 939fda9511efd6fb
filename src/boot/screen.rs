//! The guest's screen, and who shows it.

use super::machine::find_qemu;
use crate::{Error, Result, command};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;

/// Who shows the guest's screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Screen {
    /// A window of qemu: `gtk` or `sdl`.
    Window(&'static str),
    /// Viewers of VNC that connect to this address of qemu's: `127.0.0.1:1` is
    /// port 5901, `unix:/path` a socket.
    Vnc(String),
}

/// Windows that qemu can have, the better first.
const WINDOWS: [&str; 2] = ["gtk", "sdl"];

impl Screen {
    /// What `gtk`, `sdl` or `vnc=ADDRESS` means; `Err` says what to write.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(window) = WINDOWS.iter().find(|&&window| window == text) {
            return Ok(Self::Window(window));
        }
        let cure = "write gtk, sdl, vnc=127.0.0.1:1 (port 5901) or vnc=unix:/PATH";
        let address = text.strip_prefix("vnc=").ok_or(cure)?;
        let (host, number) = address.rsplit_once(':').ok_or(cure)?;
        let port = number.parse::<u16>().is_ok_and(|number| number < 60_000);
        let socket = host == "unix" && number.starts_with('/');
        // A comma would begin another of qemu's options.
        if (!port && !socket) || address.contains(',') {
            return Err(cure);
        }
        // Without a host, qemu would listen for everybody.
        let local = if host.is_empty() { "127.0.0.1" } else { "" };
        Ok(Self::Vnc(format!("{local}{address}")))
    }

    /// Fails if qemu would put its socket in the place of somebody's file.
    pub fn check(&self) -> Result<()> {
        let Self::Vnc(address) = self else {
            return Ok(());
        };
        let path = address.strip_prefix("unix:").map(Path::new);
        let taken = path.and_then(|path| Some((path, path.symlink_metadata().ok()?)));
        match taken {
            Some((path, meta)) if !meta.file_type().is_socket() => Err(Error::input(format!(
                "`{}` is there already, and no socket",
                path.display()
            ))
            .hint("name another path in `--display vnc=unix:PATH`")),
            _ => Ok(()),
        }
    }

    /// A window, if this machine can show one.
    pub fn window() -> Result<Self> {
        let cure = "install what qemu needs for it (Debian: qemu-system-gui, Fedora: \
                    qemu-ui-gtk), or use `--display vnc=127.0.0.1:1` and a viewer";
        let on_screen = ["WAYLAND_DISPLAY", "DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        if !on_screen {
            return Err(
                Error::host("there is no screen for a window: DISPLAY is not set")
                    .hint("use `--display vnc=127.0.0.1:1` and a viewer"),
            );
        }
        let help = command::run(Command::new(find_qemu()?).args(["-display", "help"]))?;
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        WINDOWS
            .into_iter()
            .find(|window| help.lines().any(|line| line.trim() == *window))
            .map(Self::Window)
            .ok_or_else(|| Error::host("qemu cannot open a window here").hint(cure))
    }

    /// Modules with which the guest's kernel draws more than text; what it lacks
    /// it does without.
    pub fn modules() -> &'static [&'static str] {
        &["bochs", "bochs_drm", "psmouse", "evdev"]
    }

    /// The value of qemu's `-display`.
    pub(super) fn display(&self) -> String {
        match self {
            Self::Window(window) => (*window).to_owned(),
            Self::Vnc(address) => format!("vnc={address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_screen_can_be() {
        for good in ["gtk", "sdl", "vnc=127.0.0.1:1", "vnc=unix:/run/a"] {
            assert_eq!(Screen::parse(good).unwrap().display(), good);
        }
        assert_eq!(
            Screen::parse("vnc=:0").unwrap().display(),
            "vnc=127.0.0.1:0"
        );
        for bad in [
            "",
            "none",
            "vnc",
            "vnc=",
            "vnc=1",
            "vnc=a:b",
            "vnc=unix:a",
            "vnc=:1,x=y",
        ] {
            assert!(Screen::parse(bad).is_err(), "{bad}");
        }
    }
}
