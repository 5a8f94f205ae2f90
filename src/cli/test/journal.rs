//! `--compare REV --journal DATA`: what the decisions of the past come to under two versions of the policies. Each is made again from
//! what the journal recorded, by the service's own engine.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::TestArgs;
use crate::cli::decisions::{self, Recorded};
use crate::cli::exit::Failure;
use crate::cli::output::{Style, Text};
use crate::decide::decision::Decision;
use crate::decide::effect::Context;
use crate::decide::limits::Limits;
use crate::model::{IncidentId, Time};
use crate::policy::types::Policies;
use crate::rules_dir;
use crate::worlds::{self, Revision};

/// The decisions of a journal under both.
pub(super) struct Decisions {
    journal: String,
    decided: usize,
    differences: Vec<Different>,
}

/// A decision that comes out differently.
struct Different {
    incident: IncidentId,
    about: String,
    at: Time,
    before: String,
    now: String,
}

/// Makes every decision again, by the policies of the revision and by those of the folder.
///
/// # Errors
/// The journal, the folder or the revision cannot be read.
pub(super) async fn compare(args: &TestArgs, data: &Path) -> Result<Decisions, Failure> {
    let revision = args.compare.as_deref().unwrap_or_default();
    let now = rules_dir::load(&args.rules, true).map_err(|error| {
        Failure::usage(error.to_string()).help("name the folder of policies with `--rules`; `backout check` says more")
    })?;
    let found = Revision::find(&args.rules, revision).map_err(Failure::usage)?;
    let before = found.policies_of(&args.rules).map_err(Failure::usage)?;
    let limits = Limits::default();
    let mut made = Decisions { journal: data.display().to_string(), decided: 0, differences: Vec::new() };
    let mut last: BTreeMap<IncidentId, (String, String)> = BTreeMap::new();
    let decide = |recorded: Recorded<'_>| {
        let by = |policies: &Policies| {
            let made = recorded.decide(&Context { policies, limits: &limits, cluster: args.cluster_name.as_deref() });
            made.map(|decision| words(&decision)).map_err(|failure| failure.help("name it with `--cluster-name`"))
        };
        let both = (by(&before)?, by(&now.policies)?);
        made.decided += 1;
        let incident = recorded.incident;
        // A decision is made again and again while an incident lasts: what is the same as before is not said again.
        let known = last.insert(incident.id.clone(), both.clone());
        if both.0 != both.1 && known.as_ref() != Some(&both) {
            let target = incident.target.as_ref().map(|target| format!(" on {}/{}", target.at.namespace, target.at.name));
            let about = format!("{}{}", incident.policy, target.unwrap_or_default());
            let (before, now) = both;
            made.differences.push(Different { incident: incident.id.clone(), about, at: recorded.at, before, now });
        }
        Ok(())
    };
    decisions::each(&decisions::open(data)?, |_| true, decide).await?;
    Ok(made)
}

/// What it says; where it rests on facts that nobody asked for then, that nobody can tell.
fn words(decision: &Decision) -> String {
    if decision.wanted.is_empty() {
        return worlds::said(decision);
    }
    format!("cannot be told: nobody asked then for the facts {}", decision.wanted.join(", "))
}

impl Decisions {
    /// For scripts.
    pub(super) fn as_json(&self) -> Value {
        let difference = |different: &Different| {
            json!({
                "incident": different.incident, "about": different.about, "at": different.at.to_string(),
                "before": different.before, "now": different.now,
            })
        };
        let differences: Vec<Value> = self.differences.iter().map(difference).collect();
        json!({ "journal": self.journal, "decisions": self.decided, "differences": differences })
    }

    /// For people.
    pub(super) fn write(&self, text: &mut Text) {
        for different in &self.differences {
            text.line(format_args!(
                "  decided differently: incident {} ({}), {}",
                different.incident, different.about, different.at
            ));
            text.heading(Style::Red, &format!("    - {}", different.before));
            text.heading(Style::Green, &format!("    + {}", different.now));
        }
        text.line(format_args!(
            "  of {} decisions in `{}` {} are made differently",
            self.decided,
            self.journal,
            self.differences.len()
        ));
    }
}
