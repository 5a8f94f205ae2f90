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

#[cfg(test)]
mod tests {
    use super::super::brakes::fixture::World;
    use super::*;
    use crate::model::Texts;

    #[test]
    fn people_read_its_state_its_alerts_and_addresses_that_can_be_followed() {
        let World { mut incident, now, .. } = World::new();
        let address = |length: usize| format!("https://{}", "x".repeat(length - 8));
        let (runbook, dashboard) = (address(LONGEST_URL), address(LONGEST_URL + 1));
        incident.members.change_all(|member| {
            member.alert.annotations = Texts::from([("runbook_url", &runbook), ("dashboard_url", &dashboard)]);
        });
        let told = about(&incident);
        assert_eq!((told.state.as_str(), told.plan, told.merged), ("deciding", None, 0));
        let [alert] = told.alerts.as_slice() else { panic!("one alert: {:?}", told.alerts) };
        assert_eq!(alert.labels["alertname"], "HighErrors");
        assert_eq!((alert.runbook_url.as_ref(), alert.dashboard_url.as_ref(), alert.firing), (Some(&runbook), None, true));
        incident.members.change_all(|member| member.resolved_at = Some(now));
        assert!(!about(&incident).alerts[0].firing);
    }
}
