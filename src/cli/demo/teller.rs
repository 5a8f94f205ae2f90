//! Tells what happens: in the world, and in the service, as its own API shows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::super::output::{Output, Style};
use super::world::{BAD, GOOD, errors, target};
use crate::engine::EngineHandle;
use crate::model::{IncidentId, Time};
use crate::ports::{Clock, Control as _, IncidentFilter, IncidentQuery, Question};
use crate::simulate::Hands;

/// How often the service is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A story that is not over by then went wrong. Real time.
const STORY: Duration = Duration::from_secs(40);
/// Virtual time in which the good release is seen healthy.
const WARM_UP: Duration = Duration::from_secs(150);

/// Prints both stories.
pub(super) struct Teller {
    output: Output,
    handle: EngineHandle,
    clock: Arc<dyn Clock>,
    began: Time,
    /// Of each incident, how much of it was told: notes, and the state.
    told: BTreeMap<String, (usize, String)>,
}

impl Teller {
    pub(super) fn new(output: Output, handle: EngineHandle, clock: Arc<dyn Clock>) -> Self {
        let began = clock.now();
        Self { output, handle, clock, began, told: BTreeMap::new() }
    }

    /// Tells both stories; whether they went as they should.
    pub(super) async fn tell(
        mut self,
        world: Hands,
        mut happened: mpsc::Receiver<String>,
        address: SocketAddr,
        speed: u32,
        stay: bool,
    ) -> bool {
        self.say(Some(Style::Bold), "backout demo: the real service in a simulated world");
        self.plain(&format!("  one second here is {speed} of the story; the policy is src/cli/demo/rules.yaml"));
        self.plain(&format!("  look inside while it runs:  curl http://{address}/metrics"));
        self.plain(&format!("                              backout incidents --url http://{address} --state all"));
        // Health that was only re-learned from the cluster does not count where nobody is asked: this release is watched.
        world.with(|world, _| world.deploy(&target("checkout"), GOOD, "ci", &[], None));
        self.clock.sleep_until(self.clock.now() + WARM_UP).await;

        self.title("Story 1: a bad release goes out, and goes back");
        world.with(|world, _| world.deploy(&target("checkout"), BAD, "ci", &[], None));
        let first = self.follow(&mut happened, "checkout", |incident| incident["state"] == "verified").await;

        self.title("Story 2: the same alert without a release to blame: a brake holds, a human is paged");
        world.with(|world, _| world.set_value(&errors("payments"), Some(0.35)));
        let second = self.follow(&mut happened, "payments", |incident| incident["state"] == "paged").await;

        self.plain("");
        let (word, style) = if first && second {
            ("both stories went as they should", Some(Style::Green))
        } else {
            ("a story did NOT go as it should", Some(Style::Red))
        };
        self.say(style, word);
        if stay {
            self.plain(&format!("still serving on http://{address}; Ctrl-C ends it"));
            std::future::pending::<()>().await;
        }
        first && second
    }

    /// Prints what happens until the target's incident is where the story ends.
    async fn follow(&mut self, happened: &mut mpsc::Receiver<String>, name: &str, over: impl Fn(&Value) -> bool) -> bool {
        let end = tokio::time::Instant::now() + STORY;
        while tokio::time::Instant::now() < end {
            while let Ok(line) = happened.try_recv() {
                self.line(Some(Style::Dim), "world", &line);
            }
            let all = IncidentQuery { state: IncidentFilter::All, limit: 50, ..IncidentQuery::default() };
            let answer = self.handle.query(Question::Incidents(all)).await.unwrap_or_default();
            let incidents = answer["incidents"].as_array().cloned().unwrap_or_default();
            for incident in &incidents {
                self.news(incident).await;
            }
            let ours =
                |incident: &&Value| incident["target"].as_str().is_some_and(|target| target.ends_with(&format!("/{name}")));
            if incidents.iter().filter(ours).any(&over) {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
        false
    }

    /// What is new about an incident.
    async fn news(&mut self, row: &Value) {
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        let state = row["state"].as_str().unwrap_or_default().to_owned();
        let (notes_told, state_told) = self.told.get(&id).cloned().unwrap_or_default();
        let full = self.handle.query(Question::Incident(IncidentId(id.clone()))).await.unwrap_or_default();
        let notes = full["incident"]["notes"].as_array().cloned().unwrap_or_default();
        for note in notes.iter().skip(notes_told) {
            let text = note["text"].as_str().unwrap_or_default();
            if !text.starts_with("message ") {
                self.line(None, &id, text);
            }
        }
        if state != state_told {
            let style = match state.as_str() {
                "verified" => Some(Style::Green),
                "paged" => Some(Style::Red),
                _ => Some(Style::Yellow),
            };
            let until = row["until"].as_str().map_or_else(String::new, |until| format!(" until {until}: veto now, or never"));
            self.line(style, &id, &format!("=> {state}{until}"));
            if state == "paged" {
                self.line(style, &id, full["incident"]["page"]["text"].as_str().unwrap_or_default());
            }
        }
        self.told.insert(id, (notes.len(), state));
    }

    fn title(&self, text: &str) {
        self.plain("");
        self.say(Some(Style::Bold), text);
    }

    fn line(&self, style: Option<Style>, who: &str, text: &str) {
        let passed = self.clock.now().since(self.began).as_secs();
        self.say(style, &format!("  {:02}:{:02}  {who:<13}  {text}", passed / 60, passed % 60));
    }

    fn plain(&self, text: &str) {
        self.say(None, text);
    }

    fn say(&self, style: Option<Style>, line: &str) {
        let mut text = self.output.text();
        match style {
            Some(style) => text.heading(style, line),
            None => text.line(format_args!("{line}")),
        }
        // A reader that went away does not end the demo.
        let _ = self.output.print(&text);
    }
}
