//! Text from outside, as people see it: without characters that show nothing and change what is seen around them.

use std::borrow::Cow;

/// Whether a character moves the cursor, turns the direction of text, or is no character at all. Line ends and tabs are none of these.
pub fn hides(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with a mark in place of each of them.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if hides(c) { '\u{fffd}' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mislead_is_marked() {
        assert_eq!(shown("plain\n\ttext ü"), "plain\n\ttext ü");
        assert_eq!(shown("\u{1b}[2Jgone\r\u{202e}txt\u{0}"), "\u{fffd}[2Jgone\u{fffd}\u{fffd}txt\u{fffd}");
    }
}
