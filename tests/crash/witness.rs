//! The two witnesses: the journal, read by the command that anybody has, and the API server's audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::{BACKOUT_USER, Backout, Write};
use crate::town::GOOD;

/// What the journal says up to a row.
#[derive(Default)]
pub(crate) struct Journal {
    row: u64,
    /// The ids in the receipts.
    pub(crate) receipts: BTreeSet<String>,
    /// The ids of the alerts that incidents were opened for, or joined.
    pub(crate) taken_up: BTreeSet<String>,
    /// Open incidents of shops.
    pub(crate) open: BTreeMap<String, Standing>,
    /// How the incidents of shops ended.
    pub(crate) closed: BTreeMap<String, usize>,
}

/// What the API server writes down for a request whose client has gone.
const CLIENT_GONE: u64 = 499;

/// Where an incident stands.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    pub(crate) phase: String,
    shadow: bool,
}

/// From what is nearest to a write to what is farthest from it.
const PHASES: [&str; 10] =
    ["executing", "redeciding", "preparing", "verifying", "countdown", "deciding", "settling", "verified", "paged", "closed"];

impl Journal {
    /// Reads on, with nobody running on it: `backout journal export`.
    pub(crate) async fn read(&mut self, data: &Path) {
        let (data, after) = (data.to_string_lossy().into_owned(), self.row.to_string());
        let output = Backout::run(&["journal", "export", "--data", &data, "--after", &after]).await;
        assert!(output.status.success(), "the journal opens: {}", String::from_utf8_lossy(&output.stderr));
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: Value = serde_json::from_slice(line).expect("a JSON line");
            let number = row["row"].as_u64().expect("a number");
            assert_eq!(number, self.row + 1, "no row is missing");
            self.row = number;
            match row["kind"].as_str() {
                Some("receipt") => self.receipts.extend(ids(row["body"]["alerts"].as_array().into_iter().flatten())),
                _ => row["records"].as_array().into_iter().flatten().for_each(|stamped| self.take(&stamped["record"])),
            }
        }
    }

    fn take(&mut self, record: &Value) {
        if record["record"] != "incident" {
            return;
        }
        let (id, event) = (record["id"].as_str().unwrap_or_default().to_owned(), &record["event"]);
        match event["event"].as_str() {
            Some("opened") => {
                let incident = &event["incident"];
                let members = incident["members"].as_object().into_iter().flatten().map(|(_, member)| &member["alert"]);
                self.taken_up.extend(ids(members));
                let phase = incident["phase"]["phase"].as_str().unwrap_or_default().to_owned();
                self.open.insert(id, Standing { phase, shadow: incident["policy"] == "load" });
            }
            Some("joined") => self.taken_up.extend(ids([&event["member"]["alert"]])),
            Some("phase") => {
                let phase = event["to"]["phase"].as_str().unwrap_or_default();
                if phase != "closed" {
                    self.open.entry(id).or_default().phase = phase.to_owned();
                } else if self.open.remove(&id).is_some_and(|standing| !standing.shadow) {
                    let reason = event["to"]["reason"].as_str().unwrap_or_default();
                    *self.closed.entry(reason.to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// Where the incident of a shop that is nearest to a write stands, and which one it is.
    pub(crate) fn nearest(&self) -> Option<(&str, &str)> {
        let rank = |phase: &str| PHASES.iter().position(|known| *known == phase).unwrap_or(PHASES.len());
        let shops = self.open.iter().filter(|(_, standing)| !standing.shadow);
        shops.min_by_key(|(_, standing)| rank(&standing.phase)).map(|(id, standing)| (standing.phase.as_str(), id.as_str()))
    }
}

/// The ids in the labels of alerts.
fn ids<'a>(alerts: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let id = |alert: &Value| alert["labels"]["crash_id"].as_str().map(str::to_owned);
    alerts.into_iter().filter_map(id).collect()
}

/// Everything in the journal is sound: `backout journal verify`.
pub(crate) async fn verify(data: &Path) {
    let output = Backout::run(&["journal", "verify", "--data", &data.to_string_lossy()]).await;
    assert!(output.status.success(), "the journal is sound:\n{}", String::from_utf8_lossy(&output.stdout));
}

/// What the audit log says.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Bad releases, by shop and image, with the generations on which rollbacks of each were made. Two writes on one generation
    /// cannot both have been taken.
    pub(crate) releases: BTreeMap<String, BTreeSet<u64>>,
    /// The same by incident.
    pub(crate) incidents: BTreeMap<String, BTreeSet<u64>>,
    /// When the rollback of an incident was made.
    pub(crate) written_at: BTreeMap<String, jiff::Timestamp>,
    /// Writes of ours by the status that they were answered with.
    pub(crate) answers: BTreeMap<u64, usize>,
    /// What should never be: two writes taken on one generation, a write that no bad release stood before.
    pub(crate) odd: Vec<String>,
}

impl Audit {
    pub(crate) fn of(writes: &[Write]) -> Self {
        let mut audit = Self::default();
        let mut standing: BTreeMap<&str, String> = BTreeMap::new();
        let mut guards = BTreeSet::new();
        for write in writes.iter().filter(|write| write.resource == "deployments" && write.verb == "patch" && !write.dry_run) {
            if write.user != BACKOUT_USER {
                if let Some(image) = image(&write.body).filter(|image| image != GOOD && image != "shop:0") {
                    let release = format!("{} {image}", write.name);
                    audit.releases.insert(release.clone(), BTreeSet::new());
                    standing.insert(&write.name, release);
                }
                continue;
            }
            *audit.answers.entry(write.code).or_default() += 1;
            // 4xx was not taken. 5xx, or nothing, is of a process that was gone before the answer: it may have been.
            if (400..500).contains(&write.code) && write.code != CLIENT_GONE {
                continue;
            }
            let (generation, incident) = (write.body[1]["value"].as_u64().unwrap_or_default(), incident(&write.body));
            if write.code == 200 && !guards.insert((write.name.clone(), generation)) {
                audit.odd.push(format!("{}: a second write after generation {generation}", write.name));
            }
            match standing.get(write.name.as_str()).and_then(|release| audit.releases.get_mut(release)) {
                Some(generations) => drop(generations.insert(generation)),
                None => audit.odd.push(format!("{}: a write where no bad release was: {}", write.name, write.body)),
            }
            audit.incidents.entry(incident.clone()).or_default().insert(generation);
            audit.written_at.extend(write.at.parse().ok().map(|at| (incident, at)));
        }
        audit
    }

    /// Bad releases, and incidents, that were rolled back more than once.
    pub(crate) fn doubled(&self) -> Vec<String> {
        let twice = |(what, on): (&String, &BTreeSet<u64>)| (on.len() > 1).then(|| format!("{what}: on generations {on:?}"));
        self.releases.iter().filter_map(twice).chain(self.incidents.iter().filter_map(twice)).chain(self.odd.clone()).collect()
    }
}

/// The image that `kubectl set image` sends.
fn image(body: &Value) -> Option<String> {
    body["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(str::to_owned)
}

/// The incident that a write of ours names on the object.
fn incident(patch: &Value) -> String {
    let mark = patch
        .as_array()
        .into_iter()
        .flatten()
        .find(|operation| operation["path"].as_str().is_some_and(|path| path.ends_with("last-rollback")));
    let mark = mark.and_then(|operation| serde_json::from_str::<Value>(operation["value"].as_str()?).ok());
    mark.and_then(|mark| Some(mark["incident"].as_str()?.to_owned())).unwrap_or_default()
}
