//! `freezedry rehydrate`: a skeleton and this host become an appliance.

use super::{Status, describe, notice};
use crate::appliance::plan::{Entry, Origin, Plan};
use crate::appliance::{self, Options, Readers, Rehydration, Report, Request, kernel};
use crate::description;
use crate::host::Host;
use crate::node::Node;
use crate::{Error, Result, skeleton};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make the full appliance (kernel, initrd, root) of a skeleton out of this
/// host's installed packages
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The skeleton: directories or files
    #[arg(required = true, value_name = "SKELETON")]
    skeleton: Vec<PathBuf>,
    /// The directory to make, replacing what is there
    #[arg(short, long, value_name = "DIR", default_value = "appliance.d")]
    output: PathBuf,
    /// What to make: a bootable appliance with an ext2 image, or the root file
    /// system alone as a directory tree
    #[arg(short, long, value_parser = ["ext2", "chroot"], default_value = "ext2")]
    format: String,
    /// Print what would go in, path by path and why, and make nothing
    #[arg(long)]
    explain: bool,
    /// Load this kernel module too; may be repeated
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Put in all modules of the kernel
    #[arg(long)]
    all_modules: bool,
    /// Put in only what everybody on this machine may read, and let everybody
    /// read the appliance
    #[arg(long)]
    shared: bool,
    /// The size of the root file system, with unit: 8G; by default 4G, or more
    /// if that is too little
    #[arg(long, value_parser = size, value_name = "SIZE")]
    size: Option<u64>,
    /// Say what was chosen and what was left out
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let readers = if arguments.shared {
        Readers::Everybody
    } else {
        Readers::User
    };
    let request = Request {
        options: Options {
            readers,
            ..Options::default()
        },
        modules: arguments.modules.clone(),
        all_modules: arguments.all_modules,
        kernel: kernel_request(),
        size: arguments.size,
        ..Request::new(arguments.skeleton.clone())
    };
    let host = Host::detect(Path::new("/"))?;
    if arguments.verbose {
        for each in appliance::unreproduced(&skeleton::read(&request.skeleton)?, &host)? {
            notice(&each.to_string());
        }
    }
    if arguments.explain {
        let (plan, report, kernel) = appliance::explain(&request, &host)?;
        tell(&report);
        print_plan(&plan).map_err(|e| Error::io("cannot write", "standard output", e))?;
        notice(&format!(
            "kernel: {} ({})",
            kernel.version,
            kernel.image.display()
        ));
        explain_report(&report, readers);
    } else if arguments.format == "chroot" {
        let (report, skipped) = appliance::make_chroot(&request, &host, &arguments.output)?;
        tell(&report);
        if skipped.owners {
            notice("not root, so every file belongs to you and device nodes are missing");
        }
        if arguments.verbose {
            explain_report(&report, readers);
        }
    } else {
        let made = appliance::make(&request, &host, &arguments.output)?;
        tell(&made.report);
        if arguments.verbose {
            explain(&made, readers);
        }
    }
    Ok(Status::Success)
}

fn size(text: &str) -> Result<u64, String> {
    description::parse_size(text).ok_or_else(|| "write a number with unit: 512M, 8G".into())
}

/// Which kernel the environment asks for; the variables are supermin's.
pub(super) fn kernel_request() -> kernel::Request {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    kernel::Request {
        image: path("SUPERMIN_KERNEL"),
        version: std::env::var("SUPERMIN_KERNEL_VERSION").ok(),
        modules: path("SUPERMIN_MODULES"),
        readers: Readers::User,
    }
}

/// Tells how an appliance came to be what it is.
pub(super) fn explain(made: &Rehydration, readers: Readers) {
    let kernel = &made.kernel;
    notice(&format!(
        "kernel: {} ({})",
        kernel.version,
        kernel.image.display()
    ));
    for rejected in &made.rejected {
        notice(&format!("kernel not taken: {rejected}"));
    }
    let numbers = &made.statistics;
    notice(&format!(
        "{} packages, {} paths with {} MB of files, {} modules in the initrd",
        made.report.packages.len(),
        numbers.entries,
        numbers.bytes / 1_000_000,
        numbers.modules
    ));
    explain_report(&made.report, readers);
}

/// Tells what nobody would want to miss, explanations or not.
fn tell(report: &Report) {
    for text in &report.notices {
        notice(text);
    }
}

fn explain_report(report: &Report, readers: Readers) {
    if !report.missing.is_empty() {
        notice(&format!(
            "{}: {}",
            describe::absent(report.plain),
            report.missing.join(", ")
        ));
    }
    if !report.excluded.is_empty() {
        notice(&format!("{} paths excluded", report.excluded.len()));
    }
    let who = match readers {
        Readers::User => "you may not",
        Readers::Everybody => "not everybody may",
    };
    for file in &report.unreadable {
        notice(&format!(
            "{who} read `{}`: it is empty inside",
            file.path.display()
        ));
    }
    for path in &report.edited {
        notice(&format!(
            "edited on this host, so left out: `{}`",
            path.display()
        ));
    }
    for path in &report.unverifiable {
        notice(&format!(
            "of a package whose kind of digest is not known, so left out: `{}`",
            path.display()
        ));
    }
    for conflict in &report.conflicts {
        notice(&format!(
            "left out: `{}`: {}",
            conflict.path.display(),
            conflict.reason
        ));
    }
}

fn print_plan(plan: &Plan) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for entry in &plan.entries {
        writeln!(out, "{}", line(entry))?;
    }
    out.flush()
}

/// An entry in the manner of `ls -l`, with its origin.
pub(super) fn line(entry: &Entry) -> String {
    format!(
        "{}{:04o} {}:{} {:>9} {}{} <- {}",
        letter(&entry.node),
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size(),
        entry.path.display(),
        target(&entry.node),
        origin(&entry.origin)
    )
}

fn letter(node: &Node) -> char {
    match node {
        Node::Directory => 'd',
        Node::File(_) => '-',
        Node::Symlink(_) => 'l',
        Node::HardLink(_) => 'h',
        Node::CharDevice(..) => 'c',
        Node::BlockDevice(..) => 'b',
        Node::Fifo => 'p',
        Node::Socket => 's',
    }
}

fn target(node: &Node) -> String {
    match node {
        Node::Symlink(target) | Node::HardLink(target) => format!(" -> {}", target.display()),
        _ => String::new(),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Package(name) => format!("package {name}"),
        Origin::BaseImage(name) => format!("skeleton {name}"),
        Origin::HostFile => "hostfiles".into(),
        Origin::Parent => "parent".into(),
        Origin::Module => "kernel".into(),
        Origin::Generated => "freezedry".into(),
    }
}
