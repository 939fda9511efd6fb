//! supermin's own rule for `--if-newer`: times of files alone.
//!
//! It is kept for appliances that have no stamp, which are those that supermin
//! made and trees made with `--format chroot`.

use crate::Error;
use crate::Result;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::SystemTime;

/// Whether every one of `outputs` is newer than every one of `inputs`; if any
/// of them is missing, it is not.
///
/// Symlinks are not followed, and a directory counts by its own time.
pub(super) fn is_newer(outputs: &[PathBuf], inputs: &[PathBuf]) -> Result<bool> {
    let (Some(outputs), Some(inputs)) = (times(outputs)?, times(inputs)?) else {
        return Ok(false);
    };
    Ok(inputs.iter().max() < outputs.iter().min())
}

/// The modification times of `paths`; `None` if one of them is missing.
fn times(paths: &[PathBuf]) -> Result<Option<Vec<SystemTime>>> {
    let mut times = Vec::new();
    for path in paths {
        match path.symlink_metadata().and_then(|meta| meta.modified()) {
            Ok(time) => times.push(time),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("cannot examine", path, e)),
        }
    }
    Ok(Some(times))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use std::time::Duration;

    #[test]
    fn all_outputs_have_to_be_newer_than_all_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, seconds| {
            let path = dir.path().join(name);
            let file = files::create(&path).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
            path
        };
        let (old, same, new) = (file("old", 1), file("same", 2), file("new", 3));
        let missing = dir.path().join("missing");
        for (outputs, inputs, expected) in [
            (vec![&new], vec![&old, &same], true),
            (vec![&new, &same], vec![&old], true),
            (vec![&new, &same], vec![&same], false),
            (vec![&new, &missing], vec![&old], false),
            (vec![&new], vec![&missing], false),
        ] {
            let own = |paths: Vec<&PathBuf>| paths.into_iter().cloned().collect::<Vec<_>>();
            let newer = is_newer(&own(outputs.clone()), &own(inputs.clone())).unwrap();
            assert_eq!(newer, expected, "{outputs:?} {inputs:?}");
        }
    }
}
