//! Reading a skeleton.

use super::sniff::{self, Kind};
use super::{BaseImage, Skeleton, Visited, archive, cpio, list};
use crate::compression::{self, decompress, first_stream};
use crate::glob::Wildcards;
use crate::{Error, Result, files};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Reads the skeleton that `inputs` make up: each is a file, or a directory
/// whose files are read in the order of their names, and those below it.
pub fn read(inputs: &[PathBuf]) -> Result<Skeleton> {
    read_as(inputs, Wildcards::Glob)
}

/// The patterns of host files alone, from lists that are not compressed: what
/// has to be looked at to know whether an appliance is fresh, without reading
/// archives.
pub fn host_files(inputs: &[PathBuf]) -> Result<Vec<OsString>> {
    let mut found = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let entries =
                std::fs::read_dir(input).map_err(|e| Error::io("cannot list", input, e))?;
            let inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            found.extend(host_files(&inside)?);
        } else if input.is_file() {
            let content = files::read(input)?;
            if content.starts_with(b"/") {
                found.extend(list::lines(&content).lines.into_iter().map(OsStr::to_owned));
            }
        }
    }
    Ok(found)
}

/// The same as supermin 4 does it: hidden files and backups (`*~`) in a
/// directory are passed over, and host files have its wildcards.
pub fn read_v4(inputs: &[PathBuf]) -> Result<Skeleton> {
    read_as(inputs, Wildcards::Supermin4)
}

fn read_as(inputs: &[PathBuf], wildcards: Wildcards) -> Result<Skeleton> {
    let mut reader = Reader {
        skeleton: Skeleton {
            wildcards,
            ..Skeleton::default()
        },
        inside: Vec::new(),
    };
    inputs.iter().try_for_each(|input| reader.visit(input))?;
    Ok(reader.skeleton)
}

struct Reader {
    skeleton: Skeleton,
    /// The directories that are being read, by device and inode.
    inside: Vec<(u64, u64)>,
}

impl Reader {
    fn visit(&mut self, path: &Path) -> Result<()> {
        let meta = std::fs::metadata(path).map_err(|e| {
            Error::io("cannot read the skeleton's", path, e)
                .hint("give the directory that `freezedry prepare` or `supermin --prepare` made")
        })?;
        if meta.is_dir() {
            let identity = (meta.dev(), meta.ino());
            if self.inside.contains(&identity) {
                return Err(Error::input(format!(
                    "`{}` in the skeleton leads back to a directory above it",
                    path.display()
                ))
                .hint("remove this symbolic link"));
            }
            self.inside.push(identity);
            self.directory(path)?;
            self.inside.pop();
            return Ok(());
        }
        if !meta.is_file() {
            // Opening a FIFO would wait for ever, and a device may have no end.
            return Err(Error::input(format!(
                "`{}` in the skeleton is no regular file",
                path.display()
            ))
            .hint("remove it"));
        }
        self.file(path)
    }

    fn directory(&mut self, path: &Path) -> Result<()> {
        let cannot = |e| Error::io("cannot list", path, e);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(cannot)? {
            names.push(entry.map_err(cannot)?.file_name());
        }
        if self.skeleton.wildcards == Wildcards::Supermin4 {
            names.retain(|name| {
                let name = name.as_bytes();
                !name.starts_with(b".") && !name.ends_with(b"~")
            });
        }
        names.sort();
        names
            .iter()
            .try_for_each(|name| self.visit(&path.join(name)))
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        let content = files::read(path)?;
        let compression = compression::name(&content);
        // Only the first part tells what a file is: cpio archives may follow
        // each other, each with a compression of its own.
        let first = first_stream(&name, &content, sniff::LIMIT)?;
        let is_cpio = cpio::is_archive(first.as_ref().map_or(&content, |(plain, _)| plain));
        let content = match first {
            _ if is_cpio => content,
            Some((plain, [])) => plain,
            _ => decompress(&name, content, sniff::LIMIT)?,
        };
        let kind = if is_cpio {
            Kind::Cpio
        } else {
            sniff::kind(&name, &content)?
        };
        self.skeleton.visited.push(Visited {
            path: path.to_owned(),
            kind: format!("{compression} {kind}"),
        });
        match kind {
            Kind::Empty => Ok(()),
            Kind::Tar | Kind::Cpio => {
                self.skeleton.images.push(BaseImage {
                    name: path
                        .file_name()
                        .map_or(name.as_str().into(), |file| file.to_string_lossy().into()),
                    path: path.to_owned(),
                    is_cpio,
                    members: if is_cpio {
                        cpio::unpack(&name, &content)?
                    } else {
                        archive::unpack(&name, &content)?
                    },
                });
                Ok(())
            }
            Kind::Packages | Kind::HostFiles | Kind::Excludes => self.list(kind, &name, &content),
        }
    }

    fn list(&mut self, kind: Kind, name: &str, content: &[u8]) -> Result<()> {
        let list::Lines { lines, notices } = list::lines(content);
        let skeleton = &mut self.skeleton;
        let notices = notices
            .into_iter()
            .map(|notice| format!("`{name}` {notice}"));
        skeleton.notices.extend(notices);
        match kind {
            Kind::Packages => {
                let names = lines.iter().map(|line| line.to_string_lossy().into_owned());
                skeleton.packages.extend(names);
            }
            Kind::Excludes => {
                for line in lines {
                    let Some(pattern) = line.as_bytes().strip_prefix(b"-") else {
                        return Err(Error::input(format!(
                            "`{}` in the skeleton's list of excludes `{name}` does not start with `-`",
                            line.display()
                        ))
                        .hint(format!("write `-{}`", line.display())));
                    };
                    skeleton
                        .excludes
                        .push(OsStr::from_bytes(pattern).to_owned());
                }
            }
            _ => {
                for line in lines {
                    let path = match line.as_bytes() {
                        [b'.', path @ ..] => path, // as in supermin 4
                        path => path,
                    };
                    if path.starts_with(b"/") {
                        skeleton.host_files.push(OsStr::from_bytes(path).to_owned());
                    } else {
                        skeleton.notices.push(format!(
                            "`{name}` names `{}`, which is no absolute path and so ignored",
                            line.display()
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::{Member, pack};

    #[test]
    fn names_do_not_matter_and_later_files_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| files::write(dir.path().join(name), bytes).unwrap();
        put("a", b"bash\n");
        put("b", b"-/usr/share/doc/*\n");
        put("c", b"/etc/ld.so.cache\n");
        put("z", b"coreutils\nno-such-package\n");
        put(
            "d",
            &pack(&[Member::file("/init", 0o755, 7, *b"#!/bin/sh\n")]).unwrap(),
        );
        let skeleton = read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(skeleton.packages, ["bash", "coreutils", "no-such-package"]);
        assert_eq!(skeleton.excludes, ["/usr/share/doc/*"]);
        assert_eq!(skeleton.host_files, ["/etc/ld.so.cache"]);
        assert_eq!(&*skeleton.images[0].name, "d");
        assert_eq!(skeleton.images[0].members[0].path, Path::new("/init"));
    }

    #[test]
    fn lists_that_supermin_refuses_or_loses_are_taken_with_a_notice() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| files::write(dir.path().join(name), bytes).unwrap();
        put("a", b"# what goes in\r\nbash\r\n");
        put("b", b"-/var/*\n\n-/b\xff\n");
        put("c", b"/etc/\xff\netc/relative\n./etc/dot\n");
        let skeleton = read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(skeleton.packages, ["bash"]);
        let raw = OsStr::from_bytes;
        assert_eq!(skeleton.excludes, [raw(b"/var/*"), raw(b"/b\xff")]);
        assert_eq!(skeleton.host_files, [raw(b"/etc/\xff"), raw(b"/etc/dot")]);
        assert_eq!(skeleton.notices.len(), 3, "{:?}", skeleton.notices);
        assert!(skeleton.notices[2].contains("`etc/relative`"));
        put("d", b"-/var/*\n/oops\n");
        let error = read(&[dir.path().to_owned()]).unwrap_err();
        assert_eq!(error.advice(), Some("write `-/oops`"));
    }

    #[test]
    fn generations_differ_in_what_they_pass_over() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".hidden", "backup~", "sub/list"] {
            let path = dir.path().join(name);
            files::create_dir_all(path.parent().unwrap()).unwrap();
            files::write(path, name.trim_start_matches('.')).unwrap();
        }
        let inputs = [dir.path().to_owned()];
        let packages = ["hidden", "backup~", "sub/list"];
        assert_eq!(read(&inputs).unwrap().packages, packages);
        assert_eq!(read_v4(&inputs).unwrap().packages, ["sub/list"]);
    }

    #[test]
    fn what_would_never_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("loop");
        std::os::unix::fs::symlink(".", &link).unwrap();
        let error = read(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains("leads back"), "{error}");
        let error = read(&["/dev/zero".into()]).unwrap_err().to_string();
        assert_eq!(error, "`/dev/zero` in the skeleton is no regular file");
    }

    #[test]
    fn an_archive_of_cpio_archives_is_one_base_image() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("base.img");
        let script = "echo hi > a; echo a | cpio --quiet -o -H newc | gzip > b; \
                      echo a | cpio --quiet -o -H odc >> b; mv b base.img";
        let status = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(dir.path())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return; // there is no cpio here
        }
        let skeleton = read(&[path]).unwrap();
        assert_eq!(skeleton.images.len(), 1);
        assert!(skeleton.images[0].is_cpio);
        assert_eq!(skeleton.images[0].members.len(), 2);
    }

    #[test]
    fn a_missing_skeleton_is_named() {
        let error = read(&["/nowhere".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the skeleton's `/nowhere`: No such file or directory (os error 2)"
        );
    }
}
