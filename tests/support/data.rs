//! Made-up data, the same for the same seed, and the comparison of what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};

/// Numbers without a pattern: splitmix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
        bytes
    }
}

/// Makes a file of `len` bytes, and the folders above it.
pub(crate) fn write_noise(path: &Path, len: u64, noise: &mut Noise) {
    fs::create_dir_all(path.parent().expect("a path below the scratch folder")).unwrap();
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut left = len;
    while left > 0 {
        let step = left.min(1 << 20);
        let bytes = noise.bytes(usize::try_from(step).expect("at most 1 MiB"));
        file.write_all(&bytes).unwrap();
        left -= step;
    }
    file.flush().unwrap();
}

/// All that is below a folder: for each file its length and SHA-1, for each folder nothing.
#[derive(PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<PathBuf, Option<(u64, [u8; 20])>>);

impl Tree {
    pub(crate) fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).expect("found below the root").to_path_buf();
                if path.is_dir() {
                    entries.insert(name, None);
                    folders.push(path);
                } else {
                    entries.insert(name, Some(len_and_sha1(&path)));
                }
            }
        }
        Self(entries)
    }

    /// The same without its empty files.
    pub(crate) fn without_empty_files(&self) -> Self {
        let is_empty = |entry: &Option<(u64, [u8; 20])>| matches!(entry, Some((0, _)));
        let rest = self.0.iter().filter(|(_, entry)| !is_empty(entry));
        Self(rest.map(|(name, entry)| (name.clone(), *entry)).collect())
    }

    /// Panics with each difference when `root` does not hold this and nothing else.
    pub(crate) fn assert_is_at(&self, root: &Path) {
        let there = Self::of(root);
        let mut differences = String::new();
        for (name, entry) in &self.0 {
            match there.0.get(name) {
                None => writeln!(differences, "missing: {}", name.display()).unwrap(),
                Some(other) if other != entry => {
                    writeln!(
                        differences,
                        "different: {}: {other:?}, not {entry:?}",
                        name.display()
                    )
                    .unwrap();
                }
                Some(_) => {}
            }
        }
        for name in there.0.keys().filter(|name| !self.0.contains_key(*name)) {
            writeln!(differences, "nobody asked for: {}", name.display()).unwrap();
        }
        assert!(differences.is_empty(), "{}:\n{differences}", root.display());
    }
}

fn len_and_sha1(path: &Path) -> (u64, [u8; 20]) {
    let mut file = File::open(path).unwrap();
    let (mut len, mut sha1, mut buffer) = (0, Sha1::new(), vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer).unwrap();
        if n == 0 {
            return (len, sha1.finalize().into());
        }
        sha1.update(&buffer[..n]);
        len += u64::try_from(n).expect("at most 1 MiB");
    }
}
