//! How text that somebody else wrote is put into a markup, so that it is shown and does nothing: no mention, no link, no command,
//! no end of the code that it stands in.

use super::links::is_link;
use crate::model::hides;

/// A markup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// None.
    Plain,
    /// Slack's mrkdwn.
    Slack,
    /// GitHub's and GitLab's Markdown.
    Markdown,
    /// A title at GitHub or GitLab: one line, no markup, but mentions.
    Title,
}

impl Dialect {
    /// The function that escapes one inserted value.
    pub(super) fn escape(self) -> fn(&str) -> String {
        match self {
            Self::Plain => plain,
            Self::Slack => slack,
            Self::Markdown => markdown,
            Self::Title => title,
        }
    }

    /// A link with a name.
    pub(super) fn link(self, name: &str, url: &str) -> String {
        match self {
            Self::Plain | Self::Title => format!("{name}: {url}"),
            Self::Slack => format!("<{url}|{name}>"),
            Self::Markdown => format!("[{name}]({url})"),
        }
    }
}

/// Cuts a text to so many characters, and shows that it was cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A title has no lines.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without what is not shown: control characters, and those that turn the direction of text.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !hides(*c)).collect()
}

/// "Formatting text for app surfaces", docs.slack.dev: three characters have a meaning that names, links and `<!channel>` need.
fn slack(text: &str) -> String {
    if is_link(text) {
        return text.replace('&', "&amp;");
    }
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Code: in it neither GitHub nor GitLab knows mentions, references, HTML, images or (GitLab) quick actions.
fn markdown(text: &str) -> String {
    if is_link(text) || text.is_empty() {
        return text.to_owned();
    }
    let text = plain(text);
    // Its end is a longer run of backticks than any in it.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    if text.contains('\n') {
        let fence = "`".repeat(longest.max(2) + 1);
        return format!("\n{fence}text\n{}\n{fence}\n", text.trim_end_matches('\n'));
    }
    let fence = "`".repeat(longest + 1);
    // A space at either end keeps a backtick of the text away from the fence; Markdown takes it off again.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A word joiner, which is not seen, keeps `@` from what follows.
fn title(text: &str) -> String {
    one_line(&plain(text)).replace('@', "@\u{2060}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_knows_no_mention_of_ours() {
        assert_eq!(slack("<!channel> <@U1> & \u{202e}x\u{7}"), "&lt;!channel&gt; &lt;@U1&gt; &amp; x");
        assert_eq!(slack("https://h/?a=b&c=d"), "https://h/?a=b&amp;c=d");
        assert_eq!(Dialect::Slack.link("runbook", "https://h/"), "<https://h/|runbook>");
    }

    #[test]
    fn nothing_leaves_its_code() {
        assert_eq!(markdown("@team #1 <b>"), "`@team #1 <b>`");
        assert_eq!(markdown("a`b"), "``a`b``");
        assert_eq!(markdown("``x`"), "``` ``x` ```");
        assert_eq!(markdown("a\n```\n@team\n/close"), "\n````text\na\n```\n@team\n/close\n````\n");
        assert_eq!(markdown("a\r\nb"), "\n```text\na\nb\n```\n");
        assert_eq!(markdown("https://h/x?y=z"), "https://h/x?y=z");
        assert_eq!(markdown("https://h/@team"), "`https://h/@team`", "no link of ours");
    }

    #[test]
    fn a_title_is_one_line_and_mentions_nobody() {
        assert_eq!(title("a\n @team  b"), "a @\u{2060}team b");
    }

    #[test]
    fn what_is_cut_shows_it() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
