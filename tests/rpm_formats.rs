//! Reading RPM databases in every format and state, with SQLite and Berkeley DB
//! as judges.

use crate::support::rpm::{DIRECTORY, World, assert_same, everything};
use crate::support::{require, run};
use freezedry::host::PackageDatabase;
use freezedry::host::rpm::Rpm;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

#[test]
fn a_user_without_any_rights_reads_a_directory_that_cannot_be_written() {
    let Some(world) = World::new() else { return };
    let root = world.copy();
    let directory = root.path().join(DIRECTORY);
    for leftover in ["rpmdb.sqlite-shm", "rpmdb.sqlite-wal"] {
        let _ = std::fs::remove_file(directory.join(leftover));
    }
    let names = || -> BTreeSet<_> {
        let entries = directory.read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names();
    let expected = everything(&Rpm::open(&world.root).unwrap());
    let path = root.path().to_owned();
    // On Linux it is a thread that has an owner.
    let ours = std::thread::spawn(move || {
        rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(65534)).unwrap();
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
        assert!(std::fs::write(path.join(DIRECTORY).join("x"), "").is_err());
        everything(&Rpm::open(&path).unwrap())
    });
    assert_eq!(ours.join().unwrap(), expected);
    assert_eq!(names(), before);
}

/// A Python program that has the database open.
struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    /// Runs `program`, which finds the database open as `db`, with
    /// transactions by hand, and waits for a line after each that it prints.
    fn new(database: &Path, program: &str) -> Self {
        const START: &str = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n\
            def wait(what):\n    print(what, flush=True)\n    sys.stdin.readline()\n";
        let mut child = Command::new("python3")
            .args(["-c", &format!("{START}{program}")])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// What it printed.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_committed_to_a_live_log_counts_and_nothing_else() {
    let Some(world) = World::new() else { return };
    if !require(&["python3"]) {
        return;
    }
    let root = world.copy();
    let count = || Rpm::open(root.path()).unwrap().packages().len().to_string();
    // Each step prints how many packages there are for others.
    let mut writer = Writer::new(
        &root.path().join(DIRECTORY).join("rpmdb.sqlite"),
        "db.execute('PRAGMA journal_mode=WAL')
db.execute('PRAGMA wal_autocheckpoint=0')
db.execute('PRAGMA cache_size=4')
def count():
    other = sqlite3.connect(sys.argv[1])
    answer = other.execute('SELECT count(*) FROM Packages').fetchone()[0]
    other.close()
    wait(answer)
count()
db.execute('DELETE FROM Packages WHERE hnum % 3 = 0')
count()
db.execute('BEGIN')
db.execute('UPDATE Packages SET blob = zeroblob(100000)')
db.execute('DELETE FROM Packages WHERE hnum % 3 = 1')
count()
db.execute('ROLLBACK')
db.execute('DELETE FROM Packages WHERE hnum % 5 = 1')
count()
db.execute('PRAGMA wal_checkpoint(PASSIVE)')
count()
db.execute('DELETE FROM Packages WHERE hnum % 5 = 2')
count()
db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
count()
",
    );
    let mut seen = BTreeSet::new();
    for step in 0..7 {
        let theirs = writer.line();
        assert_eq!(count(), theirs, "step {step}");
        seen.insert(theirs);
        writer.go_on();
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_reader_never_sees_half_a_transaction() {
    let Some(world) = World::new() else { return };
    if !require(&["python3"]) {
        return;
    }
    let root = world.copy();
    // Each transaction gives two packages, far apart in the file, the same new
    // release: four letters that no other has.  It is far busier than rpm, so
    // that checkpoints fall into our reading.
    let mut writer = Writer::new(
        &root.path().join(DIRECTORY).join("rpmdb.sqlite"),
        "import time
db.execute('PRAGMA synchronous=OFF')
db.execute('PRAGMA wal_autocheckpoint=50')
rows = db.execute('SELECT hnum, blob FROM Packages ORDER BY hnum').fetchall()
rows = [row for row in rows if b'.fc40\\0' in row[1] and len(row[1]) < 20000]
half = len(rows) // 2
round = 0
while True:
    round += 1
    letters = bytes(103 + round // 20 ** place % 20 for place in (3, 2, 1, 0))
    db.execute('BEGIN')
    for hnum, blob in (rows[round % half], rows[round % half + half]):
        blob = blob.replace(b'.fc40\\0', b'.' + letters + b'\\0', 1)
        db.execute('UPDATE Packages SET blob = ? WHERE hnum = ?', (blob, hnum))
    db.execute('COMMIT')
    time.sleep(0.001)
    if round == half:
        wait('started')
",
    );
    assert_eq!(writer.line(), "started");
    writer.go_on();
    let mut newest = BTreeSet::new();
    for attempt in 0..50 {
        let database = Rpm::open(root.path()).unwrap();
        let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in database.packages() {
            let (_, end) = package.version.rsplit_once('.').unwrap_or_default();
            if end.len() == 4 && end.bytes().all(|byte| byte > b'f') {
                seen.entry(end).or_default().push(&package.name);
            }
        }
        assert!(
            seen.len() > 50 && seen.values().all(|names| names.len() == 2),
            "{attempt}: {seen:?}"
        );
        let last = *seen.keys().next_back().unwrap();
        assert!(
            newest
                .last()
                .is_none_or(|known: &String| known.as_str() <= last)
        );
        newest.insert(last.to_owned());
    }
    assert!(newest.len() > 10, "{newest:?}");
}

/// Changes the database of `root` by SQL.
fn change(root: &Path, statements: &[&str]) {
    let program = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        for statement in sys.argv[2:]: db.execute(statement)\n";
    run(Command::new("python3")
        .args(["-c", program])
        .arg(root.join(DIRECTORY).join("rpmdb.sqlite"))
        .args(statements));
}

#[test]
fn pages_of_every_size_are_read() {
    let Some(world) = World::new() else { return };
    if !require(&["python3"]) {
        return;
    }
    let root = world.copy();
    let expected = everything(&Rpm::open(&world.root).unwrap());
    for size in [512, 1024, 65536] {
        let size = format!("PRAGMA page_size={size}");
        change(
            root.path(),
            &["PRAGMA journal_mode=DELETE", &size, "VACUUM"],
        );
        assert_eq!(
            everything(&Rpm::open(root.path()).unwrap()),
            expected,
            "{size}"
        );
    }
}

#[test]
fn damaged_databases_are_told_and_never_hang() {
    let Some(world) = World::new() else { return };
    if !require(&["python3"]) {
        return;
    }
    let root = world.copy();
    let path = root.path().join(DIRECTORY).join("rpmdb.sqlite");
    // Small pages and few packages: nearly every byte is structure.
    let few = "DELETE FROM Packages WHERE length(blob) > 9000 OR hnum % 4 > 0";
    let statements = [
        "PRAGMA journal_mode=DELETE",
        few,
        "PRAGMA page_size=512",
        "VACUUM",
    ];
    change(root.path(), &statements);
    let whole = std::fs::read(&path).unwrap();
    let packages = Rpm::open(root.path()).unwrap().packages().len();
    assert!(packages > 10, "{packages}");

    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let length = whole.len();
    let flips = proptest::collection::vec(
        (any::<prop::sample::Index>(), 0_usize..64, any::<u8>()),
        1..40,
    );
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Rpm::open(root.path())
    };
    let mut told = 0;
    let outcome = runner.run(
        &(flips, any::<prop::sample::Index>(), any::<bool>()),
        |(flips, end, cut)| {
            let mut bytes = whole.clone();
            for (page, at, byte) in flips {
                // The beginning of a page, where it says what is in it, or anywhere.
                let at = match byte % 2 {
                    0 => page.index(length / 512) * 512 + at,
                    _ => page.index(length),
                };
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(end.index(length));
            }
            if let Err(error) = read(&bytes) {
                let text = error.to_string();
                prop_assert!(
                    text.contains("rpmdb.sqlite") && error.advice().is_some(),
                    "{}",
                    text
                );
            }
            Ok(())
        },
    );
    outcome.unwrap();
    for cut in [0, 50, 99, 512, length / 2, length - 1] {
        told += usize::from(read(&whole[..cut]).is_err());
    }
    assert_eq!(told, 6);
    assert_eq!(read(&whole).unwrap().packages().len(), packages);
}

#[test]
fn berkeley_db_is_read_through_rpm() {
    let Some(world) = World::new() else { return };
    if !require(&["rpm", "python3", "db_load"]) {
        return;
    }
    let root = world.copy();
    let directory = root.path().join(DIRECTORY);
    // What db_dump writes: headers by number, and the highest number under 0.
    let program = "import sqlite3, struct, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        rows = db.execute('SELECT hnum, blob FROM Packages ORDER BY hnum').fetchall()\n\
        rows.insert(0, (0, struct.pack('=I', rows[-1][0])))\n\
        print('VERSION=3\\nformat=bytevalue\\ntype=hash\\nHEADER=END')\n\
        for number, blob in rows: print('', struct.pack('=I', number).hex() + '\\n', blob.hex())\n\
        print('DATA=END')\n";
    let dump = run(Command::new("python3")
        .args(["-c", program])
        .arg(directory.join("rpmdb.sqlite")));
    std::fs::remove_dir_all(&directory).unwrap();
    let directory = root.path().join("var/lib/rpm");
    std::fs::create_dir_all(&directory).unwrap();
    let dumped = root.path().join("dump");
    std::fs::write(&dumped, dump).unwrap();
    run(Command::new("db_load")
        .arg("-f")
        .arg(dumped)
        .arg(directory.join("Packages")));
    let expected = everything(&Rpm::open(&world.root).unwrap());
    assert_same(&everything(&Rpm::open(root.path()).unwrap()), &expected);
}

#[test]
fn a_format_that_rpm_does_not_know_is_named_and_left_alone() {
    if !require(&["rpm"]) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let error = Rpm::open(root.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("there is no RPM database below"),
        "{error}"
    );
    let directory = root.path().join(DIRECTORY);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("Packages.db"), "").unwrap();
    let error = Rpm::open(root.path()).unwrap_err();
    assert!(error.to_string().contains("whose format is ndb"), "{error}");
    assert!(error.advice().is_some());
    assert_eq!(directory.read_dir().unwrap().count(), 1);
}
