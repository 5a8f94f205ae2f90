//! How often somebody may be wrong, by address. A few mistakes are nobody's crime; a stream of them is a guesser, and then no
//! credential from there is looked at for a while. Must not know what credentials are.
//!
//! This is the cell rate algorithm that `governor` has, kept by hand: whether an address must wait has to be asked without
//! taking from its allowance, which `governor` cannot do, and right credentials cost nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many mistakes may be made at once …
const BURST: u32 = 10;
/// … and one more for each time that this has gone by.
const EVERY: Duration = Duration::from_secs(6);
/// Addresses that are remembered. Whoever has more of them has more guesses, and not more of our memory.
const ADDRESSES: usize = 4096;

/// An address, and whether it posts webhooks: a sender's wrong token locks out nobody who sits behind the same address.
type Key = (IpAddr, bool);

/// Addresses with mistakes, and when they will be forgiven.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<BTreeMap<Key, Instant>>);

impl Throttle {
    /// How long nothing from there is looked at.
    pub(super) fn wait(&self, address: IpAddr, ingest: bool, now: Instant) -> Option<Duration> {
        let forgiven = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(address, ingest)).copied()?;
        let allowed = forgiven.checked_sub(EVERY * (BURST - 1))?;
        Some(allowed.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// A mistake was made. Tells whether it was the one too many.
    pub(super) fn failed(&self, address: IpAddr, ingest: bool, now: Instant) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= ADDRESSES {
            seen.retain(|_, forgiven| *forgiven > now);
        }
        if seen.len() >= ADDRESSES {
            let nearest = seen.iter().min_by_key(|(_, forgiven)| **forgiven).map(|(key, _)| *key);
            nearest.map(|key| seen.remove(&key));
        }
        let forgiven = seen.entry(key(address, ingest)).or_insert(now);
        let before = (*forgiven).max(now);
        let most = now + EVERY * BURST;
        *forgiven = (before + EVERY).min(most);
        before + EVERY > now + EVERY * (BURST - 1) && before <= now + EVERY * (BURST - 1)
    }
}

/// An IPv6 network is one sender: each of its machines has more addresses than we could count.
fn key(address: IpAddr, ingest: bool) -> Key {
    let address = match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    };
    (address, ingest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_is_wrong_too_often_waits_and_others_do_not() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (guesser, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for number in 1..=BURST {
            assert_eq!(throttle.wait(guesser, false, now), None, "mistake {number}");
            assert_eq!(throttle.failed(guesser, false, now), number == BURST, "said once, at the last one");
        }
        assert_eq!(throttle.wait(guesser, false, now), Some(EVERY));
        assert_eq!(throttle.wait(guesser, true, now), None, "webhooks are another matter");
        assert_eq!(throttle.wait(other, false, now), None);
        assert_eq!(throttle.wait(address("::ffff:192.0.2.1"), false, now), Some(EVERY), "the same, written in another way");
        let now = now + EVERY;
        assert_eq!(throttle.wait(guesser, false, now), None, "one more");
        throttle.failed(guesser, false, now);
        assert!(throttle.wait(guesser, false, now).is_some());
        let now = now + EVERY * BURST;
        for _ in 1..BURST {
            throttle.failed(guesser, false, now);
        }
        assert_eq!(throttle.wait(guesser, false, now), None, "all is forgiven after a minute");
    }

    #[test]
    fn an_ipv6_network_is_one_and_memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..BURST {
            throttle.failed(address(&format!("2001:db8::{number}")), false, now);
        }
        assert!(throttle.wait(address("2001:db8::ffff"), false, now).is_some());
        assert_eq!(throttle.wait(address("2001:db8:0:1::1"), false, now), None);
        for number in 0..2 * u32::try_from(ADDRESSES).expect("small") {
            throttle.failed(IpAddr::from(number.to_be_bytes()), false, now);
        }
        assert_eq!(throttle.0.lock().expect("a lock").len(), ADDRESSES);
        assert!(throttle.wait(address("2001:db8::ffff"), false, now).is_some(), "who is furthest from forgiven stays");
    }
}
