//! Reading packages, anybody's, as plain data.

mod ar;
mod cpio;
mod deb;
mod frame;
mod rpm;

pub(crate) use ar::{Member, members};
pub(crate) use deb::signed as signed_members;
pub(crate) use frame::frames;

use super::openpgp::SignaturePacket;
use crate::{Error, Result, files};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// More than any real package holds when decompressed, in bytes; little enough
/// that a crafted one is not read for ever.
const LIMIT: u64 = 16 << 30;

/// More than any skeleton holds, in bytes: it is kept in memory.
const SKELETON_LIMIT: u64 = 256 << 20;

/// The format of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Debian's binary package, see deb(5).
    Deb,
    /// An RPM package, binary or source.
    Rpm,
}

/// A package, read; its serialised form is what `freezedry inspect --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Package {
    /// Its format.
    pub format: Format,
    /// What it says of itself.
    pub metadata: Metadata,
    /// What it wants of other packages, by the format's own name of the
    /// relation in lower case: `depends`, `pre-depends`, `requires`, ...
    pub relations: BTreeMap<&'static str, Vec<String>>,
    /// Programs that run when it is installed, removed or triggered.
    pub scripts: Vec<Script>,
    /// How large it is.
    pub sizes: Sizes,
    /// The digests that it carries, recomputed.
    pub digests: Vec<DigestCheck>,
    /// Its signatures.
    pub signatures: Vec<Signature>,
    /// Its files, by path.
    pub files: BTreeMap<String, PackagedPath>,
    /// The skeletons in it: by directory, the files and their bytes.
    #[serde(skip)]
    pub skeletons: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// What the signatures are made over.
    #[serde(skip)]
    pub signed: Vec<u8>,
}

/// What a package says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// The full version, as the package manager shows it: `1:2.0-3`.
    pub version: String,
    /// The architecture in the format's spelling: `all`, `amd64`, `noarch`, ...
    pub architecture: String,
    /// One line.
    pub summary: String,
    /// The long text.
    pub description: String,
    /// The licence; a `.deb` has it in a file instead.
    pub license: Option<String>,
    /// Who is responsible for it.
    pub maintainer: Option<String>,
    /// Its home page.
    pub homepage: Option<String>,
    /// Everything else that is one line of text, by the format's own name.
    pub other: BTreeMap<String, String>,
}

/// A program of a package that runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    /// When: `postinst`, `posttrans`, `transfiletrigger`, ...
    pub name: String,
    /// What triggers it, if something does.
    pub triggers: Vec<String>,
    /// What interprets it.
    pub interpreter: String,
    /// The program.
    pub text: String,
}

/// How large a package is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The package file.
    pub package: u64,
    /// The compressed files in it.
    pub payload: u64,
    /// All regular files when installed.
    pub installed: u64,
}

/// A digest that a package carries, and whether it is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DigestCheck {
    /// What it is of: `header`, `payload`, a path, ...
    pub of: String,
    /// `md5`, `sha256`, ...
    pub algorithm: &'static str,
    /// Whether it is right.
    pub good: bool,
    /// What the package says, in hexadecimal; `None` where one line stands for
    /// many files.
    pub expected: Option<String>,
}

/// A signature of a package.
#[derive(Debug, Clone, Serialize)]
pub struct Signature {
    /// Where it lies: `header` in an RPM package, the name of the member in a
    /// Debian one.
    pub place: String,
    /// The algorithms and the key.
    #[serde(flatten)]
    pub packet: SignaturePacket,
    /// What the host's programs say of it.
    pub verdict: Verdict,
    /// Whose key it is, if the host knows.
    pub signer: Option<String>,
    /// Which program checked it.
    pub checked_by: Option<String>,
    /// The signature itself.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// What is known of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Made by a key that the host has.
    Good,
    /// Made by a key that the host has and that has expired or is revoked.
    KeyNotValid,
    /// It is not of this package.
    Bad,
    /// The host does not have the key.
    UnknownKey,
    /// No program of the host could check it.
    NotChecked,
}

/// A path of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackagedPath {
    /// `file`, `directory`, `symlink`, `hardlink` or `special`.
    pub kind: &'static str,
    /// The permission bits, in octal: `0755`.
    pub mode: String,
    /// The name of its owner, or the number where there is no name.
    pub owner: String,
    /// The name of its group, likewise.
    pub group: String,
    /// The size of a regular file, in bytes.
    pub size: u64,
    /// The SHA-256 of a regular file, in hexadecimal.
    pub sha256: Option<String>,
    /// Where a link leads.
    pub target: Option<String>,
    /// `config`, `doc`, `license`, `ghost`, ...
    pub flags: Vec<&'static str>,
}

/// The format of a file that begins with `bytes`; content decides.
pub fn format(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(b"!<arch>\ndebian-binary") {
        Some(Format::Deb)
    } else if bytes.starts_with(&frame::LEAD_MAGIC) {
        Some(Format::Rpm)
    } else {
        None
    }
}

/// Reads the package at `path`.
pub fn read(path: &Path) -> Result<Package> {
    parse(&path.display().to_string(), &files::read(path)?)
}

/// Reads the package `bytes`; `name` is for messages.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Package> {
    match format(bytes) {
        Some(Format::Deb) => deb::parse(name, bytes),
        Some(Format::Rpm) => rpm::parse(name, bytes),
        None => Err(Error::input(format!(
            "`{name}` is neither a Debian nor an RPM package"
        ))),
    }
}

/// An error for a package that is not as its format wants it.
pub(crate) fn damaged(name: &str, place: &str, why: &str) -> Error {
    Error::input(format!("the package `{name}` is damaged: {place}: {why}"))
        .hint("get the package again")
}

/// What reading the content of a file tells.
struct Hashed {
    sha256: String,
    md5: String,
    size: u64,
}

impl Package {
    /// A package of which nothing is known yet.
    fn new(format: Format, size: usize) -> Self {
        Self {
            format,
            metadata: Metadata::default(),
            relations: BTreeMap::new(),
            scripts: Vec::new(),
            sizes: Sizes {
                package: size as u64,
                ..Sizes::default()
            },
            digests: Vec::new(),
            signatures: Vec::new(),
            files: BTreeMap::new(),
            skeletons: BTreeMap::new(),
            signed: Vec::new(),
        }
    }

    /// Reads the content of the file `path` to its end: hashes it, and keeps it
    /// if it is a skeleton's.
    fn content(&mut self, path: &str, mut content: impl Read) -> std::io::Result<Hashed> {
        let place = path
            .rsplit_once('/')
            .filter(|(directory, _)| directory.ends_with("/supermin.d"));
        let mut kept = Vec::new();
        let (mut sha256, mut md5) = (Sha256::new(), md5::Md5::new());
        let mut size = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = content.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            sha256.update(&buffer[..length]);
            md5.update(&buffer[..length]);
            size += length as u64;
            if place.is_some() && size <= SKELETON_LIMIT {
                kept.extend_from_slice(&buffer[..length]);
            }
        }
        if let Some((directory, member)) = place.filter(|_| size <= SKELETON_LIMIT) {
            self.skeletons
                .entry(directory.to_owned())
                .or_default()
                .insert(member.to_owned(), kept);
        }
        Ok(Hashed {
            sha256: super::hex(&sha256.finalize()),
            md5: super::hex(&md5.finalize()),
            size,
        })
    }

    /// Adds a digest that was recomputed.
    fn digest(&mut self, of: &str, algorithm: &'static str, expected: &str, found: &str) {
        self.digests.push(DigestCheck {
            of: of.to_owned(),
            algorithm,
            good: expected.eq_ignore_ascii_case(found),
            expected: Some(expected.to_owned()),
        });
    }

    /// Adds one line for `count` digests of files, or those that are wrong.
    fn file_digests(&mut self, algorithm: &'static str, count: usize, wrong: Vec<String>) {
        if count > 0 && wrong.is_empty() {
            self.digests.push(DigestCheck {
                of: format!("{count} files"),
                algorithm,
                good: true,
                expected: None,
            });
        }
        self.digests.extend(wrong.into_iter().map(|of| DigestCheck {
            of,
            algorithm,
            good: false,
            expected: None,
        }));
    }

    /// An error if a digest is wrong; `name` is for the message.
    pub(crate) fn must_be_sound(&self, name: &str) -> Result<()> {
        match self.digests.iter().find(|digest| !digest.good) {
            None => Ok(()),
            Some(digest) => Err(damaged(
                name,
                &digest.of,
                &format!("the {} digest is wrong", digest.algorithm),
            )),
        }
    }

    /// Whether every digest is right and no signature is bad.
    pub fn is_sound(&self) -> bool {
        self.digests.iter().all(|digest| digest.good)
            && self
                .signatures
                .iter()
                .all(|signature| signature.verdict != Verdict::Bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Contents, deb as write_deb, rpm as write_rpm};
    use crate::{description, family::Family, skeleton};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// hello-vm as `.deb` and `.rpm`.
    static PACKAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-vm/appliance.yaml");
        let description = description::load(&path).unwrap();
        let of = |family| {
            let prepared = skeleton::prepare(&skeleton::Request {
                description: &description,
                family,
                host: None,
                download: None,
            });
            let contents = Contents::new(&description, &prepared.unwrap(), family).unwrap();
            match family {
                Family::Debian => write_deb::build(&contents).unwrap(),
                _ => write_rpm::build(&contents).unwrap(),
            }
        };
        [of(Family::Debian), of(Family::Fedora)]
    });

    #[test]
    fn our_own_packages_are_sound() {
        for bytes in PACKAGES.iter() {
            let package = parse("hello-vm", bytes).unwrap();
            assert!(package.is_sound(), "{:?}", package.digests);
            assert!(!package.digests.is_empty());
            assert_eq!(package.metadata.name, "hello-vm");
            assert_eq!(package.metadata.version, "1.0-1");
            let skeleton = &package.skeletons["/usr/share/freezedry/hello-vm/supermin.d"];
            assert!(skeleton["packages"].starts_with(b"bash\n"));
            assert_eq!(package.files["/usr/bin/boot-hello-vm"].mode, "0755");
        }
    }

    #[test]
    fn a_flipped_bit_of_the_payload_is_noticed() {
        for bytes in PACKAGES.iter() {
            let mut bytes = bytes.clone();
            let at = bytes.len() - 200;
            bytes[at] ^= 1;
            let noticed = parse("x", &bytes).map_or(true, |package| !package.is_sound());
            assert!(noticed);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn damaged_packages_never_panic(
            which in 0..2usize,
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            early in proptest::collection::vec((0..6000usize, any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = PACKAGES[which].clone();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            for (at, value) in early {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            if let Err(error) = parse("x.pkg", &bytes) {
                prop_assert!(error.to_string().contains("x.pkg"), "{}", error);
            }
        }
    }
}
