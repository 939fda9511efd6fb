//! PID 1 of the initrd: loads the modules, finds the root file system, mounts
//! it and becomes its `/init`.
//!
//! Messages begin with `supermin: ` because programs that watch a console for
//! supermin's do so for ours too.
#![no_std]
#![no_main]

mod mounts;
mod sys;
mod text;

use sys::{CStr, Errno, File};
use text::Text;

/// How long the root device is waited for, in microseconds.  A device that
/// takes longer will not come.
const PATIENCE: u64 = 60_000_000;

fn say(parts: &[&[u8]]) {
    // One write a line, so that messages of the kernel do not cut through it.
    let text = Text::of(&[b"supermin: "]);
    sys::write(text.as_cstr().to_bytes());
    for part in parts {
        sys::write(part);
    }
    sys::write(b"\n");
}

fn say_error(parts: &[&[u8]], Errno(number): Errno) {
    let name: &[u8] = match number {
        1 => b"operation not permitted",
        2 => b"no such file or directory",
        8 => b"wrong executable format",
        13 => b"permission denied",
        16 => b"busy",
        17 => b"already there",
        19 => b"no such device",
        20 => b"not a directory",
        22 => b"invalid argument",
        _ => b"",
    };
    let mut digits = [0; 5];
    let message = Text::of(&[b"error: ", Text::of(parts).as_cstr().to_bytes()]);
    say(&[
        message.as_cstr().to_bytes(),
        b": ",
        name,
        b" (error ",
        text::decimal(number, &mut digits),
        b")",
    ]);
}

#[unsafe(no_mangle)]
extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the kernel put argc, argc pointers, a null pointer and then the
    // environment there.
    let environment = unsafe { stack.add(*stack + 2) } as usize;

    for (source, target) in [(c"proc", c"/proc"), (c"sysfs", c"/sys"), (c"devtmpfs", c"/dev")] {
        sys::mkdir(target);
        if let Err(errno) = sys::mount(source, target, source, 0) {
            // CONFIG_DEVTMPFS_MOUNT does it for us.
            if errno != Errno(16) {
                say_error(&[b"cannot mount ", target.to_bytes()], errno);
            }
        }
    }
    say(&[b"ext2 mini initrd starting up: freezedry ", VERSION.as_bytes()]);

    let mut buffer = [0; 4096];
    let line = match File::open(c"/proc/cmdline").and_then(|file| file.read(&mut buffer)) {
        Ok(length) => &buffer[..length],
        Err(errno) => {
            say_error(&[b"cannot read /proc/cmdline"], errno);
            &[]
        }
    };
    let quiet = text::words(line).any(|word| word == b"quiet");
    load_modules(c"/modules", quiet);
    // Those that this boot alone needs.
    load_modules(c"/modules.more", quiet);
    sys::unlink(c"/init");

    let device = find_device(text::value(line, b"root="));
    mount_root(&device, text::words(line).any(|word| word == b"ro"));
    mounts::kept(line);
    mounts::shares(line);
    if !quiet {
        say(&[b"chroot"]);
    }
    switch(environment)
}

/// What is given at compile time.
const VERSION: &str = match option_env!("FREEZEDRY_VERSION") {
    Some(version) => version,
    None => "(unknown)",
};

/// Loads the modules that `list` names, in that order, and frees their memory.
fn load_modules(list: &CStr, quiet: bool) {
    let mut names = [0; 16384];
    let length = File::open(list).and_then(|file| file.read(&mut names));
    for name in text::lines(&names[..length.unwrap_or(0)]) {
        let path = Text::of(&[b"/", name]);
        if !quiet {
            say(&[b"internal insmod ", name]);
        }
        // A module that cannot be loaded is no reason to stop: the root device
        // may not need it.
        match File::open(path.as_cstr()) {
            Ok(file) => {
                if let Err(errno) = file.insert_module()
                    && errno != Errno(17)
                {
                    say_error(&[b"cannot load the module ", name], errno);
                }
            }
            Err(errno) => say_error(&[b"cannot open the module ", name], errno),
        }
        sys::unlink(path.as_cstr());
    }
    sys::unlink(list);
}

/// What is wanted as the root device.
enum Wanted<'a> {
    Uuid([u8; 16]),
    /// The virtio disk with this serial number: no disk of the user's has it,
    /// whatever is on it.
    Serial(&'a [u8]),
    Name(&'a [u8]),
    /// The last disk with an ext file system, as supermin 4 took it.
    Any,
}

/// Waits for the device that `root=` asks for; its path.
fn find_device(root: Option<&[u8]>) -> Text {
    let wanted = match root {
        None => Wanted::Any,
        Some(root) if root.starts_with(b"SERIAL=") => Wanted::Serial(&root[b"SERIAL=".len()..]),
        Some(root) => match (root.strip_prefix(b"UUID="), root.strip_prefix(b"/dev/")) {
            (Some(text), _) => match text::uuid(text) {
                Some(uuid) => Wanted::Uuid(uuid),
                None => {
                    say(&[b"error: root=", root, b" is no UUID of 32 hexadecimal digits"]);
                    sys::power_off()
                }
            },
            (_, Some(name)) => Wanted::Name(name),
            _ => {
                say(&[b"error: root=", root, b" is neither UUID=... nor /dev/..."]);
                sys::power_off()
            }
        },
    };
    let shown = root.unwrap_or(b"any disk with an ext2 file system");
    let (mut waited, mut pause) = (0, 500);
    loop {
        if let Some(device) = scan(&wanted) {
            return device;
        }
        if waited < 1_000_000 && waited + pause >= 1_000_000 {
            say(&[b"waiting for the root device ", shown]);
        }
        if waited > PATIENCE {
            say(&[b"error: the root device ", shown, b" did not appear; block devices seen:"]);
            each_entry(c"/sys/class/block", |name| say(&[b"  ", name]));
            say(&[b"hint: if there are none, the kernel may lack the driver of the disk (virtio)"]);
            sys::power_off()
        }
        sys::sleep_microseconds(pause);
        waited += pause;
        pause = (pause * 2).min(250_000);
    }
}

/// Looks once at all disks and partitions.
fn scan(wanted: &Wanted<'_>) -> Option<Text> {
    let mut found = None;
    let mut best: Text = Text::of(&[]);
    each_entry(c"/sys/class/block", |name| {
        let path = Text::of(&[b"/dev/", name]);
        let fits = match wanted {
            Wanted::Name(wanted) => name == *wanted,
            Wanted::Serial(wanted) => has_serial(name, wanted),
            Wanted::Uuid(uuid) => superblock(path.as_cstr()).is_some_and(|found| found == *uuid),
            Wanted::Any => {
                let disk = [b"vd", b"sd", b"hd"].iter().any(|kind| name.starts_with(*kind));
                disk && best.as_cstr().to_bytes() < name && superblock(path.as_cstr()).is_some()
            }
        };
        if fits && (found.is_none() || matches!(wanted, Wanted::Any)) {
            best = Text::of(&[name]);
            found = Some(path);
        }
    });
    found
}

/// Whether the disk `name` has this serial number.
fn has_serial(name: &[u8], wanted: &[u8]) -> bool {
    let path = Text::of(&[b"/sys/class/block/", name, b"/serial"]);
    let mut serial = [0; 32];
    let length = File::open(path.as_cstr()).and_then(|file| file.read(&mut serial));
    length.is_ok_and(|length| serial[..length].trim_ascii_end() == wanted)
}

/// The UUID of the ext2, ext3 or ext4 file system on a device, if there is one.
fn superblock(path: &CStr) -> Option<[u8; 16]> {
    let file = File::open(path).ok()?;
    let mut block = [0; 512];
    // Direct reading of the middle of a superblock is fine: the page cache
    // takes care of alignment.
    let length = file.read_at(&mut block, 1024).ok()?;
    if length < 0x78 || block[0x38..0x3a] != [0x53, 0xef] {
        return None;
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&block[0x68..0x78]);
    Some(uuid)
}

/// Calls `f` with each name in a directory.
fn each_entry(path: &CStr, mut f: impl FnMut(&[u8])) {
    let Ok(directory) = File::open(path) else {
        return;
    };
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = directory.entries(&mut buffer) {
        let mut rest = &buffer[..length];
        // ino64, off64, reclen16, type8, then the name.
        while rest.len() > 19 {
            let size = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let Some(entry) = rest.get(19..size) else {
                return;
            };
            let name = entry.split(|&byte| byte == 0).next().unwrap_or(b"");
            if name != b"." && name != b".." {
                f(name);
            }
            rest = &rest[size..];
        }
    }
}

fn mount_root(device: &Text, read_only: bool) {
    sys::mkdir(c"/root");
    let flags = sys::MS_NOATIME | if read_only { sys::MS_RDONLY } else { 0 };
    // Most kernels mount ext2 with the ext4 driver, some have one of its own.
    let mut result = Err(Errno(0));
    for kind in [c"ext2", c"ext4"] {
        result = sys::mount(device.as_cstr(), c"/root", kind, flags);
        if result.is_ok() {
            return;
        }
    }
    if let Err(errno) = result {
        say_error(&[b"cannot mount ", device.as_cstr().to_bytes(), b" as ext2 or ext4"], errno);
    }
    sys::power_off()
}

/// Makes `/root` the root directory and becomes its `/init`.
fn switch(environment: usize) -> ! {
    for (from, to) in [(c"/proc", c"/root/proc"), (c"/sys", c"/root/sys"), (c"/dev", c"/root/dev")] {
        if let Err(errno) = sys::mount(from, to, c"", sys::MS_MOVE) {
            say_error(&[b"cannot move ", from.to_bytes(), b" to the new root"], errno);
        }
    }
    let switched = sys::chdir(c"/root")
        .and_then(|_| sys::mount(c".", c"/", c"", sys::MS_MOVE))
        .and_then(|_| sys::chroot(c"."))
        .and_then(|_| sys::chdir(c"/"));
    if let Err(errno) = switched {
        say_error(&[b"cannot switch to the new root"], errno);
        sys::power_off()
    }
    let errno = sys::exec(c"/init", c"init", environment);
    say_error(&[b"cannot run /init of the appliance"], errno);
    for directory in [c"/", c"/bin"] {
        say(&[b"this is in ", directory.to_bytes(), b":"]);
        each_entry(directory, |name| say(&[b"  ", name]));
    }
    say(&[b"hint: is the interpreter in its first line there, with its libraries?"]);
    sys::power_off()
}
