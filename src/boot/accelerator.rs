//! Whether KVM truly works: that `/dev/kvm` opens proves nothing.
//!
//! There are machines whose `/dev/kvm` makes virtual machines and processors,
//! and then interprets every instruction in software, a thousand times slower
//! than hardware, or hangs the guest.  So a tiny guest counts down for a while,
//! against a clock.

use crate::files;
use kvm_bindings::{kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor itself.
    Kvm,
    /// qemu's translation: always works, several times slower.
    Tcg,
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// KVM if it works, else TCG.
    Auto,
    /// This one.
    Only(Accelerator),
}

/// Rounds of the guest's loop.
const ROUNDS: u32 = 20_000;
/// More per round is no hardware: it takes well under 1 ns there, and over
/// 1000 ns where software interprets it.
const MAX_NANOSECONDS: u128 = 50;
/// A guest that has not answered after this time hangs.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where the verdict on this machine is kept, one for each time it is switched on.
#[derive(Debug, Clone)]
pub struct Memory(PathBuf);

impl Memory {
    /// A memory in the directory `cache`.
    pub fn new(cache: &Path) -> Self {
        Self(cache.join("kvm"))
    }

    /// `Ok` if KVM works, else the reason why not, in a few words; from memory
    /// if this machine was asked since it was switched on.
    pub fn verdict(&self) -> Result<(), String> {
        if let Some(known) = self.recall() {
            return known;
        }
        let verdict = probe();
        self.keep(&verdict);
        verdict
    }

    /// Keeps in mind that KVM does not work, for a reason that only a real boot shows.
    pub fn learn(&self, reason: &str) {
        self.keep(&Err(reason.to_owned()));
    }

    fn recall(&self) -> Option<Result<(), String>> {
        let text = files::read_text(&self.0).ok()?;
        let (boot, verdict) = text.split_once('\n')?;
        if boot != boot_id()? {
            return None;
        }
        match verdict.trim_end() {
            "works" => Some(Ok(())),
            reason => Some(Err(reason.to_owned())),
        }
    }

    /// A memory that cannot be written is only slower.
    fn keep(&self, verdict: &Result<(), String>) {
        let Some(boot) = boot_id() else { return };
        let verdict = match verdict {
            Ok(()) => "works",
            Err(reason) => reason,
        };
        let new = self.0.with_extension(std::process::id().to_string());
        if files::write(&new, format!("{boot}\n{verdict}\n")).is_ok() {
            let _ = files::rename(new, &self.0);
        }
    }
}

/// Changes whenever the machine is switched on.
fn boot_id() -> Option<String> {
    let id = files::read_text("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// Asks the hardware.  Returns within half a second or so, whatever it does.
fn probe() -> Result<(), String> {
    let (answer, answers) = mpsc::channel();
    // If the guest hangs, so does this thread; it ends with the process.
    std::thread::spawn(move || answer.send(measure()));
    let time = answers
        .recv_timeout(PATIENCE)
        .map_err(|_| "a test guest hangs under KVM".to_owned())??;
    let each = time.as_nanos() / u128::from(ROUNDS);
    if each > MAX_NANOSECONDS {
        return Err(format!(
            "KVM emulates the processor in software here ({each} ns an instruction)"
        ));
    }
    Ok(())
}

/// The time that the best of three runs of the test guest takes.
fn measure() -> Result<Duration, String> {
    let cannot = |what: &str, e: kvm_ioctls::Error| format!("{what}: {}", std::io::Error::from(e));
    let kvm = Kvm::new().map_err(|e| cannot("cannot open /dev/kvm", e))?;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        best = best.min(count_down(&kvm).map_err(|e| cannot("KVM cannot run a guest", e))?);
    }
    Ok(best)
}

/// Bytes of the guest's memory: code, then the three page tables.
const SIZE: usize = 0x5000;

/// Runs `mov $ROUNDS, %ecx; 1: dec %ecx; jnz 1b; hlt` in 64-bit mode.
#[allow(unsafe_code)]
fn count_down(kvm: &Kvm) -> Result<Duration, kvm_ioctls::Error> {
    let mut code = vec![0xb9];
    code.extend(ROUNDS.to_le_bytes());
    code.extend([0xff, 0xc9, 0x75, 0xfc, 0xf4]);

    // Page-aligned memory for the guest: identity-mapped, one large page.
    let mut memory = vec![0u8; SIZE + 0x1000];
    let skew = memory.as_ptr().align_offset(0x1000);
    let guest = &mut memory[skew..skew + SIZE];
    guest[..code.len()].copy_from_slice(&code);
    let mut table = |at: usize, entry: u64| guest[at..at + 8].copy_from_slice(&entry.to_le_bytes());
    table(0x1000, 0x2000 | 3); // present, writable
    table(0x2000, 0x3000 | 3);
    table(0x3000, 0x83); // present, writable, 2 MiB

    let vm = kvm.create_vm()?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: SIZE as u64,
        userspace_addr: guest.as_ptr() as u64,
    };
    // SAFETY: the memory outlives the virtual machine: `vm` and its processor
    // are dropped before `memory` is, in the reverse order of declaration.
    unsafe { vm.set_user_memory_region(region)? };
    let mut processor = vm.create_vcpu(0)?;
    let mut special = processor.get_sregs()?;
    special.cr3 = 0x1000;
    special.cr4 = 1 << 5; // PAE
    special.cr0 = 1 << 31 | 1; // paging, protection
    special.efer = 1 << 8 | 1 << 10; // long mode, active
    let segment = kvm_segment {
        limit: u32::MAX,
        present: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    };
    special.cs = kvm_segment {
        type_: 11,
        selector: 8,
        l: 1,
        ..segment
    };
    let data = kvm_segment {
        type_: 3,
        selector: 16,
        db: 1,
        ..segment
    };
    (special.ds, special.es, special.ss) = (data, data, data);
    processor.set_sregs(&special)?;
    let mut registers = processor.get_regs()?;
    registers.rip = 0;
    registers.rflags = 2;
    processor.set_regs(&registers)?;

    let start = Instant::now();
    loop {
        match processor.run() {
            Ok(VcpuExit::Hlt) => return Ok(start.elapsed()),
            // A signal came in between.
            Err(e) if e.errno() == libc::EINTR => {}
            Err(e) => return Err(e),
            Ok(_) => return Err(kvm_ioctls::Error::new(libc::EIO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_remembered_until_the_machine_is_switched_off() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path());
        assert_eq!(memory.recall(), None);
        let first = memory.verdict();
        assert_eq!(memory.recall(), Some(first));
        memory.learn("it hung");
        assert_eq!(memory.verdict(), Err("it hung".into()));
        files::write(dir.path().join("kvm"), "another boot\nit hung\n").unwrap();
        assert_eq!(memory.recall(), None);
    }

    #[test]
    fn a_probe_ends_soon_whatever_the_machine_does() {
        let start = Instant::now();
        let verdict = probe();
        assert!(start.elapsed() < Duration::from_secs(5));
        if !Path::new("/dev/kvm").exists() {
            assert!(
                verdict
                    .unwrap_err()
                    .starts_with("cannot open /dev/kvm: No such file")
            );
        }
    }
}
