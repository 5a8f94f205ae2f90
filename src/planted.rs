//! Defects that are planted on purpose, to show that the simulation (`tests/sim/`) sees them. Only with the feature `planted`, which
//! nothing that ships has, and with which there is no service: without it [`is`] is the constant `false`, and the compiler drops what
//! stands behind it. [`is`] is asked last, where the defect would make a difference: a world in which nobody asks for it cannot show it.

use crate::model::Brake;

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A brake never holds.
    BrakeOff(Brake),
    /// Nobody remembers that a rollback was marked wrong.
    TrustForgotten,
    /// How long a release was healthy is not compared.
    HealthNotCompared,
    /// A release that was rolled back from is as good as any.
    KnownBadForgotten,
    /// A release that we restored is rolled back from, too.
    FurtherBack,
    /// An object of the same name is taken for the one that was meant.
    UidNotCompared,
    /// The write does not name the generation that the decision saw.
    GuardMissing,
    /// Nothing is read again before the write.
    SecondLookSkipped,
    /// A write that waited for its commit for minutes is begun all the same.
    WriteWaited,
    /// A yes to any plan is a yes to this one.
    HashNotCompared,
    /// A yes overrides brakes that it does not name.
    YesOverridesAll,
    /// A yes counts however long ago it was given, and so does a countdown that nobody vetoed.
    NeverLapses,
    /// The allowance is spent when the attempt is over.
    BudgetAtTheEnd,
    /// An alert is known by its labels, however often it fires.
    DedupWithoutStart,
    /// An alert that no peer holds is taken to fire.
    ResolvedTakenAsFiring,
    /// A silence is overlooked.
    SilenceOverlooked,
    /// Peers that cannot tell are taken to say that it is over.
    BlindTakenAsQuiet,
    /// The condition is taken to have begun when the alert was sent.
    OnsetIsStart,
    /// An alert of another cluster is taken for one of ours.
    ForeignTaken,
    /// A policy in shadow acts.
    ShadowActs,
    /// Deadlines do not move along with the clock.
    LeapNotShifted,
    /// A page that no channel took is not sent again.
    PageDropped,
    /// News that no channel took are not sent again.
    NewsDropped,
    /// A page of several lists the first.
    FoldDropsOthers,
    /// Nobody is told of a rollback.
    RollbackNotAnnounced,
    /// What cannot be seen proves that it worked.
    UnknownTakenAsBetter,
    /// A write without an answer is made again at once.
    RepeatedBlindly,
    /// Effects are begun before their records are durable.
    EffectBeforeCommit,
    /// A record is not written.
    RecordNotWritten,
    /// A countdown that a restart met goes on.
    CountdownNotRenewed,
    /// A veto is answered, and forgotten.
    VetoForgotten,
    /// An acknowledgement does not suspend the countdown.
    AcknowledgementIgnored,
    /// An answer that does not come back is waited for, for ever.
    LostNotNoticed,
    /// That no alert fires any more is never believed.
    NeverQuiet,
    /// Inhibition is overlooked.
    InhibitionOverlooked,
    /// A peer that cannot be asked does not count.
    DownPeerOverlooked,
    /// A peer that was started a moment ago is believed.
    FreshPeerBelieved,
    /// A sender's word that it is over is believed.
    SenderBelieved,
    /// What waits goes on under the policies that were reloaded since. In two places: the reload itself, and the second look's plan.
    ReloadOverlooked,
}

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    use super::Bug;

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
        static ASKED: RefCell<BTreeSet<Bug>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Plants a defect in this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        ACTIVE.set(bug);
    }

    /// The defects that were asked for in this thread since the last time: no other one would have made any difference.
    pub fn asked() -> BTreeSet<Bug> {
        ASKED.take()
    }

    /// Whether this defect is planted.
    pub fn is(bug: Bug) -> bool {
        if ACTIVE.get().is_none() {
            ASKED.with_borrow_mut(|asked| asked.insert(bug));
        }
        ACTIVE.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use chosen::{asked, is, plant};

/// Whether this defect is planted: never, in what ships.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}
