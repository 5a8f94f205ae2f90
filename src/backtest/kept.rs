//! Answers that are kept on the disk, so that what was downloaded once is not asked for again. A file's name says what it depends
//! on; its content is compressed. What cannot be read counts as not there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::series::Series;

/// How the files are written. Another number: older ones are not read any more.
const FORMAT: &str = "1";
/// No answer is larger when it is unpacked.
const LARGEST: usize = 512 << 20;

/// A folder with answers.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// The folder, made if it is not there. Nobody else may read it: labels may be confidential.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self, String> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| format!("cannot make the folder `{}`: {error}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The answer to a question that was asked with all of this.
    pub(super) fn get(&self, question: &[&str]) -> Option<Vec<Series>> {
        let packed = fs::read(self.path(question)).ok()?;
        let size = u32::from_le_bytes(packed.get(..4)?.try_into().ok()?);
        if usize::try_from(size).ok()? > LARGEST {
            return None;
        }
        let bytes = lz4_flex::decompress_size_prepended(&packed).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps an answer. It is there whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn put(&self, question: &[&str], answer: &[Series]) -> Result<(), String> {
        let path = self.path(question);
        let cannot = |error: std::io::Error| format!("cannot write `{}`: {error}", path.display());
        let bytes = serde_json::to_vec(answer).map_err(|error| cannot(error.into()))?;
        let half = path.with_extension("half");
        let mut file = fs::File::create(&half).map_err(cannot)?;
        file.write_all(&lz4_flex::compress_prepend_size(&bytes)).map_err(cannot)?;
        fs::rename(&half, &path).map_err(cannot)
    }

    fn path(&self, question: &[&str]) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [FORMAT].iter().chain(question) {
            hash.update(part.len().to_le_bytes());
            hash.update(part.as_bytes());
        }
        let name: String = hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}.lz4"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Labels;

    #[test]
    fn what_is_kept_is_found_by_all_that_it_depends_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(&folder.path().join("a/b")).expect("made");
        let series = vec![Series::new(Labels::new(), [(0, 0.1 + 0.2)], Duration::from_secs(30))];
        kept.put(&["http://a", "up"], &series).expect("written");
        assert_eq!(kept.get(&["http://a", "up"]), Some(series));
        assert_eq!(kept.get(&["http://", "aup"]), None);
        for file in fs::read_dir(folder.path().join("a/b")).expect("a folder") {
            fs::write(file.expect("a file").path(), b"\xff\xff\xff\xffnonsense").expect("written");
        }
        assert_eq!(kept.get(&["http://a", "up"]), None, "a broken file is asked for again");
    }
}
