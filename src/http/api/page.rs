//! A report as a page for a browser, made of its Markdown. Text from outside cannot become markup: the report fences it, raw markup
//! is shown as text all the same, and the browser is told to run and load nothing.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}td,th{border:1px solid #888;padding:.2rem .6rem;text-align:left;vertical-align:top}\
code,pre{font:13px/1.4 ui-monospace,monospace;background:#8882;padding:.1rem .2rem;overflow-wrap:anywhere}\
pre{padding:.6rem;overflow-x:auto}pre code{background:none;padding:0}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}";

/// The page.
pub(super) fn of_markdown(title: &str, markdown: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, write(title, markdown)).into_response()
}

fn write(title: &str, markdown: &str) -> String {
    let mut options = Options::empty();
    options.insert(Options::ENABLE_TABLES);
    let mut body = String::new();
    html::push_html(&mut body, Parser::new_ext(markdown, options).map(tame));
    let mut heading = String::new();
    html::push_html(&mut heading, std::iter::once(Event::Text(CowStr::from(title))));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{heading}</title><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

/// Markup, links and images in the text are not ours.
fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { .. } | Tag::Image { .. })
        | Event::End(pulldown_cmark::TagEnd::Link | pulldown_cmark::TagEnd::Image) => Event::Text(CowStr::from("")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_fences_become_html_and_markup_does_not() {
        let page = write(
            "Incident <1>",
            "# A\n\n| a | b |\n|---|---|\n| `<b>` | c |\n\n<script>x</script>\n\n[t](javascript:x) ![i](http://x)\n",
        );
        for wanted in ["<h1>A</h1>", "<td><code>&lt;b&gt;</code></td>", "<title>Incident &lt;1&gt;</title>", "&lt;script&gt;"] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        for unwanted in ["<script", "javascript:", "<img", "<a "] {
            assert!(!page.contains(unwanted), "{unwanted}: {page}");
        }
    }
}
