//! How what happens in the world is written in a script.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::Doubt;
use super::command::Event;
use super::line::{Line, parse_duration};
use super::prometheus::{Rule, Series};
use super::world::{NewDeployment, Part};
use crate::model::{AlertStatus, Labels, MigrationState};
use crate::policy::matcher::{Matcher, Parsed, parse_item};

/// Reads what follows a verb.
pub(super) fn parse(verb: &str, line: &mut Line) -> Result<Event, String> {
    match verb {
        "deployment" | "deploy" | "scale" | "hold" | "let-go" | "annotate" | "delete" | "break" => workload(verb, line),
        "alert" | "resolve" | "lose" | "post" | "silence" | "unsilence" | "inhibit" | "grouping" | "peer-restart"
        | "peer-freeze" | "peer-thaw" => alert(verb, line),
        "rule" | "series" | "value" | "url" => value(verb, line),
        _ => other(verb, line),
    }
}

fn workload(verb: &str, line: &mut Line) -> Result<Event, String> {
    if verb == "break" {
        return Ok(Event::Break(line.word("an image")?));
    }
    let at = line.target()?;
    Ok(match verb {
        "deployment" => {
            let by = line.or("by", "ci");
            let new = NewDeployment {
                at,
                image: line.value("image").ok_or("expected `image=`")?,
                replicas: line.integer("replicas")?.unwrap_or(2),
                ready_after: line.duration("ready")?.unwrap_or(Duration::from_secs(10)),
                history_limit: line.integer("history")?.unwrap_or(10),
                recreate: line.flag("recreate"),
                config_map: line.value("config"),
                labels: BTreeMap::new(),
                template_annotations: BTreeMap::new(),
                annotations: line.rest().into_iter().collect(),
            };
            Event::Create(new, by)
        }
        "deploy" => Event::Deploy {
            at,
            image: line.value("image").ok_or("expected `image=`")?,
            by: line.or("by", "ci"),
            config_map: line.value("config"),
            annotations: line.rest(),
        },
        "scale" => Event::Scale { at, replicas: line.integer("replicas")?.unwrap_or(1), by: line.or("by", "ann") },
        "hold" | "let-go" => Event::PauseRollout { at, paused: verb == "hold", by: line.or("by", "ann") },
        "annotate" => match line.rest().pop() {
            Some((key, value)) => Event::Annotate { at, key, value },
            None => return Err("expected KEY=VALUE".to_owned()),
        },
        _ => Event::Delete(at),
    })
}

fn alert(verb: &str, line: &mut Line) -> Result<Event, String> {
    let default = Duration::from_secs(60);
    Ok(match verb {
        "alert" => {
            let name = line.word("the alert's name")?;
            let onset = match line.value("onset").as_deref() {
                None => Some(default),
                Some("unknown") => None,
                Some(text) => Some(parse_duration(text)?),
            };
            let tail = line.duration("tail")?;
            Event::Fire { labels: labels(name, line), onset, tail }
        }
        "resolve" => Event::Resolve(line.word("the alert's name")?),
        "lose" => Event::Lose(line.word("the alert's name")?),
        "post" => {
            let status = match line.word("`firing` or `resolved`")?.as_str() {
                "firing" => AlertStatus::Firing,
                "resolved" => AlertStatus::Resolved,
                other => return Err(format!("`{other}` is neither `firing` nor `resolved`")),
            };
            let name = line.word("the alert's name")?;
            let ago = line.duration("ago")?.unwrap_or_default();
            let truncated = line.integer("truncated")?.unwrap_or(0);
            Event::Post { labels: labels(name, line), status, ago, truncated }
        }
        "silence" => {
            let by = line.or("by", "ann");
            let span = line.duration("for")?;
            Event::Silence(matchers(line)?, by, span)
        }
        "unsilence" => Event::EndSilences,
        "inhibit" => {
            let by = Labels::from([("alertname".to_owned(), line.word("what inhibits")?)]);
            let what = Labels::from([("alertname".to_owned(), line.word("what is inhibited")?)]);
            Event::Inhibit(exact(&by)?, exact(&what)?)
        }
        "grouping" => Event::Grouping(line.duration("wait")?.unwrap_or_default(), line.duration("interval")?.unwrap_or_default()),
        "peer-restart" => Event::RestartPeer(line.integer("peer")?.unwrap_or(0)),
        _ => Event::Freeze(line.integer("peer")?.unwrap_or(0), verb == "peer-freeze"),
    })
}

fn value(verb: &str, line: &mut Line) -> Result<Event, String> {
    Ok(match verb {
        "rule" => {
            let name = line.word("the alert's name")?;
            let query = line.word("a query")?;
            let above = line.integer("above")?.unwrap_or(0.0);
            let hold = line.duration("for")?.unwrap_or_default();
            let keep = line.duration("keep")?.unwrap_or_default();
            Event::Rule(Rule { labels: labels(name, line), query, above, hold, keep })
        }
        "series" => {
            let query = line.word("a query")?;
            let of = of(line)?;
            let otherwise = line.integer("else")?.unwrap_or(0.0);
            let look_back = line.duration("over")?.unwrap_or_default();
            Event::Series(query, Series { of, by_image: numbers(line)?, otherwise, look_back })
        }
        "url" => {
            let url = line.word("an address")?;
            let of = of(line)?;
            Event::Url(url, of, numbers(line)?)
        }
        _ => {
            let query = line.word("a query")?;
            match line.word("a number or `none`")?.as_str() {
                "none" => Event::Value(query, None),
                text => Event::Value(query, Some(text.parse().map_err(|_| format!("`{text}` is no number"))?)),
            }
        }
    })
}

fn other(verb: &str, line: &mut Line) -> Result<Event, String> {
    Ok(match verb {
        "watchdog" => Event::Watchdog,
        "lag" => Event::Lag(parse_duration(&line.word("by how much")?)?),
        "channel" => Event::Channel(line.word("its name")?),
        "down" | "up" => Event::Down(part(&line.word("what")?)?, verb == "down"),
        "forbid" => Event::Forbid(true),
        "permit" => Event::Forbid(false),
        "refuse-dry-runs" => Event::RefuseDryRuns(Some(line.word("why")?)),
        "accept-dry-runs" => Event::RefuseDryRuns(None),
        "quota" => Event::RefusePods(line.next_word()),
        "delete-config" => Event::DeleteConfigMap(line.word("namespace/name")?),
        "pause-namespace" => {
            Event::PauseNamespace { namespace: line.word("a namespace")?, reason: line.or("reason", "no reason given") }
        }
        "migration" => migration(line)?,
        "doubt" => Event::Doubt(match (line.next_word().as_deref(), line.duration("late")?) {
            (None, Some(by)) => Doubt::Late(by),
            (Some("lost"), None) => Doubt::Lost,
            (Some("applied"), None) => Doubt::Applied,
            _ => return Err("expected `lost`, `applied` or `late=DURATION`".to_owned()),
        }),
        _ => return Err(format!("`{verb}` is nothing that happens")),
    })
}

/// `migration shop/migrate-2 image=shop:2`: a Job that changes data completed; `failed`, `running` and `deleted` say otherwise.
fn migration(line: &mut Line) -> Result<Event, String> {
    let text = line.word("namespace/name")?;
    let (namespace, name) = text.split_once('/').ok_or_else(|| format!("`{text}` is no namespace/name"))?;
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    if line.flag("deleted") {
        return Ok(Event::DeleteMigration { namespace, name });
    }
    let image = line.or("image", "migrate:1");
    let state = match (line.flag("failed"), line.flag("running")) {
        (false, false) => MigrationState::Completed,
        (true, false) => MigrationState::Failed,
        (false, true) => MigrationState::Running,
        (true, true) => return Err("a Job that failed runs no more".to_owned()),
    };
    Ok(Event::Migrate { namespace, name, image, state })
}

fn labels(name: String, line: &mut Line) -> Labels {
    let mut labels: Labels = line.rest().into_iter().collect();
    labels.insert("alertname".to_owned(), name);
    labels
}

fn of(line: &mut Line) -> Result<crate::model::TargetRef, String> {
    match line.word("`of`")?.as_str() {
        "of" => line.target(),
        other => Err(format!("expected `of`, found `{other}`")),
    }
}

fn numbers<T: std::str::FromStr>(line: &mut Line) -> Result<BTreeMap<String, T>, String> {
    let number = |(image, text): (String, String)| match text.parse() {
        Ok(number) => Ok((image, number)),
        Err(_) => Err(format!("`{text}` is no number")),
    };
    line.rest().into_iter().map(number).collect()
}

fn exact(labels: &Labels) -> Result<Vec<Matcher>, String> {
    let matcher = |(name, value): (&String, &String)| {
        Matcher::new(name, crate::policy::matcher::Op::Equal, value).map_err(|problem| problem.message)
    };
    labels.iter().map(matcher).collect()
}

/// `alertname=X` pairs.
fn matchers(line: &mut Line) -> Result<Vec<Matcher>, String> {
    let labels: Labels = line.rest().into_iter().collect();
    if labels.is_empty() {
        let text = line.word("matchers")?;
        let Parsed { matchers, .. } = parse_item(&text).map_err(|problem| problem.message)?;
        return Ok(matchers);
    }
    exact(&labels)
}

fn part(text: &str) -> Result<Part, String> {
    let (name, which) = text.split_once(':').map_or((text, None), |(name, which)| (name, Some(which)));
    match (name, which) {
        ("cluster", None) => Ok(Part::Cluster),
        ("watch", None) => Ok(Part::Watch),
        ("prometheus", None) => Ok(Part::Prometheus),
        ("evaluation", None) => Ok(Part::Evaluation),
        ("rules", None) => Ok(Part::Rules),
        ("jobs", None) => Ok(Part::Jobs),
        ("channel", name) => Ok(Part::Channel(name.unwrap_or_default().to_owned())),
        ("alertmanager", None) => Ok(Part::Alertmanager(None)),
        ("alertmanager", Some(which)) => {
            which.parse().map(|number| Part::Alertmanager(Some(number))).map_err(|_| format!("`{which}` is no number of a peer"))
        }
        _ => Err(format!("`{text}` cannot be down")),
    }
}
