//! Takes secrets out of text that goes into reports and pages. Better too much than too little: what is left must still say what
//! broke, not with which password.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What replaces a secret.
const GONE: &str = "[redacted]";

static PATTERNS: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let keep_name = format!("$1{GONE}");
    [
        // -----BEGIN … PRIVATE KEY----- up to its end, or as much of it as there is.
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", GONE.to_owned()),
        // Authorization: Bearer abc, Basic abc; cookies.
        (r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", keep_name.clone()),
        (r"(?i)\b((?:set-)?cookie:\s*)[^\r\n]+", keep_name.clone()),
        // JSON Web Tokens; tokens whose prefix says what they are.
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?", GONE.to_owned()),
        (r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|sk_(?:live|test)_\w{10,}|AIza[\w-]{30,})", GONE.to_owned()),
        // password=…, "api_key": "…", DB_PASSWORD: …
        (
            r#"(?i)([\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization)[\w.-]*["']?\s*[:=]\s*)(?:"(?:\\.|[^"\\])*"|'[^']*'|[^\s,;&"'}]+)"#,
            keep_name,
        ),
    ]
    .into_iter()
    .filter_map(|(pattern, with)| Regex::new(pattern).ok().map(|regex| (regex, with)))
    .collect()
});

/// `user:password@host` in a URL; `image:tag@sha256:…`, which looks the same, is none.
static URL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]*:)([^\s/]+)@(sha256:)?").ok());

/// The text without what looks like a secret.
pub fn redact(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    if let Some(url) = URL.as_ref() {
        let without = url.replace_all(&text, |found: &Captures<'_>| match found.get(3) {
            Some(_) => found[0].to_owned(),
            None => format!("{}{GONE}@", &found[1]),
        });
        text = Cow::Owned(without.into_owned());
    }
    for (pattern, with) in PATTERNS.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&text, with.as_str()) {
            text = Cow::Owned(changed);
        }
    }
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!((PATTERNS.len(), URL.is_some()), (6, true));
    }

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        for (text, secret) in [
            ("Authorization: Bearer abc.def-123456", "abc.def"),
            ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl back", "eyJ"),
            ("connect postgres://shop:hunter2@db:5432/shop failed", "hunter2"),
            (r#"{"db_password": "hunter2 with spaces", "level": 3}"#, "hunter2"),
            ("DB_PASSWORD=hunter2 LEVEL=3", "hunter2"),
            ("api-key: 'hunter2'", "hunter2"),
            ("token=hunter2&next=1", "hunter2"),
            ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY----- after", "hunter2"),
            ("ghp_abcdefghijklmnopqrstuvwxyz0123", "ghp_"),
            ("Set-Cookie: session=hunter2; Path=/", "hunter2"),
        ] {
            let redacted = redact(text);
            assert!(!redacted.contains(secret), "{text} -> {redacted}");
            assert!(redacted.contains(GONE), "{text} -> {redacted}");
        }
        assert!(redact("connect postgres://shop:x@db:5432/shop failed").ends_with("@db:5432/shop failed"));
        let image = "docker-pullable://registry.example/shop:3@sha256:0123";
        assert_eq!(redact(image), image);
        let image = "docker-pullable://shop:3@sha256:0123";
        assert_eq!(redact(image), image);
        let plain = "panic: index out of range [3] with length 2 at main.go:17";
        assert_eq!(redact(plain), plain);
    }
}
