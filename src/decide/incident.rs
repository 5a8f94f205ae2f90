//! One incident: its state, and the only function that changes it. No decisions here; those are `step`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::observation::Purpose;
use crate::model::{
    Alert, Applied, Delivery, Digest, Evidence, IncidentId, Mode, Occurrence, Onset, Paging, Plan, PlanHash, PreflightReport,
    Reason, TargetId, Time,
};

/// Which hands an incident has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "lane", content = "policy")]
pub enum Lane {
    /// Decided by the first policy that is not in shadow.
    Live,
    /// Decided by this policy in shadow, beside the others; takes nothing away from anybody and never acts.
    Shadow(String),
}

impl Lane {
    /// A key for maps and ids.
    pub fn key(&self) -> &str {
        match self {
            Self::Live => "live",
            Self::Shadow(policy) => policy,
        }
    }

    /// Whether nothing may be done here.
    pub fn is_shadow(&self) -> bool {
        matches!(self, Self::Shadow(_))
    }
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// As last received.
    pub alert: Alert,
    /// When its first notification was committed.
    pub received_at: Time,
    /// When its condition began.
    pub onset: Onset,
    /// When it was last said to be resolved; `None` while it fires.
    pub resolved_at: Option<Time>,
    /// Whether a notification that held it was cut.
    pub truncated: bool,
}

/// Where an incident stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// The alert must stay firing until then.
    Settling {
        /// When a decision is due.
        until: Time,
    },
    /// Facts are observed and judged.
    Deciding {
        /// Since when; unknown facts are asked for again for 30 s.
        since: Time,
    },
    /// A plan waits for a veto.
    Countdown {
        /// When it ends; `None` while an acknowledgement suspends it.
        until: Option<Time>,
    },
    /// A plan waits for a yes to its hash.
    Approval {
        /// When the wait ends in a page.
        until: Time,
    },
    /// Dry run, references, evidence.
    Preparing {
        /// Since when.
        since: Time,
    },
    /// Everything is read and decided once more.
    Redeciding {
        /// Since when.
        since: Time,
    },
    /// The intent is durable; the write is under way, or its outcome is being found out.
    Executing {
        /// Which step of the plan.
        step: usize,
        /// When the intent was committed.
        since: Time,
        /// Whether the outcome must be observed before anything else.
        doubtful: bool,
    },
    /// The write is done; proof is gathered.
    Verifying {
        /// When the last step was done.
        since: Time,
    },
    /// Proven; waits for quiet.
    Verified,
    /// In shadow: what would have been done was announced; waits for quiet.
    Shadowed,
    /// A human has it; waits for quiet.
    Paged,
    /// A ticket is open; decided again each minute; waits for quiet.
    FixForward,
    /// Over.
    Closed {
        /// How it ended.
        reason: Reason,
        /// When.
        at: Time,
    },
}

impl Phase {
    /// The name in metrics (`incidents_open{state}`), reports and the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Settling { .. } => "settling",
            Self::Deciding { .. } => "deciding",
            Self::Countdown { .. } => "countdown",
            Self::Approval { .. } => "approval",
            Self::Preparing { .. } => "preparing",
            Self::Redeciding { .. } => "redeciding",
            Self::Executing { .. } => "executing",
            Self::Verifying { .. } => "verifying",
            Self::Verified => "verified",
            Self::Shadowed => "shadowed",
            Self::Paged => "paged",
            Self::FixForward => "fix_forward",
            Self::Closed { .. } => "closed",
        }
    }

    /// All names but `closed`, for metrics that must have a zero.
    pub const OPEN: [&str; 12] = [
        "settling",
        "deciding",
        "countdown",
        "approval",
        "preparing",
        "redeciding",
        "executing",
        "verifying",
        "verified",
        "shadowed",
        "paged",
        "fix_forward",
    ];

    /// Whether a plan exists and nothing was written yet.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Countdown { .. } | Self::Approval { .. } | Self::Preparing { .. } | Self::Redeciding { .. })
    }

    /// Whether a write may have been made and its end is not known.
    pub fn is_acting(&self) -> bool {
        matches!(self, Self::Executing { .. } | Self::Verifying { .. })
    }

    /// Whether it only waits for the alerts to be over.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Verified | Self::Shadowed | Self::Paged | Self::FixForward)
    }
}

/// A page, from its opening to the incident's close.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Why a human is needed.
    pub reason: Reason,
    /// What the page says.
    pub text: String,
    /// When it was last sent.
    pub sent_at: Time,
    /// How many messages were sent under it.
    pub count: u32,
}

/// One attempt to go back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was to be done.
    pub plan: Plan,
    /// When its intent was committed; the budget is spent from here.
    pub intended_at: Time,
    /// What the write's answer was, once there is one.
    pub applied: Option<Applied>,
    /// When the rollout was seen complete.
    pub rolled_back_at: Option<Time>,
    /// Since when every check holds.
    pub holds_since: Option<Time>,
    /// The end of the tail.
    pub tail_until: Option<Time>,
    /// What the checks last said.
    pub checks: BTreeMap<String, String>,
    /// How it ended.
    pub ended: Option<(Time, Reason)>,
}

/// An observation that is under way or due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Numbered, so that a late answer is known for one.
    pub id: u64,
    /// What for.
    pub purpose: Purpose,
    /// When it was asked.
    pub at: Time,
    /// How many times in a row it came back with something unknown.
    pub tries: u32,
}

/// An observation that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// What for.
    pub purpose: Purpose,
    /// When.
    pub at: Time,
    /// How many times in a row it came back with something unknown.
    pub tries: u32,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Time,
    /// What happened, one line.
    pub text: String,
}

/// One target and the release that ran there at the onset of its first alert. That pair never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Names it everywhere.
    pub id: IncidentId,
    /// Which hands it has.
    pub lane: Lane,
    /// The policy that decides.
    pub policy: String,
    /// That policy's routing when the incident was opened.
    pub paging: Option<Paging>,
    /// The target, unless it could not be found.
    pub target: Option<TargetId>,
    /// What was looked for; why it was not found.
    pub unresolved: Option<String>,
    /// The release that ran at the onset.
    pub release: Option<Digest>,
    /// When the first receipt was committed.
    pub opened_at: Time,
    /// Every alert of it, by occurrence.
    pub members: BTreeMap<String, Member>,
    /// Where it stands.
    pub phase: Phase,
    /// The observation that is awaited.
    pub asked: Option<Asked>,
    /// The observation that is due later.
    pub retry: Option<Retry>,
    /// Names of facts that reached rules read.
    pub wanted: Vec<String>,
    /// The last decision.
    pub decision: Option<Decision>,
    /// The plan that waits or is carried out.
    pub plan: Option<Plan>,
    /// Who approved which plan.
    pub approval: Option<Approval>,
    /// What preflight found last.
    pub preflight: Option<PreflightReport>,
    /// What was collected before the write.
    pub evidence: Option<Evidence>,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// The open page.
    pub page: Option<Page>,
    /// Who has it.
    pub acknowledged: Option<(Time, String)>,
    /// Who vetoed.
    pub vetoed: Option<(Time, String, String)>,
    /// Since when no alert of it fires, confirmed.
    pub quiet_since: Option<Time>,
    /// When anything was last heard of its alerts, either way.
    pub heard_at: Time,
    /// When the change landed that put the release there.
    pub change_landed_at: Option<Time>,
    /// When the first verdict fell.
    pub decided_at: Option<Time>,
    /// Numbers the observations and messages.
    pub next: u64,
    /// What happened, for the report. Bounded.
    pub notes: Vec<Note>,
}

/// A yes to a plan's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// To what.
    pub plan: PlanHash,
    /// Brakes that the approver overrides, by name.
    pub overrides: Vec<String>,
}

/// What can happen to an incident. Recorded, and folded again at recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// It begins.
    Opened {
        /// As it begins.
        incident: Box<Incident>,
    },
    /// An alert joins, or is heard of again.
    Joined {
        /// The alert.
        member: Box<Member>,
    },
    /// A sender says that an alert is over.
    Resolved {
        /// Which.
        occurrence: Occurrence,
    },
    /// It stands elsewhere.
    Phase {
        /// Where it stands now.
        to: Phase,
    },
    /// An observation is asked for.
    Asked {
        /// What for.
        purpose: Purpose,
        /// How many came back unknown before it.
        tries: u32,
    },
    /// An observation is put off.
    Postponed {
        /// What for.
        purpose: Purpose,
        /// Until when.
        until: Time,
        /// How many came back unknown before it.
        tries: u32,
    },
    /// A reached rule reads these facts.
    Wanted {
        /// Their names.
        facts: Vec<String>,
    },
    /// A verdict.
    Decided {
        /// With everything that it rests on.
        decision: Box<Decision>,
    },
    /// The policy that decides is another one (reload while settling).
    Policy {
        /// Its name.
        name: String,
        /// Its routing.
        paging: Option<Paging>,
    },
    /// A plan waits.
    Planned {
        /// The plan.
        plan: Box<Plan>,
    },
    /// A person said yes.
    Approved {
        /// To what.
        approval: Approval,
    },
    /// Dry run and evidence are there.
    Prepared {
        /// What was checked.
        report: PreflightReport,
        /// What was collected.
        evidence: Box<Evidence>,
    },
    /// The write is about to be made. Committed before the write starts.
    Intended,
    /// The write was answered.
    Applied {
        /// How.
        applied: Applied,
    },
    /// A step of the proof.
    Checked {
        /// What each check says.
        checks: BTreeMap<String, String>,
        /// Whether the rollout is complete.
        rolled_back: bool,
        /// Since when all hold.
        holds_since: Option<Time>,
        /// The end of the tail, once known.
        tail_until: Option<Time>,
    },
    /// The attempt is over.
    AttemptEnded {
        /// How.
        reason: Reason,
    },
    /// A page is sent.
    Paged {
        /// Why.
        reason: Reason,
        /// What it says.
        text: String,
    },
    /// A person has it.
    Acknowledged {
        /// Who.
        by: String,
    },
    /// A person said no.
    Vetoed {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// All alerts are over, confirmed; or not any more.
    Quiet {
        /// Whether.
        quiet: bool,
    },
    /// A message went out, or did not.
    Told {
        /// Its id.
        message: String,
        /// How it went.
        delivery: Delivery,
    },
    /// A line for the report.
    Noted {
        /// The line.
        text: String,
    },
}

/// An event that cannot happen in this state: a defect, or a damaged journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event `{event}` is not possible for incident {incident} in phase `{phase}`")]
pub struct IllegalEvent {
    /// Whose.
    pub incident: IncidentId,
    /// Where it stood.
    pub phase: &'static str,
    /// What was to happen.
    pub event: &'static str,
}

/// Lines kept for the report.
const NOTES: usize = 500;

impl Incident {
    /// Whether it is not over.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }

    /// The attempt that is under way or was the last.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// The release that is expected to run: what our last write put there, else the one that ran at the onset.
    pub fn expected_release(&self) -> Option<&Digest> {
        let written = |attempt: &&Attempt| matches!(attempt.applied, Some(Applied::Done { .. } | Applied::Already { .. }));
        self.attempts.iter().rev().find(written).map(|attempt| &attempt.plan.to.digest).or(self.release.as_ref())
    }

    /// The mode of its plan, else shadow for a lane in shadow.
    pub fn mode(&self) -> Mode {
        self.plan.as_ref().map_or(Mode::Shadow, |plan| plan.mode)
    }

    /// The members that fire, as far as we were told.
    pub fn firing(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.resolved_at.is_none())
    }

    /// The firing member with the earliest onset: what `alert` means in conditions. Any member where none fires.
    pub fn lead(&self) -> Option<&Member> {
        let key = |member: &&Member| (member.onset.at.clone().unwrap_or(member.alert.starts_at), member.alert.fingerprint);
        self.firing().min_by_key(key).or_else(|| self.members.values().min_by_key(key))
    }

    /// The earliest onset among its alerts; unknown as soon as one is.
    pub fn onset(&self) -> Result<Time, String> {
        let mut earliest: Option<Time> = None;
        for member in self.members.values() {
            match &member.onset.at {
                Ok(at) => earliest = Some(earliest.map_or(*at, |known| known.min(*at))),
                Err(why) => return Err(why.detail.clone()),
            }
        }
        earliest.ok_or_else(|| "the incident has no alert".to_owned())
    }

    /// Whether any notification of it was cut.
    pub fn truncated(&self) -> bool {
        self.members.values().any(|member| member.truncated)
    }

    /// `critical` where any alert says so, else the lead's `severity` label (bounded text for people only).
    pub fn critical(&self) -> bool {
        self.members.values().any(|member| member.alert.label("severity") == "critical")
    }

    /// How long the trouble lasted: from onset to proof, or to the close.
    pub fn downtime(&self) -> Option<Duration> {
        let end = self.attempts.iter().rev().find_map(|a| a.ended.filter(|(_, r)| *r == Reason::Verified)).map(|(at, _)| at);
        let end = end.or(self.quiet_since)?;
        Some(end.since(self.onset().ok()?))
    }

    /// Carries an event out. The only way an incident changes, live and at recovery.
    ///
    /// # Errors
    /// When the event is not possible in this state.
    pub fn apply(&mut self, event: &Event, at: Time) -> Result<(), IllegalEvent> {
        match event {
            Event::Opened { .. } => return Err(self.illegal("opened")),
            Event::Joined { member } => self.join(member),
            Event::Resolved { occurrence } => {
                if let Some(member) = self.members.get_mut(&occurrence.to_string()) {
                    member.resolved_at = Some(at);
                }
                self.heard_at = at;
            }
            Event::Phase { to } => self.enter(to)?,
            Event::Asked { purpose, tries } => {
                self.next += 1;
                self.asked = Some(Asked { id: self.next, purpose: *purpose, at, tries: *tries });
                self.retry = None;
            }
            Event::Postponed { purpose, until, tries } => {
                self.asked = None;
                self.retry = Some(Retry { purpose: *purpose, at: *until, tries: *tries });
            }
            Event::Wanted { facts } => self.wanted.clone_from(facts),
            Event::Decided { decision } => {
                self.decided_at = self.decided_at.or(Some(at));
                self.change_landed_at = decision.change_landed_at.or(self.change_landed_at);
                self.decision = Some((**decision).clone());
            }
            Event::Policy { name, paging } => {
                self.policy.clone_from(name);
                self.paging = *paging;
            }
            Event::Planned { plan } => {
                self.plan = Some((**plan).clone());
                self.approval = None;
            }
            Event::Approved { approval } => self.approval = Some(approval.clone()),
            Event::Prepared { report, evidence } => {
                self.preflight = Some(report.clone());
                self.evidence = Some((**evidence).clone());
            }
            Event::Intended | Event::Applied { .. } | Event::Checked { .. } | Event::AttemptEnded { .. } => {
                self.advance_attempt(event, at)?;
            }
            Event::Paged { reason, text } => {
                let count = self.page.as_ref().map_or(0, |page| page.count) + 1;
                self.page = Some(Page { reason: *reason, text: text.clone(), sent_at: at, count });
                self.next += 1;
            }
            Event::Acknowledged { by } => self.acknowledged = Some((at, by.clone())),
            Event::Vetoed { by, why } => self.vetoed = Some((at, by.clone(), why.clone())),
            Event::Quiet { quiet } => {
                self.quiet_since = if *quiet { self.quiet_since.or(Some(at)) } else { None };
                self.heard_at = at;
            }
            Event::Told { message, delivery } => self.told(message, delivery, at),
            Event::Noted { text } => self.note(at, text.clone()),
        }
        Ok(())
    }

    fn join(&mut self, member: &Member) {
        self.quiet_since = None;
        self.heard_at = self.heard_at.max(member.received_at);
        let key = member.alert.occurrence().to_string();
        match self.members.get_mut(&key) {
            Some(known) => {
                known.alert = member.alert.clone();
                known.resolved_at = None;
                known.truncated |= member.truncated;
                if known.onset.at.is_err() {
                    known.onset = member.onset.clone();
                }
            }
            None => {
                self.members.insert(key, member.clone());
            }
        }
    }

    fn enter(&mut self, to: &Phase) -> Result<(), IllegalEvent> {
        let from_open = self.is_open();
        let possible = match to {
            Phase::Settling { .. } => false,
            Phase::Executing { .. } => matches!(self.phase, Phase::Redeciding { .. } | Phase::Executing { .. }),
            Phase::Redeciding { .. } => {
                matches!(self.phase, Phase::Preparing { .. } | Phase::Redeciding { .. } | Phase::Executing { .. })
            }
            Phase::Closed { .. } => from_open && !matches!(self.phase, Phase::Executing { .. }),
            _ => from_open,
        };
        if !possible {
            return Err(self.illegal(to.as_str()));
        }
        self.phase = to.clone();
        self.asked = None;
        self.retry = None;
        Ok(())
    }

    fn advance_attempt(&mut self, event: &Event, at: Time) -> Result<(), IllegalEvent> {
        if let Event::Intended = event {
            let Some(plan) = self.plan.clone() else { return Err(self.illegal("intended without a plan")) };
            // A second intent for the same plan is the same attempt: a guard failed before anything was written.
            if self.attempts.last().is_none_or(|last| last.ended.is_some() || last.plan.hash() != plan.hash()) {
                self.attempts.push(Attempt {
                    plan,
                    intended_at: at,
                    applied: None,
                    rolled_back_at: None,
                    holds_since: None,
                    tail_until: None,
                    checks: BTreeMap::new(),
                    ended: None,
                });
            }
            return Ok(());
        }
        let illegal = self.illegal("attempt event without an attempt");
        let Some(attempt) = self.attempts.last_mut() else { return Err(illegal) };
        match event {
            Event::Applied { applied } => attempt.applied = Some(applied.clone()),
            Event::Checked { checks, rolled_back, holds_since, tail_until } => {
                attempt.checks.clone_from(checks);
                attempt.holds_since = *holds_since;
                attempt.tail_until = attempt.tail_until.or(*tail_until);
                if *rolled_back {
                    attempt.rolled_back_at = attempt.rolled_back_at.or(Some(at));
                }
            }
            Event::AttemptEnded { reason } => attempt.ended = Some((at, *reason)),
            _ => {}
        }
        Ok(())
    }

    fn told(&mut self, message: &str, delivery: &Delivery, at: Time) {
        for channel in &delivery.delivered {
            self.note(at, format!("message {message}: delivered by {channel}"));
        }
        for (channel, why) in &delivery.failed {
            self.note(at, format!("message {message}: not delivered by {channel}: {why}"));
        }
    }

    fn note(&mut self, at: Time, text: String) {
        if self.notes.len() < NOTES {
            self.notes.push(Note { at, text });
        }
    }

    fn illegal(&self, event: &'static str) -> IllegalEvent {
        IllegalEvent { incident: self.id.clone(), phase: self.phase.as_str(), event }
    }
}
