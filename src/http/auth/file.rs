//! Files of credentials: what stands in them, and whether they changed. Nothing here keeps a secret longer than to hash it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

/// Shorter tokens can be guessed.
const LEAST_TOKEN_BYTES: usize = 16;

/// A file greater than this holds no tokens.
const FILE_LIMIT_BYTES: u64 = 64 << 10;

/// Longer names do not fit into a line.
const NAME_BYTES: usize = 64;

pub(super) type Hash = [u8; 32];

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) hash: Hash,
}

/// What a file looked like; a changed one is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Look {
    modified: Option<SystemTime>,
    bytes: u64,
}

pub(in crate::http) fn look(file: &Path) -> std::io::Result<Look> {
    let metadata = fs::metadata(file)?;
    Ok(Look { modified: metadata.modified().ok(), bytes: metadata.len() })
}

/// Reads a file, or says what is wrong with it.
pub(super) fn read(file: &Path) -> Result<(Look, Vec<Entry>), String> {
    // The look comes first: a file that changes in between looks changed the next time.
    let look = look(file).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(FILE_LIMIT_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > FILE_LIMIT_BYTES {
        return Err(format!("is greater than {FILE_LIMIT_BYTES} bytes; expected one token a line"));
    }
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let unnamed: String = stem.chars().map(|c| if is_of_a_name(c) { c } else { '_' }).take(NAME_BYTES).collect();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let tokens: Vec<(&str, &str)> = lines.map(|line| split(line, &unnamed)).collect();
    if tokens.is_empty() {
        return Err("holds no token; expected one a line, for example from `openssl rand -hex 32`".to_owned());
    }
    if let Some(short) = tokens.iter().position(|(_, token)| token.len() < LEAST_TOKEN_BYTES) {
        let number = short + 1;
        return Err(format!(
            "holds a token (number {number}) that can be guessed; expected {LEAST_TOKEN_BYTES} characters or more, for example \
             from `openssl rand -hex 32`"
        ));
    }
    let entry = |(name, token): (&str, &str)| Entry { name: name.to_owned(), hash: Sha256::digest(token).into() };
    Ok((look, tokens.into_iter().map(entry).collect()))
}

/// `NAME: TOKEN`, or a token alone. The blank tells them apart: no token has one.
fn split<'a>(line: &'a str, unnamed: &'a str) -> (&'a str, &'a str) {
    match line.split_once(": ") {
        Some((name, token)) if (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(is_of_a_name) => (name, token.trim()),
        _ => (unnamed, line),
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+')
}
