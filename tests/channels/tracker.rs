//! What GitHub and GitLab have in common: what Markdown of ours may do, and the stories that both must tell.

use std::time::Duration;

use backout::model::{Message, Moment};
use serde_json::Value;

use crate::server::{Fault, Rules, Server, rule};
use crate::support::eventually;
use crate::world::{World, id, message, ticket};

const SOON: Duration = Duration::from_secs(20);

/// An issue as the tracker has it.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) labels: Vec<String>,
    pub(crate) is_open: bool,
    pub(crate) comments: Vec<String>,
}

/// A tracker on loopback.
pub(crate) trait Kept: Rules {
    fn issues(&self) -> Vec<Issue>;
    fn close_by_hand(&self, at: usize);
    fn settings(url: &str, folder: &tempfile::TempDir) -> Value;
}

/// Markdown of ours mentions nobody, refers to nothing and commands nothing: outside of code there is no text but our own.
pub(crate) fn inert(markdown: &str) -> Result<(), String> {
    let outside = outside_of_code(markdown);
    rule(!outside.contains('@'), format!("it mentions somebody: {outside}"))?;
    rule(!outside.contains("#1"), format!("it refers to an issue: {outside}"))?;
    rule(!outside.lines().any(|line| line.trim_start().starts_with('/')), format!("a quick action: {outside}"))?;
    rule(!outside.contains("<b>") && !outside.contains("[a]("), format!("markup of somebody else's: {outside}"))
}

/// By the rules of CommonMark: fenced blocks end at a fence of at least their length, spans at a run of exactly theirs.
fn outside_of_code(markdown: &str) -> String {
    let (mut outside, mut fence) = (String::new(), 0);
    for line in markdown.lines() {
        let ticks = line.chars().take_while(|c| *c == '`').count();
        match fence {
            0 if ticks >= 3 && !line[ticks..].contains('`') => fence = ticks,
            0 => {
                outside.push_str(line);
                outside.push('\n');
            }
            open if ticks >= open && line[ticks..].trim().is_empty() => fence = 0,
            _ => {}
        }
    }
    assert_eq!(fence, 0, "a block of code is not closed: {markdown}");
    let (mut rest, mut shown) = (outside.as_str(), String::new());
    while let Some(start) = rest.find('`') {
        shown.push_str(&rest[..start]);
        rest = &rest[start..];
        let run = rest.chars().take_while(|c| *c == '`').count();
        let mut end = None;
        let mut at = run;
        while let Some(next) = rest[at..].find('`').map(|next| at + next) {
            let length = rest[next..].chars().take_while(|c| *c == '`').count();
            if length == run {
                end = Some(next + length);
                break;
            }
            at = next + length;
        }
        match end {
            Some(end) => rest = &rest[end..],
            None => {
                shown.push_str(&rest[..run]);
                rest = &rest[run..];
            }
        }
    }
    shown + rest
}

#[test]
fn code_is_told_from_text() {
    assert_eq!(outside_of_code("a `@b` c\n```text\n@d\n```\ne"), "a  c\ne\n");
    assert_eq!(outside_of_code("````\n```\n@x\n````\n``a`b`` @c"), " @c\n");
    assert!(inert("`@team`").is_ok() && inert("@team").is_err() && inert("x\n/close").is_err() && inert("``@a`").is_err());
}

/// A tracker, and the channel on it.
pub(crate) struct Bed<K> {
    pub(crate) server: Server<K>,
    pub(crate) world: World,
    pub(crate) folder: tempfile::TempDir,
}

impl<K: Kept> Bed<K> {
    pub(crate) async fn set(rules: K) -> Self {
        let (server, folder) = (Server::start(rules).await, tempfile::tempdir().expect("a folder"));
        let world = World::new(K::settings(&server.url, &folder));
        Self { server, world, folder }
    }

    pub(crate) fn restarted(&self) -> World {
        World::at(self.world.clock.clone(), K::settings(&self.server.url, &self.folder))
    }

    /// Waits until an issue has so many comments.
    pub(crate) async fn commented(&self, at: usize, comments: usize) -> Issue {
        eventually("the comments are there", SOON, async || {
            let issue = self.server.rules.issues().get(at).cloned().ok_or("no such issue")?;
            if issue.comments.len() >= comments { Ok(issue) } else { Err("not yet") }
        })
        .await
    }
}

pub(crate) async fn one_issue_an_incident_updated_and_closed_with_it<K: Kept>(bed: Bed<K>) {
    bed.world.delivered(ticket("i1", 1)).await;
    bed.world.delivered(ticket("i2", 1)).await;
    let issues = bed.server.rules.issues();
    assert_eq!(issues.len(), 2);
    assert!(issues[0].title.contains("web on deployment/shop/web") && !issues[0].title.contains("@team"), "{}", issues[0].title);
    assert_eq!(issues[0].labels, ["backout", "sre"]);
    assert!(issues[0].body.contains("[runbook](https://runbook.example/%28errors%29)"), "{}", issues[0].body);
    // Announcements are not its business, what becomes of its incidents is.
    bed.world.deliver(message("i1", Moment::Paged, 2)).await;
    bed.commented(0, 1).await;
    bed.world.deliver(message("i1", Moment::Closed, 3)).await;
    let closed = bed.commented(0, 2).await;
    assert!(!closed.is_open && closed.body.contains("- [x] incident `i1`"), "{closed:?}");
    assert!(bed.server.rules.issues()[1].is_open);
    // An incident without a ticket gets none by being talked about.
    bed.world.deliver(message("i3", Moment::Closed, 1)).await;
    assert_eq!(bed.server.rules.issues().len(), 2);
    bed.server.assert_kept();
}

pub(crate) async fn an_issue_is_found_again_after_a_restart<K: Kept>(bed: Bed<K>) {
    // A forged entry in the text of an alert is text.
    let forged = "<!-- backout:incidents -->\n- [ ] incident `i9` <!-- backout-incident: prod/i9 -->".to_owned();
    bed.world.delivered(Message { text: forged, ..ticket("i1", 1) }).await;
    let after = bed.restarted();
    after.delivered(ticket("i1", 2)).await;
    assert_eq!(bed.server.rules.issues().len(), 1, "the ticket said again is the same ticket");
    after.delivered(ticket("i9", 1)).await;
    assert_eq!(bed.server.rules.issues().len(), 2);
    after.deliver(message("i1", Moment::Closed, 3)).await;
    let closed = bed.commented(0, 2).await;
    assert!(!closed.is_open, "{closed:?}");
    bed.server.assert_kept();
}

pub(crate) async fn a_lost_answer_opens_no_second_issue<K: Kept>(bed: Bed<K>) {
    bed.world.delivered(ticket("i0", 1)).await;
    bed.server.fail([Fault::Lost]);
    bed.world.delivered(ticket("i1", 1)).await;
    assert_eq!(bed.server.rules.issues().len(), 2);
    bed.server.fail([Fault::status(502), Fault::status(500)]);
    bed.world.delivered(ticket("i2", 1)).await;
    assert_eq!(bed.server.rules.issues().len(), 3);
    bed.server.assert_kept();
}

pub(crate) async fn a_ticket_that_nobody_took_is_written_later<K: Kept>(bed: Bed<K>) {
    bed.server.fail((0..5).map(|_| Fault::status(503)));
    let delivery = bed.world.deliver(ticket("i1", 1)).await;
    assert!(delivery.delivered.is_empty(), "the truth is told: {delivery:?}");
    eventually("the ticket is there", SOON, async || match bed.server.rules.issues().len() {
        1 => Ok(()),
        issues => Err(format!("{issues} issues")),
    })
    .await;
    bed.server.assert_kept();
}

pub(crate) async fn an_issue_that_lists_many_is_closed_with_the_last<K: Kept>(bed: Bed<K>) {
    bed.world.delivered(Message { folded: vec![id("i2")], ..ticket("i1", 1) }).await;
    let after = bed.restarted();
    after.deliver(message("i2", Moment::Closed, 2)).await;
    assert!(bed.commented(0, 1).await.is_open, "i1 is not over");
    after.deliver(message("i1", Moment::Closed, 3)).await;
    assert!(!bed.commented(0, 2).await.is_open);
    assert_eq!(bed.server.rules.issues().len(), 1);
    bed.server.assert_kept();
}

pub(crate) async fn whatever_a_ticket_says_it_fits_and_does_nothing<K: Kept>(bed: Bed<K>) {
    let title = "@team ".repeat(100);
    let text = "`````\n@team\n/close\n".repeat(20_000);
    bed.world.delivered(Message { title: title.clone(), text: text.clone(), ..ticket("i1", 1) }).await;
    bed.world.delivered(Message { title, text: "@team".to_owned(), ..ticket("i1", 2) }).await;
    bed.server.rules.close_by_hand(0);
    bed.world.deliver(Message { text, ..message("i1", Moment::Closed, 3) }).await;
    bed.commented(0, 2).await;
    bed.server.assert_kept();
}
