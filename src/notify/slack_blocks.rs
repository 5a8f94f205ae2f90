//! Text as Slack's blocks: each within its limits, none cut inside of an escape. The text is mrkdwn already.

use serde_json::{Value, json};

use super::dialect::one_line;

/// The title, which is also what notifications show.
pub(super) const TITLE: usize = 300;
/// "Maximum length for the text in this field is 3000 characters."
const SECTION: usize = 3000;
/// So many sections stay below the 40,000 characters of a message and its 50 blocks.
const SECTIONS: usize = 12;

/// A message's blocks: the title with the state, and the text in as many sections as it needs.
pub(super) fn of(title: &str, state: &str, text: &str) -> Vec<Value> {
    let state = if state.is_empty() { String::new() } else { format!("\n`{}`", state.replace(['`', '<', '>', '&'], "")) };
    let mut blocks = vec![section(&format!("*{}*{state}", cut(&one_line(title), TITLE)))];
    let mut rest = text.trim();
    while !rest.is_empty() && blocks.len() < SECTIONS {
        let end = fitting(rest, SECTION);
        let (piece, more) = rest.split_at(end);
        blocks.push(section(piece));
        rest = more.trim_start_matches('\n');
    }
    if !rest.is_empty() {
        blocks.push(section("… (cut; the report has all of it)"));
    }
    blocks
}

/// Cuts to so many characters, never within `&amp;`.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..whole(text, most - 1)])
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// The bytes of a piece of at most `most` characters: whole lines where that is possible.
fn fitting(text: &str, most: usize) -> usize {
    if text.chars().count() <= most {
        return text.len();
    }
    let end = whole(text, most);
    text[..end].rfind('\n').filter(|line| *line > 0).unwrap_or(end)
}

/// The bytes of the first `most` characters, less an escape that they would cut.
fn whole(text: &str, most: usize) -> usize {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    match text[..end].rfind('&') {
        Some(escape) if !text[escape..end].contains(';') => escape,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(blocks: &[Value]) -> Vec<&str> {
        blocks.iter().filter_map(|block| block["text"]["text"].as_str()).collect()
    }

    #[test]
    fn long_text_is_cut_into_sections_at_lines() {
        let line = "x".repeat(99);
        let text = vec![line.as_str(); 100].join("\n");
        let blocks = of("title", "paged", &text);
        let texts = texts(&blocks);
        assert_eq!(texts[0], "*title*\n`paged`");
        assert!(texts.iter().all(|text| text.chars().count() <= SECTION && !text.is_empty()));
        assert_eq!(texts[1..].join("\n"), text, "nothing is lost");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        let blocks = of(&"&amp;".repeat(200), "", &"&lt;".repeat(20_000));
        let texts = texts(&blocks);
        assert!(texts[0].ends_with("&amp;…*"), "{}", texts[0]);
        assert!(texts.last().is_some_and(|last| last.starts_with("… (cut")));
        assert!(texts.iter().map(|text| text.chars().count()).sum::<usize>() < 40_000);
        for text in &texts[1..texts.len() - 1] {
            assert_eq!(text.replace("&lt;", ""), "", "no escape is cut");
        }
    }
}
