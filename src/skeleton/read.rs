//! Reading a skeleton.

use super::sniff::{self, Kind};
use super::{BaseImage, Skeleton, Visited, archive};
use crate::compression::{self, decompress};
use crate::{Error, Result, files};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Reads the skeleton that `inputs` make up: each is a file, or a directory
/// whose files are read in the order of their names, and those below it.
pub fn read(inputs: &[PathBuf]) -> Result<Skeleton> {
    let mut skeleton = Skeleton::default();
    for input in inputs {
        visit(input, &mut skeleton)?;
    }
    Ok(skeleton)
}

fn visit(path: &Path, skeleton: &mut Skeleton) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(|e| {
        Error::io("cannot read the skeleton's", path, e)
            .hint("give the directory that `freezedry prepare` or `supermin --prepare` made")
    })?;
    if meta.is_dir() {
        let cannot = |e| Error::io("cannot list", path, e);
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(cannot)? {
            inside.push(entry.map_err(cannot)?.path());
        }
        inside.sort();
        return inside.iter().try_for_each(|path| visit(path, skeleton));
    }
    if meta.file_type().is_fifo() || meta.file_type().is_socket() {
        // Opening one would wait for ever.
        return Err(Error::input(format!(
            "`{}` in the skeleton is no regular file",
            path.display()
        ))
        .hint("remove it"));
    }
    let name = path.display().to_string();
    let packed = files::read(path)?;
    let compression = compression::name(&packed);
    let content = decompress(&name, packed, sniff::LIMIT)?;
    let lines = || -> Result<Vec<String>> {
        let text = String::from_utf8(content.clone()).map_err(|e| {
            Error::input(format!("the skeleton's file `{name}` is not UTF-8")).caused_by(e)
        })?;
        let lines = text.lines().filter(|line| !line.is_empty());
        Ok(lines.map(str::to_owned).collect())
    };
    let kind = sniff::kind(&name, &content)?;
    skeleton.visited.push(Visited {
        path: path.to_owned(),
        kind: format!("{compression} {kind}"),
    });
    match kind {
        Kind::Empty => {}
        Kind::Tar => skeleton.images.push(BaseImage {
            name: path
                .file_name()
                .map_or(name.as_str().into(), |file| file.to_string_lossy().into()),
            members: archive::unpack(&name, &content)?,
        }),
        Kind::Packages => skeleton.packages.extend(lines()?),
        Kind::HostFiles => skeleton.host_files.extend(lines()?),
        Kind::Excludes => {
            for line in lines()? {
                let Some(pattern) = line.strip_prefix('-') else {
                    return Err(Error::input(format!(
                        "`{line}` in the skeleton's list of excludes `{name}` does not start with `-`"
                    )));
                };
                skeleton.excludes.push(pattern.to_owned());
            }
        }
    }
    Ok(())
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
    fn a_missing_skeleton_is_named() {
        let error = read(&["/nowhere".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the skeleton's `/nowhere`: No such file or directory (os error 2)"
        );
    }
}
