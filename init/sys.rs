//! System calls and the few things that a libc would bring.

use core::arch::{asm, global_asm};

// The kernel enters with the stack holding argc, argv and the environment.
global_asm!(
    ".globl _start",
    "_start:",
    "xor %ebp, %ebp",
    "mov %rsp, %rdi",
    "and $-16, %rsp",
    "call start",
    options(att_syntax)
);

const READ: usize = 0;
const WRITE: usize = 1;
const OPEN: usize = 2;
const CLOSE: usize = 3;
const PREAD: usize = 17;
const NANOSLEEP: usize = 35;
const EXECVE: usize = 59;
const EXIT: usize = 60;
const CHDIR: usize = 80;
const MKDIR: usize = 83;
const UNLINK: usize = 87;
const CHROOT: usize = 161;
const MOUNT: usize = 165;
const REBOOT: usize = 169;
const GETDENTS64: usize = 217;
const FINIT_MODULE: usize = 313;

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u16);

/// A path or another string that ends with a NUL byte.
pub type CStr = core::ffi::CStr;

fn call(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the wrappers below pass what each system call asks for; the
    // kernel changes rcx and r11 and, through pointers, memory.
    unsafe {
        asm!("syscall", inlateout("rax") number => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if result < 0 { Err(Errno(-result as u16)) } else { Ok(result as usize) }
}

fn pointer(text: &CStr) -> usize {
    text.as_ptr() as usize
}

/// An open file, closed at the end of its life.
pub struct File(usize);

impl File {
    /// Opens for reading.
    pub fn open(path: &CStr) -> Result<Self, Errno> {
        call(OPEN, pointer(path), 0o2000000, 0, 0, 0).map(Self) // O_RDONLY | O_CLOEXEC
    }

    /// Reads from the current position.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        call(READ, self.0, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0)
    }

    /// Reads at `offset`, in bytes.
    pub fn read_at(&self, buffer: &mut [u8], offset: usize) -> Result<usize, Errno> {
        call(PREAD, self.0, buffer.as_mut_ptr() as usize, buffer.len(), offset, 0)
    }

    /// Directory entries, as `struct linux_dirent64`.
    pub fn entries(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        call(GETDENTS64, self.0, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0)
    }

    /// Loads the file as a kernel module without parameters.
    pub fn insert_module(&self) -> Result<usize, Errno> {
        call(FINIT_MODULE, self.0, pointer(c""), 0, 0, 0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = call(CLOSE, self.0, 0, 0, 0, 0);
    }
}

/// Writes to standard error, which is the console.
pub fn write(text: &[u8]) {
    let _ = call(WRITE, 2, text.as_ptr() as usize, text.len(), 0, 0);
}

pub fn mkdir(path: &CStr) {
    // It may be there already; a real failure shows when it is used.
    let _ = call(MKDIR, pointer(path), 0o755, 0, 0, 0);
}

pub fn unlink(path: &CStr) {
    let _ = call(UNLINK, pointer(path), 0, 0, 0, 0);
}

pub const MS_RDONLY: usize = 1;
pub const MS_NOSUID: usize = 2;
pub const MS_NODEV: usize = 4;
pub const MS_NOATIME: usize = 1024;
pub const MS_BIND: usize = 4096;
pub const MS_MOVE: usize = 8192;

pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: usize) -> Result<usize, Errno> {
    mount_with(source, target, kind, flags, c"")
}

/// Mounts with options of the file system's own.
pub fn mount_with(source: &CStr, target: &CStr, kind: &CStr, flags: usize, data: &CStr) -> Result<usize, Errno> {
    call(MOUNT, pointer(source), pointer(target), pointer(kind), flags, pointer(data))
}

pub fn chdir(path: &CStr) -> Result<usize, Errno> {
    call(CHDIR, pointer(path), 0, 0, 0, 0)
}

pub fn chroot(path: &CStr) -> Result<usize, Errno> {
    call(CHROOT, pointer(path), 0, 0, 0, 0)
}

/// Becomes `path`, with `name` as its only argument; returns only on failure.
pub fn exec(path: &CStr, name: &CStr, environment: usize) -> Errno {
    let arguments = [pointer(name), 0];
    match call(EXECVE, pointer(path), arguments.as_ptr() as usize, environment, 0, 0) {
        Err(errno) => errno,
        Ok(_) => Errno(0),
    }
}

pub fn sleep_microseconds(microseconds: u64) {
    let time = [microseconds / 1_000_000, microseconds % 1_000_000 * 1000];
    let _ = call(NANOSLEEP, time.as_ptr() as usize, 0, 0, 0, 0);
}

/// Ends the machine: power off, or where that is not possible a panic.
pub fn power_off() -> ! {
    const MAGIC: [usize; 3] = [0xfee1_dead, 0x2812_1969, 0x4321_fedc];
    let _ = call(REBOOT, MAGIC[0], MAGIC[1], MAGIC[2], 0, 0);
    loop {
        let _ = call(EXIT, 1, 0, 0, 0, 0);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    write(b"supermin: error: the mini initrd has a bug\n");
    power_off()
}

// LLVM calls these five, and nothing else here brings them.  The reads are
// volatile, or it would turn the loops into calls of the functions themselves.

/// # Safety
/// As of C's `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    for i in 0..length {
        // SAFETY: the caller promises `length` bytes at both.
        let (a, b) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As of C's `bcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(a, b, length) }
}

/// # Safety
/// As of C's `strlen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller promises a NUL byte at the end.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// # Safety
/// As of C's `memcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller promises `length` bytes at both; the ABI keeps the
    // direction flag clear.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _,
             inout("rsi") from => _, options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As of C's `memset`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller promises `length` bytes; the ABI keeps the direction
    // flag clear.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _,
             in("al") byte as u8, options(nostack, preserves_flags));
    }
    to
}
