//! One line of a script: words, and `key=value` pairs, quoted where they hold blanks.

use std::time::Duration;

use crate::model::TargetRef;
use crate::policy::duration;

/// A line that is read from left to right; what nobody asked for is an error.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    words: Vec<String>,
    pairs: Vec<(String, String)>,
}

impl Line {
    /// Takes a line apart.
    pub(super) fn split(text: &str) -> Self {
        let mut line = Self::default();
        for (token, equals) in tokens(text) {
            match equals {
                Some(at) => line.pairs.push((token[..at].to_owned(), token[at + 1..].to_owned())),
                None => line.words.push(token),
            }
        }
        line
    }

    /// The next word.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn word(&mut self, what: &str) -> Result<String, String> {
        if self.words.is_empty() { Err(format!("expected {what}")) } else { Ok(self.words.remove(0)) }
    }

    /// Gives a word back.
    pub(super) fn put_back(&mut self, word: String) {
        self.words.insert(0, word);
    }

    /// The next word, if there is one.
    pub(super) fn next_word(&mut self) -> Option<String> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    /// A delay, `+5s`, if it is the next word.
    pub(super) fn next_if_delay(&mut self) -> Option<String> {
        let delay = self.words.first()?.strip_prefix('+')?.to_owned();
        self.words.remove(0);
        Some(delay)
    }

    /// A flag: a word that is there or not.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let found = self.words.iter().position(|word| word == name);
        found.map(|at| self.words.remove(at)).is_some()
    }

    /// The value of a key.
    pub(super) fn value(&mut self, key: &str) -> Option<String> {
        let found = self.pairs.iter().position(|(known, _)| known == key)?;
        Some(self.pairs.remove(found).1)
    }

    /// The value of a key, or what it is else.
    pub(super) fn or(&mut self, key: &str, otherwise: &str) -> String {
        self.value(key).unwrap_or_else(|| otherwise.to_owned())
    }

    /// A list, by commas.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        self.value(key).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }

    /// A duration.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn duration(&mut self, key: &str) -> Result<Option<Duration>, String> {
        self.value(key).map(|text| parse_duration(&text)).transpose()
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn integer<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        self.value(key).map(|text| text.parse().map_err(|_| format!("`{text}` is no number"))).transpose()
    }

    /// An incident's number: `#2`.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn number(&mut self) -> Result<Option<usize>, String> {
        match self.words.first().and_then(|word| word.strip_prefix('#')).map(str::to_owned) {
            None => Ok(None),
            Some(text) => {
                self.words.remove(0);
                text.parse().map(Some).map_err(|_| format!("`#{text}` is no number of an incident"))
            }
        }
    }

    /// A target: `namespace/name`.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn target(&mut self) -> Result<TargetRef, String> {
        let text = self.word("namespace/name")?;
        let (namespace, name) = text.split_once('/').ok_or_else(|| format!("`{text}` is not namespace/name"))?;
        TargetRef::deployment(namespace, name)
    }

    /// All pairs that are left.
    pub(super) fn rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.pairs)
    }

    /// Nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub(super) fn finish(&self) -> Result<(), String> {
        match (self.words.first(), self.pairs.first()) {
            (Some(word), _) => Err(format!("`{word}` means nothing here")),
            (None, Some((key, _))) => Err(format!("`{key}=` means nothing here")),
            (None, None) => Ok(()),
        }
    }
}

/// A duration as Prometheus writes it; `0` is one too.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    duration::parse(text).map_err(|problem| format!("`{text}`: {}", problem.message))
}

/// Tokens, each with the place of its first `=` outside of quotes.
fn tokens(text: &str) -> Vec<(String, Option<usize>)> {
    let mut tokens = Vec::new();
    let mut token: Option<(String, Option<usize>)> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => token.get_or_insert_default().0.push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                token.get_or_insert_default();
            }
            (None, '#') if token.is_none() && tokens.is_empty() => break,
            (None, _) if letter.is_whitespace() => tokens.extend(token.take()),
            (None, _) => {
                let (text, equals) = token.get_or_insert_default();
                if letter == '=' && equals.is_none() {
                    *equals = Some(text.len());
                }
                text.push(letter);
            }
        }
    }
    tokens.extend(token);
    tokens
}
