//! Images: e2fsck, an independent reader and the kernel are the judges.

use crate::support::{require, require_root, run};
use freezedry::appliance::image::{chroot, cpio, ext2, sink};
use freezedry::appliance::plan::{Content, Entry, HostFile, Node, Origin, Plan, Xattr};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

fn entry(path: impl Into<PathBuf>, node: Node) -> Entry {
    Entry {
        path: path.into(),
        node,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 1_700_000_000,
        xattrs: Vec::new(),
        origin: Origin::Generated,
    }
}

fn file(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Entry {
    entry(path, Node::File(Content::Bytes(bytes.into())))
}

fn options(size: Option<u64>) -> ext2::Options {
    ext2::Options {
        uuid: *b"0123456789abcdef",
        size,
        timestamp: 1_700_000_000,
    }
}

/// The file of the host at `path`, as it is now.
fn host_file(path: &Path) -> Node {
    let meta = path.symlink_metadata().unwrap();
    Node::File(Content::Host(HostFile::new(path, &meta)))
}

/// Lays out and writes `plan`, and has e2fsck look at it.
fn write(plan: &Plan, size: Option<u64>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("root");
    let layout = ext2::layout(plan, &options(size)).unwrap();
    sink::write(&layout, &image).unwrap();
    fsck(&image);
    (dir, image)
}

fn fsck(image: &Path) {
    let output = Command::new("e2fsck")
        .arg("-fn")
        .arg(image)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", crate::support::both(&output));
}

/// Everything that the independent reader finds, as text by path.
fn read_back(image: &Path) -> BTreeMap<PathBuf, String> {
    let fs = ext4_view::Ext4::load_from_path(image).unwrap();
    let mut found = BTreeMap::new();
    let mut ahead = vec![PathBuf::from("/")];
    while let Some(path) = ahead.pop() {
        let name = ext4_view::PathBuf::try_from(path.as_os_str().as_bytes()).unwrap();
        let meta = fs.symlink_metadata(&name).unwrap();
        let content = if meta.is_dir() {
            for entry in fs.read_dir(&name).unwrap() {
                let entry = entry.unwrap();
                let child = entry.file_name();
                if child != "." && child != ".." {
                    ahead.push(path.join(OsStr::from_bytes(child.as_ref())));
                }
            }
            "directory".to_owned()
        } else if meta.is_symlink() {
            let target = fs.read_link(&name).unwrap();
            format!("-> {:?}", OsStr::from_bytes(target.as_ref()))
        } else if meta.file_type().is_regular_file() {
            format!("{:?}", fs.read(&name).unwrap())
        } else {
            format!("{:?}", meta.file_type())
        };
        let text = format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid());
        found.insert(path, text);
    }
    found.remove(Path::new("/lost+found"));
    found
}

/// The same for a plan.
fn expected(plan: &Plan) -> BTreeMap<PathBuf, String> {
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    for entry in &plan.entries {
        let content = match &entry.node {
            Node::Directory => "directory".to_owned(),
            Node::Symlink(target) => format!("-> {:?}", target.as_os_str()),
            Node::File(Content::Bytes(bytes)) => format!("{bytes:?}"),
            Node::File(Content::Host(file)) => format!("{:?}", std::fs::read(&file.path).unwrap()),
            Node::HardLink(target) => {
                let same = found[target].clone();
                found.insert(entry.path.clone(), same);
                continue;
            }
            Node::CharDevice(..) => "CharacterDevice".into(),
            Node::BlockDevice(..) => "BlockDevice".into(),
            Node::Fifo => "Fifo".into(),
            Node::Socket => "Socket".into(),
        };
        let text = format!("{:o} {}:{} {content}", entry.mode, entry.uid, entry.gid);
        found.insert(entry.path.clone(), text);
    }
    found
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        3 => Just(Node::Directory),
        4 => (0usize..200_000, any::<u8>()).prop_map(|(size, seed)| {
            let bytes: Vec<u8> = (0..size).map(|i| (i / 7) as u8 ^ seed).collect();
            Node::File(Content::Bytes(bytes.into()))
        }),
        2 => proptest::collection::vec(1u8..=255, 1..200)
            .prop_map(|bytes| Node::Symlink(OsStr::from_bytes(&bytes).into())),
        1 => (0u32..4095, 0u32..0xf_ffff).prop_map(|(a, b)| Node::CharDevice(a, b)),
        1 => (0u32..300, 0u32..300).prop_map(|(a, b)| Node::BlockDevice(a, b)),
        1 => Just(Node::Fifo),
        1 => Just(Node::Socket),
    ]
}

prop_compose! {
    /// Entries below randomly chosen directories, and hard links to some files.
    fn plans()(nodes in proptest::collection::vec(
        (node(), any::<proptest::sample::Index>(), proptest::collection::vec(1u8..=255, 1..30),
         0u16..0o10000, any::<u32>(), any::<u32>(),
         0i32..i32::MAX, // the reader knows no time before 1970
         proptest::bool::weighted(0.2)), 0..60))
        -> Plan {
        let mut entries = vec![entry("/", Node::Directory)];
        let mut directories = vec![PathBuf::from("/")];
        let mut files: Vec<PathBuf> = Vec::new();
        for (i, (node, below, name, mode, uid, gid, mtime, link)) in nodes.into_iter().enumerate() {
            let mut name: Vec<u8> = name.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect();
            name.extend(i.to_string().bytes()); // unique
            let path = below.get(&directories).join(OsStr::from_bytes(&name));
            let node = match node {
                Node::File(_) if link && !files.is_empty() => Node::HardLink(below.get(&files).clone()),
                node => node,
            };
            match node {
                Node::Directory => directories.push(path.clone()),
                Node::File(_) => files.push(path.clone()),
                _ => {}
            }
            let mode = if matches!(node, Node::Symlink(_)) { 0o777 } else { mode };
            entries.push(Entry { mode, uid, gid, mtime: mtime.into(), ..entry(path, node) });
        }
        Plan { entries }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_plan_is_read_back_as_it_was(plan in plans()) {
        if require(&["e2fsck"]) {
            let (_dir, image) = write(&plan, Some(64 << 20));
            prop_assert_eq!(read_back(&image), expected(&plan));
        }
    }
}

#[test]
fn directories_of_a_hundred_thousand_files() {
    if !require(&["e2fsck"]) {
        return;
    }
    let mut entries = vec![entry("/", Node::Directory)];
    for i in 0..100_000 {
        entries.push(file(
            format!("/a-rather-long-name-for-a-file-{i:06}"),
            Vec::new(),
        ));
    }
    let plan = Plan { entries };
    let (_dir, image) = write(&plan, Some(2 << 30));
    let fs = ext4_view::Ext4::load_from_path(&image).unwrap();
    // And `.`, `..`, `lost+found`.
    assert_eq!(fs.read_dir("/").unwrap().count(), 100_003);
}

/// A last group that is too small for its own metadata is left out; its inodes
/// are not.
#[test]
fn files_beside_a_group_that_is_too_small() {
    if !require(&["e2fsck"]) {
        return;
    }
    let mut entries = vec![entry("/", Node::Directory)];
    entries.extend((0..8000).map(|i| file(format!("/{i}"), Vec::new())));
    let plan = Plan { entries };
    let (_dir, image) = write(&plan, Some((128 << 20) + (40 << 10)));
    let fs = ext4_view::Ext4::load_from_path(&image).unwrap();
    assert_eq!(fs.read_dir("/").unwrap().count(), 8003);
}

#[test]
fn sparse_files_with_every_level_of_the_block_map() {
    if !require(&["e2fsck"]) {
        return;
    }
    // Beyond 12 blocks, 4 MiB and 4 GiB a further level begins.
    let dir = tempfile::tempdir().unwrap();
    let mut entries = vec![entry("/", Node::Directory)];
    let sizes = [
        0,
        1,
        4096,
        12 * 4096,
        12 * 4096 + 1,
        (4 << 20) + 5 * 4096,
        (4 << 30) + (9 << 20) + 17,
    ];
    for size in sizes {
        let path = dir.path().join(size.to_string());
        let source = std::fs::File::create(&path).unwrap();
        source.set_len(size).unwrap();
        if size > 0 {
            std::os::unix::fs::FileExt::write_all_at(&source, b"!", size - 1).unwrap();
        }
        entries.push(entry(format!("/{size}"), host_file(&path)));
    }
    let plan = Plan { entries };
    let (_image_dir, image) = write(&plan, Some(8 << 30));
    let fs = ext4_view::Ext4::load_from_path(&image).unwrap();
    for size in sizes.into_iter().filter(|size| *size > 0) {
        let name = format!("/{size}");
        assert_eq!(fs.metadata(name.as_str()).unwrap().len(), size);
        let mut file = fs.open(name.as_str()).unwrap();
        file.seek_to(size - 1).unwrap();
        let mut last = [0; 2];
        assert_eq!(file.read_bytes(&mut last).unwrap(), 1);
        assert_eq!(last[0], b'!', "{size}");
    }
    let used = std::fs::metadata(&image).unwrap().blocks() * 512;
    assert!(used < 64 << 20, "holes were filled: {used} bytes");
}

#[test]
fn a_real_tree_survives_the_kernel() {
    if !require(&["e2fsck", "mount"]) || !require_root() {
        return;
    }
    let mut entries = vec![entry("/", Node::Directory)];
    walk(Path::new("/usr/share"), Path::new("/"), &mut entries);
    let plan = Plan { entries };
    assert!(
        plan.entries.len() > 1000,
        "this machine has hardly any /usr/share"
    );
    let (dir, image) = write(&plan, None);
    let mount = dir.path().join("mnt");
    std::fs::create_dir(&mount).unwrap();
    // The ext4 driver serves ext2 on most kernels, as in the guest.
    run(Command::new("mount")
        .args(["-o", "loop"])
        .args([&image, &mount]));
    let result = std::panic::catch_unwind(|| {
        run(Command::new("diff")
            .args(["-r", "--no-dereference", "--exclude=lost+found"])
            .arg("/usr/share")
            .arg(&mount));
        for sample in plan.entries.iter().step_by(97) {
            let meta = mount
                .join(sample.path.strip_prefix("/").unwrap())
                .symlink_metadata()
                .unwrap();
            assert_eq!(
                (meta.mode() & 0o7777) as u16,
                sample.mode,
                "{:?}",
                sample.path
            );
            assert_eq!(
                (meta.uid(), meta.mtime()),
                (sample.uid, sample.mtime),
                "{:?}",
                sample.path
            );
        }
        // The guest writes too.
        for i in 0..300 {
            std::fs::create_dir(mount.join(format!("new-{i}"))).unwrap();
            std::fs::write(mount.join(format!("new-{i}/file")), vec![7; 20_000]).unwrap();
        }
        for i in (0..300).step_by(2) {
            std::fs::remove_dir_all(mount.join(format!("new-{i}"))).unwrap();
        }
    });
    run(Command::new("umount").arg(&mount));
    result.unwrap();
    fsck(&image);
}

/// The kernel is the judge; what it cannot read back it would not have stored.
#[test]
fn extended_attributes_are_kept_in_image_and_chroot() {
    if !require(&["e2fsck", "mount"]) || !require_root() {
        return;
    }
    let xattr = |name: &str, value: &[u8]| Xattr {
        name: name.into(),
        value: value.into(),
    };
    // cap_net_raw=ep, as `struct vfs_cap_data` of linux/capability.h.
    let capability = xattr(
        "security.capability",
        &[
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    );
    let cases = [
        ("/ping", vec![capability.clone()]),
        (
            "/two",
            vec![xattr("user.z", b"x"), xattr("user.a", b"12345")],
        ),
        (
            "/large",
            vec![
                xattr("user.long", &[9; 3000]),
                xattr("user.empty", b""),
                capability,
            ],
        ),
    ];
    let mut entries = vec![entry("/", Node::Directory)];
    for (path, xattrs) in &cases {
        entries.push(Entry {
            xattrs: xattrs.clone(),
            ..file(path, b"content".to_vec())
        });
    }
    let plan = Plan { entries };
    let (dir, image) = write(&plan, Some(16 << 20));
    let mount = dir.path().join("mnt");
    std::fs::create_dir(&mount).unwrap();
    run(Command::new("mount")
        .args(["-o", "loop,ro"])
        .args([&image, &mount]));
    let tree = dir.path().join("tree");
    chroot::write(&plan, &tree).unwrap();
    let found = [&mount, &tree].map(|root| {
        let read = |path: &str, xattr: &Xattr| {
            let mut value = vec![0; 5000];
            let path = root.join(path.trim_start_matches('/'));
            rustix::fs::lgetxattr(path, &xattr.name, &mut value)
                .map(|length| value[..length].to_vec())
        };
        let of = |(path, xattrs): &(&str, Vec<Xattr>)| {
            xattrs
                .iter()
                .map(|xattr| read(path, xattr))
                .collect::<Vec<_>>()
        };
        cases.iter().map(of).collect::<Vec<_>>()
    });
    run(Command::new("umount").arg(&mount));
    let expected = |(_, xattrs): &(&str, Vec<Xattr>)| {
        xattrs
            .iter()
            .map(|xattr| Ok(xattr.value.clone()))
            .collect::<Vec<_>>()
    };
    let expected: Vec<_> = cases.iter().map(expected).collect();
    for found in found {
        assert_eq!(found, expected);
    }
}

fn walk(source: &Path, path: &Path, entries: &mut Vec<Entry>) {
    let mut names: Vec<_> = source
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let (source, path) = (source.join(&name), path.join(&name));
        let meta = source.symlink_metadata().unwrap();
        let node = if meta.is_dir() {
            Node::Directory
        } else if meta.is_symlink() {
            Node::Symlink(source.read_link().unwrap())
        } else {
            host_file(&source)
        };
        entries.push(Entry {
            mode: (meta.mode() & 0o7777) as u16,
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: meta.mtime(),
            ..entry(&path, node)
        });
        if meta.is_dir() {
            walk(&source, &path, entries);
        }
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    let plan = Plan {
        entries: vec![entry("/", Node::Directory), file("/a", vec![1; 9999])],
    };
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<Vec<u8>> = ["1", "2"]
        .map(|name| {
            let layout = ext2::layout(&plan, &options(Some(16 << 20))).unwrap();
            let path = dir.path().join(name);
            sink::write(&layout, &path).unwrap();
            std::fs::read(path).unwrap()
        })
        .into();
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn what_cannot_be_is_said() {
    let big = entry(
        "/big",
        Node::File(Content::Host(HostFile {
            path: "/nowhere".into(),
            size: 1 << 30,
            ..HostFile::default()
        })),
    );
    let root = entry("/", Node::Directory);
    for (entries, expected) in [
        (vec![root.clone(), big.clone()], "too small: about 1"),
        (
            vec![file("/a", vec![])],
            "`/a` has no parent directory before it",
        ),
        (
            vec![root.clone(), file("/a/b", vec![])],
            "`/a/b` has no parent directory before it",
        ),
        (
            vec![root.clone(), file("/a", vec![]), file("/a", vec![])],
            "`/a` is there twice",
        ),
        (
            vec![root.clone(), entry("/l", Node::HardLink("/x".into()))],
            "is a hard link to what is not there",
        ),
        (
            vec![root.clone(), file(format!("/{}", "n".repeat(256)), vec![])],
            "is longer than 255 bytes",
        ),
        (
            vec![
                root.clone(),
                entry("/l", Node::Symlink("x".repeat(4096).into())),
            ],
            "longer than 4095 bytes",
        ),
    ] {
        let error = ext2::layout(&Plan { entries }, &options(Some(64 << 20)))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let vast = |path: &str| {
        let size = i64::MAX as u64;
        let path = path.into();
        let file = HostFile {
            path,
            size,
            ..HostFile::default()
        };
        entry(file.path.clone(), Node::File(Content::Host(file)))
    };
    let entries = vec![root.clone(), vast("/a"), vast("/b"), vast("/c")];
    let error = ext2::layout(&Plan { entries }, &options(None)).unwrap_err();
    assert!(error.to_string().contains("too small"), "{error}");
    let plan = Plan {
        entries: vec![root, big],
    };
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("root");
    let layout = ext2::layout(&plan, &options(None)).unwrap();
    let error = sink::write(&layout, &image).unwrap_err().to_string();
    assert!(error.contains("`/nowhere`"), "{error}");
    assert!(!image.exists(), "half an image was left behind");
}

#[test]
fn a_source_that_changed_is_an_error_and_not_wrong_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("source");
    let replace = || {
        std::fs::write(dir.path().join("new"), "two").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
    };
    let link = || {
        std::fs::rename(&path, dir.path().join("new")).unwrap();
        std::os::unix::fs::symlink("new", &path).unwrap();
    };
    let changes: [(&dyn Fn(), &str); 4] = [
        (
            &|| std::fs::write(&path, "longer").unwrap(),
            "changed from 3 to 6 bytes",
        ),
        // As a package manager does; to the byte as large as before.
        (&replace, "was replaced by another file"),
        (&|| std::fs::remove_file(&path).unwrap(), "was removed"),
        (&link, "became a symlink"),
    ];
    for (change, expected) in changes {
        for sink in ["ext2", "chroot", "cpio"] {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, "one").unwrap();
            let plan = Plan {
                entries: vec![entry("/", Node::Directory), entry("/a", host_file(&path))],
            };
            change();
            let out = dir.path().join("out");
            let written = match sink {
                "ext2" => {
                    let layout = ext2::layout(&plan, &options(Some(16 << 20))).unwrap();
                    sink::write(&layout, &out)
                }
                "chroot" => chroot::write(&plan, &out).map(drop),
                _ => cpio::Archive::new(Vec::new(), "x")
                    .add_entries(&plan.entries.iter().collect::<Vec<_>>()),
            };
            let error = written.unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(&format!("`{}` {expected}", path.display()))
                    && text.ends_with(" while the appliance was made"),
                "{sink}: {text}"
            );
            assert!(error.advice().unwrap().ends_with("then run this again"));
            let _ = std::fs::remove_dir_all(&out);
        }
    }
}

#[test]
fn a_chroot_is_the_plan_as_files() {
    if !require_root() {
        return;
    }
    let plan = Plan {
        entries: vec![
            entry("/", Node::Directory),
            Entry {
                mode: 0o555,
                ..entry("/d", Node::Directory)
            },
            Entry {
                mode: 0o4711,
                uid: 123_456,
                gid: 7,
                ..file("/d/f", b"hello".to_vec())
            },
            entry("/s", Node::Symlink("/d/f".into())),
            entry("/fifo", Node::Fifo),
            entry("/null", Node::CharDevice(1, 3)),
            entry("/z", Node::HardLink("/d/f".into())),
        ],
    };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    let skipped = chroot::write(&plan, &root).unwrap();
    assert_eq!(skipped, chroot::Skipped::default());
    let meta = root.join("d/f").metadata().unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.uid(), meta.gid(), meta.nlink()),
        (0o4711, 123_456, 7, 2)
    );
    assert_eq!(meta.mtime(), 1_700_000_000);
    assert_eq!(root.join("d").metadata().unwrap().mtime(), 1_700_000_000);
    assert_eq!(root.join("s").read_link().unwrap(), Path::new("/d/f"));
    assert!(root.join("fifo").metadata().unwrap().file_type().is_fifo());
    assert_eq!(
        root.join("null").metadata().unwrap().rdev(),
        rustix::fs::makedev(1, 3)
    );
}
