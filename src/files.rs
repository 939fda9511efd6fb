//! File access whose errors name the file.

use crate::{Error, Result};
use std::fs::{self, File, Metadata, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The whole content of `path`.
#[allow(clippy::disallowed_methods)] // this is the wrapper that the lint asks for
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).map_err(|e| Error::io("cannot read", path, e))
}

/// The whole content of `path`, which has to be UTF-8.
#[allow(clippy::disallowed_methods)]
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|e| Error::io("cannot read", path, e))
}

/// Writes `content` to `path`, replacing what is there.
#[allow(clippy::disallowed_methods)]
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    fs::write(path, content).map_err(|e| Error::io("cannot write", path, e))
}

/// Makes `path` and the directories above it; it is fine if they exist.
#[allow(clippy::disallowed_methods)]
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fs::create_dir_all(path).map_err(|e| Error::io("cannot create directory", path, e))
}

/// Makes `path` and the directories above it, those that are new for this user alone.
pub fn create_private_dir_all(path: impl AsRef<Path>) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let path = path.as_ref();
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::io("cannot create directory", path, e))
}

/// Opens `path` for reading.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    File::open(path).map_err(|e| Error::io("cannot open", path, e))
}

/// Creates `path`, or empties it.
pub fn create(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    File::create(path).map_err(|e| Error::io("cannot create", path, e))
}

/// Waits until what is in `path`, a file or a directory, is on the disk.
pub fn sync(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    open(path)?
        .sync_all()
        .map_err(|e| Error::io("cannot synchronise", path, e))
}

/// What `lstat` says of `path`.
pub fn lstat(path: impl AsRef<Path>) -> Result<Metadata> {
    let path = path.as_ref();
    fs::symlink_metadata(path).map_err(|e| Error::io("cannot examine", path, e))
}

/// What `stat` says of what `path` leads to.
pub fn stat(path: impl AsRef<Path>) -> Result<Metadata> {
    let path = path.as_ref();
    fs::metadata(path).map_err(|e| Error::io("cannot examine", path, e))
}

/// Renames `from` to `to`, replacing what is there.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    fs::rename(from, to)
        .map_err(|e| Error::io(&format!("cannot rename `{}` to", from.display()), to, e))
}

/// Writes `content` to `path`, whole or not at all; a file that is there keeps
/// its mode, and a symbolic link leads to what is replaced.
pub fn replace(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    // Fails where nothing is yet.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match real.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let cannot = |e| Error::io("cannot write", path, e);
    // As a new file has it; the umask takes its part away.
    let mode = Permissions::from_mode(0o666);
    let mut part = tempfile::Builder::new()
        .permissions(mode)
        .tempfile_in(folder)
        .map_err(cannot)?;
    part.write_all(content.as_ref()).map_err(cannot)?;
    if let Ok(meta) = fs::metadata(&real) {
        fs::set_permissions(part.path(), meta.permissions())
            .map_err(|e| Error::io("cannot set the mode of", part.path(), e))?;
    }
    part.persist(&real)
        .map_err(|e| Error::io("cannot replace", &real, e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_leads_to_is_replaced_and_modes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let [file, link, new, plain] = ["file", "link", "new", "plain"].map(|n| dir.path().join(n));
        write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, "content").unwrap();
        assert_eq!(read_text(&file).unwrap(), "content");
        assert!(lstat(&link).unwrap().is_symlink());
        assert_eq!(lstat(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        // A new one is as any other new file.
        replace(&new, "content").unwrap();
        write(&plain, "content").unwrap();
        let [new, plain] = [new, plain].map(|path| lstat(path).unwrap().permissions());
        assert_eq!(new, plain);
        // Nothing is left beside them.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}
