//! Slack. The rules: "chat.postMessage", "chat.update", "conversations.history", "auth.test", "Rate limits", "Message metadata",
//! "Section block", "Formatting text for app surfaces" and "Sending messages using incoming webhooks" (docs.slack.dev).

use std::sync::Mutex;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::server::{Reply, Request, Rules, lock, rule};
use crate::world::SPEED;

pub(crate) const CHANNEL: &str = "C0123456789";
pub(crate) const TOKEN: &str = "xoxb-1-secret";
pub(crate) const HOOK: &str = "/services/T000/B000/secretsecretsecret";

/// A channel of a workspace.
pub(crate) struct Slack {
    pub(crate) messages: Mutex<Vec<Posted>>,
    /// Since when, and how many messages were posted, for the limit of one a second.
    posted: Mutex<(tokio::time::Instant, u32)>,
    /// How fast the sender's clock runs.
    speed: u32,
    /// How often the limit was exceeded.
    pub(crate) too_fast: Mutex<u32>,
    /// The page size that it allows for the history, whatever is asked.
    page: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) ts: String,
    pub(crate) thread: Option<String>,
    pub(crate) broadcast: bool,
    /// As it stands there now.
    pub(crate) body: Value,
    pub(crate) edits: usize,
}

impl Posted {
    /// All of its text.
    pub(crate) fn text(&self) -> String {
        let blocks = self.body["blocks"].as_array().cloned().unwrap_or_default();
        blocks.iter().filter_map(|block| block["text"]["text"].as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl Default for Slack {
    fn default() -> Self {
        let posted = Mutex::new((tokio::time::Instant::now(), 0));
        Self { messages: Mutex::default(), posted, too_fast: Mutex::default(), page: 200, speed: SPEED }
    }
}

impl Slack {
    /// One whose history comes in small pages.
    pub(crate) fn in_pages_of(page: usize) -> Self {
        Self { page, ..Self::default() }
    }

    /// One whose sender's clock runs so fast.
    pub(crate) fn at_speed(speed: u32) -> Self {
        Self { speed, ..Self::default() }
    }

    pub(crate) fn roots(&self) -> Vec<Posted> {
        lock(&self.messages).iter().filter(|posted| posted.thread.is_none()).cloned().collect()
    }

    pub(crate) fn replies(&self) -> Vec<Posted> {
        lock(&self.messages).iter().filter(|posted| posted.thread.is_some()).cloned().collect()
    }

    /// One a second in a channel. Counted from the start, so that what a busy machine delays is not taken for haste.
    fn is_too_fast(&self) -> bool {
        let mut posted = lock(&self.posted);
        let allowed = Duration::from_millis(950) * posted.1;
        posted.1 += 1;
        let too_fast = posted.0.elapsed() * self.speed < allowed;
        *lock(&self.too_fast) += u32::from(too_fast);
        too_fast
    }

    fn post(&self, body: Value) -> Result<Reply, String> {
        content(&body)?;
        if self.is_too_fast() {
            let headers = vec![("retry-after", "1".to_owned())];
            return Ok(Reply { headers, ..Reply::new(429, json!({"ok": false, "error": "ratelimited"})) });
        }
        let mut messages = lock(&self.messages);
        let thread = body["thread_ts"].as_str().map(str::to_owned);
        if let Some(thread) = &thread
            && !messages.iter().any(|posted| posted.ts == *thread && posted.thread.is_none())
        {
            return Ok(Reply::new(200, json!({"ok": false, "error": "thread_not_found"})));
        }
        let ts = format!("18000000{:02}.000100", messages.len());
        let broadcast = body["reply_broadcast"] == true;
        messages.push(Posted { ts: ts.clone(), thread, broadcast, body, edits: 0 });
        Ok(Reply::new(200, json!({"ok": true, "channel": CHANNEL, "ts": ts})))
    }

    fn update(&self, body: Value) -> Result<Reply, String> {
        content(&body)?;
        let mut messages = lock(&self.messages);
        let Some(posted) = messages.iter_mut().find(|posted| Some(posted.ts.as_str()) == body["ts"].as_str()) else {
            return Ok(Reply::new(200, json!({"ok": false, "error": "message_not_found"})));
        };
        posted.edits += 1;
        let ts = posted.ts.clone();
        posted.body = body;
        Ok(Reply::new(200, json!({"ok": true, "channel": CHANNEL, "ts": ts})))
    }

    /// The newest first; replies only where they were broadcast.
    fn history(&self, request: &Request) -> Result<Reply, String> {
        rule(request.query("channel") == CHANNEL, "channel is required")?;
        let limit: usize = request.query("limit").parse().map_err(|_| "limit is a number")?;
        rule((1..=999).contains(&limit), "limit is at most 999")?;
        let with_metadata = request.query("include_all_metadata") == "true";
        let from: usize = request.query("cursor").parse().unwrap_or(0);
        let messages = lock(&self.messages);
        let shown: Vec<&Posted> = messages.iter().rev().filter(|posted| posted.thread.is_none() || posted.broadcast).collect();
        let size = limit.min(self.page);
        let page = shown.iter().skip(from).take(size).map(|posted| {
            let mut message = json!({"type": "message", "ts": posted.ts, "text": posted.body["text"]});
            if with_metadata {
                message["metadata"] = posted.body["metadata"].clone();
            }
            if let Some(thread) = &posted.thread {
                message["thread_ts"] = json!(thread);
            }
            message
        });
        let page: Vec<Value> = page.collect();
        let has_more = from + size < shown.len();
        let cursor = if has_more { (from + size).to_string() } else { String::new() };
        // Somebody else's message, with metadata of a shape of its own.
        let other =
            json!({"type": "message", "ts": "1.0", "text": "hi", "metadata": {"event_type": "x", "event_payload": {"id": 1}}});
        let page: Vec<Value> = [other].into_iter().chain(page).collect();
        let body = json!({"ok": true, "messages": page, "has_more": has_more, "response_metadata": {"next_cursor": cursor}});
        Ok(Reply::new(200, body))
    }
}

/// What every message must be, and what none of ours may do.
fn content(body: &Value) -> Result<(), String> {
    let text = body["text"].as_str().unwrap_or_default();
    rule(!text.is_empty(), "no_text")?;
    let blocks = body["blocks"].as_array().ok_or("blocks is an array")?;
    rule(blocks.len() <= 50, "a message has at most 50 blocks")?;
    let mut all = vec![text];
    for block in blocks {
        rule(block["type"] == "section" && block["text"]["type"] == "mrkdwn", "sections of mrkdwn")?;
        let text = block["text"]["text"].as_str().unwrap_or_default();
        rule((1..=3000).contains(&text.chars().count()), "a section's text has 1 to 3000 characters")?;
        rule(block["text"]["verbatim"] == true, "names in the text are not to be turned into mentions")?;
        all.push(text);
    }
    rule(all.iter().map(|text| text.chars().count()).sum::<usize>() <= 40_000, "msg_too_long: 40,000 characters")?;
    for text in all {
        for mention in ["<!", "<@", "<#"] {
            rule(!text.contains(mention), format!("it mentions somebody: `{text}`"))?;
        }
        for (at, _) in text.match_indices('&') {
            let rest = &text[at..];
            rule(["&amp;", "&lt;", "&gt;"].iter().any(|escape| rest.starts_with(escape)), format!("a bare & in `{text}`"))?;
        }
        for piece in text.split('<').skip(1) {
            let url = piece.split('|').next().unwrap_or_default();
            rule(piece.contains('>') && url::Url::parse(url).is_ok(), format!("a bare < in `{text}`"))?;
        }
    }
    Ok(())
}

impl Rules for Slack {
    fn answer(&self, request: &Request) -> Result<Reply, String> {
        if request.path == HOOK {
            rule(request.header("content-type").starts_with("application/json"), "Content-Type: application/json")?;
            let body = request.json();
            content(&body)?;
            rule(body["channel"].is_null() && body["thread_ts"].is_null(), "a webhook chooses neither channel nor thread")?;
            lock(&self.messages).push(Posted { ts: String::new(), thread: None, broadcast: false, body, edits: 0 });
            return Ok(Reply::new(200, json!("ok")));
        }
        rule(request.header("authorization") == format!("Bearer {TOKEN}"), "not_authed")?;
        let posted = || {
            rule(request.method == Method::POST, "a POST")?;
            rule(request.header("content-type") == "application/json; charset=utf-8", "JSON with its charset")?;
            let body = request.json();
            rule(body["channel"] == CHANNEL, "channel_not_found")?;
            let event = body["metadata"]["event_type"].as_str().unwrap_or_default();
            rule(!event.is_empty() && body["metadata"]["event_payload"].is_object(), "invalid_metadata_format")?;
            Ok::<_, String>(body)
        };
        match request.path.as_str() {
            "/api/chat.postMessage" => self.post(posted()?),
            "/api/chat.update" => self.update(posted()?),
            "/api/conversations.history" => self.history(request),
            "/api/auth.test" => Ok(Reply::new(200, json!({"ok": true, "user": "backout", "team": "shop", "bot_id": "B1"}))),
            other => Err(format!("unknown_method: `{other}`")),
        }
    }

    fn refusal(&self, why: &str) -> Reply {
        Reply::new(200, json!({"ok": false, "error": "invalid_arguments", "detail": why}))
    }
}
