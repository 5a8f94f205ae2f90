//! Which mutant is awake. The tool puts this file into its copy of the sources as `src/mutant.rs`; it is no part of the tool.
//!
//! `MUTANT=N` wakes mutant N. `MUTANT_SEEN=FILE` writes down which mutants a test came by.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};

/// More mutants than `list.rs` lets through.
const MOST: usize = 1 << 16;

static AWAKE: LazyLock<usize> = LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0));
static SEEN: [AtomicBool; MOST] = [const { AtomicBool::new(false) }; MOST];
static OUT: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let path = std::env::var_os("MUTANT_SEEN")?;
    Some(Mutex::new(OpenOptions::new().create(true).append(true).open(path).expect("the file of MUTANT_SEEN can be written")))
});

/// Whether this mutant is awake.
#[inline]
pub fn m(id: usize) -> bool {
    if let Some(out) = &*OUT
        && !SEEN[id].swap(true, Ordering::Relaxed)
    {
        // One write, so that a program and what it starts may share the file.
        out.lock().expect("nobody panics here").write_all(format!("{id}\n").as_bytes()).expect("it can be written");
    }
    *AWAKE == id
}

/// An iterator of such items.
pub fn of<T, I: Iterator<Item = T>>(iterator: I) -> I {
    iterator
}

/// One of two iterators: what a function that returns `impl Iterator` returns when it has a mutant.
pub enum Either<A, B> {
    A(A),
    B(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::A(iterator) => iterator.next(),
            Self::B(iterator) => iterator.next(),
        }
    }
}

impl<T, A: DoubleEndedIterator<Item = T>, B: DoubleEndedIterator<Item = T>> DoubleEndedIterator for Either<A, B> {
    fn next_back(&mut self) -> Option<T> {
        match self {
            Self::A(iterator) => iterator.next_back(),
            Self::B(iterator) => iterator.next_back(),
        }
    }
}
