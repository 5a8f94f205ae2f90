//! What a message carries of its incident besides words: what channels make links and templates of.

use super::incident::{Incident, Member};
use crate::model::{About, AboutAlert, AboutPlan};

/// Alerts that go with a message.
const ALERTS: usize = 10;
/// A longer address is none that people can follow.
const LONGEST_URL: usize = 2048;

/// What is known of the incident now.
pub(super) fn about(incident: &Incident) -> About {
    About {
        state: incident.phase.as_str().to_owned(),
        alerts: incident.members.values().take(ALERTS).map(alert).collect(),
        plan: incident.plan.as_ref().map(|plan| AboutPlan {
            hash: plan.hash().to_string(),
            from: plan.from.label(),
            to: plan.to.label(),
        }),
        merged: 0,
    }
}

fn alert(member: &Member) -> AboutAlert {
    let url = |name: &str| member.alert.annotations.get(name).filter(|url| url.len() <= LONGEST_URL).map(str::to_owned);
    AboutAlert {
        labels: member.alert.labels.to_map(),
        runbook_url: url("runbook_url"),
        dashboard_url: url("dashboard_url"),
        firing: member.resolved_at.is_none(),
    }
}
