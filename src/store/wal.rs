//! Looks for damage inside a write-ahead log before SQLite sees it. SQLite ends its recovery silently at the first frame whose
//! checksum is wrong: right for a torn tail (never acknowledged), wrong for a flipped byte with acknowledged transactions after it.
//!
//! Every transaction is on the disk before the next one begins to be written. So a bad frame that is followed by the end of its
//! transaction *and* by sound frames of a later one is no torn tail.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// The running checksum of the format.
type Sum = (u32, u32);

/// The number of the first bad frame (from 1; 0 is the header) when acknowledged transactions lie behind it.
pub(super) fn damage(path: &Path, page_size: usize) -> io::Result<Option<u64>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut header = [0; HEADER];
    if !fill(&mut reader, &mut header)? {
        return Ok(None);
    }
    let big_endian = word(&header, 0) & 1 == 1;
    let sum = checksum((0, 0), &header[..24], big_endian);
    let sound = word(&header, 0) | 1 == MAGIC | 1 && sum == (word(&header, 24), word(&header, 28));
    let mut scan = Scan {
        big_endian,
        salts: sound.then(|| (word(&header, 16), word(&header, 20))),
        previous: sound.then_some(sum),
        bad: if sound { None } else { Some(0) },
        commit_behind: !sound,
    };
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let mut number = 0;
    while fill(&mut reader, &mut frame)? {
        number += 1;
        if scan.later_transaction(number, &frame) {
            return Ok(scan.bad);
        }
    }
    Ok(None)
}

struct Scan {
    big_endian: bool,
    salts: Option<Sum>,
    /// The checksum that the next frame goes on from: as stored, once a frame was bad.
    previous: Option<Sum>,
    bad: Option<u64>,
    commit_behind: bool,
}

impl Scan {
    /// Takes the next frame; true when it proves damage.
    fn later_transaction(&mut self, number: u64, frame: &[u8]) -> bool {
        let salts = (word(frame, 8), word(frame, 12));
        let stored = (word(frame, 16), word(frame, 20));
        let ours = *self.salts.get_or_insert(salts) == salts;
        let sound = ours
            && self.previous.is_some_and(|previous| {
                let sum = checksum(previous, &frame[..8], self.big_endian);
                checksum(sum, &frame[FRAME_HEADER..], self.big_endian) == stored
            });
        self.previous = Some(stored);
        let commits = word(frame, 4) != 0;
        match self.bad {
            None if sound => {}
            None => {
                self.bad = Some(number);
                self.commit_behind = commits;
            }
            Some(_) if sound && self.commit_behind => return true,
            Some(_) => self.commit_behind |= ours && commits,
        }
        false
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn checksum((mut a, mut b): Sum, bytes: &[u8], big_endian: bool) -> Sum {
    let read = |four: &[u8]| {
        let word = word(four, 0);
        if big_endian { word } else { word.swap_bytes() }
    };
    for eight in bytes.chunks_exact(8) {
        a = a.wrapping_add(read(&eight[..4])).wrapping_add(b);
        b = b.wrapping_add(read(&eight[4..])).wrapping_add(a);
    }
    (a, b)
}

/// Fills the buffer; false at the end of the file.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
