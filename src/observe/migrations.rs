//! From a list of Jobs that change data to what a decision sees of them. Pure; the request is in `live.rs`.

use serde_json::Value;

use crate::model::manifest::{condition, items, text, time};
use crate::model::{Migration, MigrationState, Time, Unknown, UnknownKind, template};

/// Jobs that are kept, those that ended last.
const KEPT: usize = 20;

/// The Jobs of the list that were begun, the one that ended last at the end. A list that is not whole is none.
pub(super) fn migrations(answer: Result<Option<Value>, Unknown>) -> Result<Vec<Migration>, Unknown> {
    let none = || Unknown::new(UnknownKind::Unusable, "the API server has no Jobs");
    let list = answer?.ok_or_else(none)?;
    if text(&list, "/metadata/continue").is_some_and(|more| !more.is_empty()) {
        return Err(Unknown::new(UnknownKind::Unusable, "there are too many Jobs with that label to read them at once"));
    }
    let mut found: Vec<Migration> = items(&list, "/items").iter().filter_map(migration).collect();
    found.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    // One that runs is never left out, however long it has been running.
    let mut surplus = found.len().saturating_sub(KEPT);
    found.retain(|migration| {
        let goes = surplus > 0 && migration.state != MigrationState::Running;
        surplus -= usize::from(goes);
        !goes
    });
    Ok(found)
}

fn migration(job: &Value) -> Option<Migration> {
    let holds = |kind: &str| condition(job, kind).filter(|condition| text(condition, "/status") == Some("True"));
    // One that ended nobody knows when counts as one that has just ended.
    let ended = |at: Option<Time>| at.unwrap_or(Time::from_millis(i64::MAX));
    let (state, at) = if let Some(complete) = holds("Complete") {
        (MigrationState::Completed, ended(time(job, "/status/completionTime").or_else(|| time(complete, "/lastTransitionTime"))))
    } else if let Some(failed) = holds("Failed") {
        (MigrationState::Failed, ended(time(failed, "/lastTransitionTime")))
    } else {
        (MigrationState::Running, time(job, "/status/startTime")?)
    };
    let pod_template = job.pointer("/spec/template").unwrap_or(&Value::Null);
    Some(Migration {
        name: text(job, "/metadata/name").unwrap_or_default().to_owned(),
        images: template::images(pod_template),
        state,
        at,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(name: &str, status: Value) -> Value {
        let spec = json!({"template": {"spec": {"containers": [{"name": "migrate", "image": "shop:2"}]}}});
        json!({"metadata": {"name": name}, "spec": spec, "status": status})
    }

    fn read(jobs: &[Value]) -> Vec<Migration> {
        migrations(Ok(Some(json!({"items": jobs})))).expect("it can be read")
    }

    #[test]
    fn reads_how_far_each_is_and_what_it_ran() {
        let at = "2026-03-02T09:00:00Z";
        let condition = |kind: &str, status: &str| json!([{"type": kind, "status": status, "lastTransitionTime": at}]);
        let found = read(&[
            job("running", json!({"startTime": "2026-03-02T08:00:00Z", "active": 1})),
            job("done", json!({"completionTime": "2026-03-02T09:30:00Z", "conditions": condition("Complete", "True")})),
            job("failed", json!({"startTime": "2026-03-02T08:00:00Z", "conditions": condition("Failed", "True")})),
            job("not any more failed", json!({"startTime": at, "conditions": condition("Failed", "False")})),
            job("suspended", json!({"conditions": condition("Suspended", "True")})),
            job("ended sometime", json!({"conditions": [{"type": "Complete", "status": "True"}]})),
        ]);
        let short: Vec<_> = found.iter().map(|migration| (migration.name.as_str(), migration.state)).collect();
        assert_eq!(
            short,
            [
                ("running", MigrationState::Running),
                ("failed", MigrationState::Failed),
                ("not any more failed", MigrationState::Running),
                ("done", MigrationState::Completed),
                ("ended sometime", MigrationState::Completed),
            ]
        );
        assert_eq!(found[3].at, Time::parse("2026-03-02T09:30:00Z").expect("a time"));
        assert_eq!(found[3].images, ["shop:2"]);
    }

    #[test]
    fn a_list_that_is_not_whole_or_not_there_is_none() {
        assert!(migrations(Ok(None)).is_err());
        assert!(migrations(Ok(Some(json!({"metadata": {"continue": "x"}, "items": []})))).is_err());
        let why = Unknown::new(UnknownKind::Forbidden, "403");
        assert_eq!(migrations(Err(why.clone())), Err(why));
        assert_eq!(read(&[]), []);
    }

    #[test]
    fn those_that_ended_last_are_kept_and_all_that_run() {
        let done = |n: i64| {
            let at = Time::from_millis(1_700_000_000_000 + n * 60_000).to_string();
            job(&format!("j{n:02}"), json!({"completionTime": at, "conditions": [{"type": "Complete", "status": "True"}]}))
        };
        let mut jobs: Vec<Value> = (0..30).map(done).collect();
        jobs.push(job("running", json!({"startTime": "2020-01-01T00:00:00Z"})));
        let found = read(&jobs);
        assert_eq!((found.len(), found[0].name.as_str(), found[1].name.as_str()), (KEPT, "running", "j11"));
    }
}
