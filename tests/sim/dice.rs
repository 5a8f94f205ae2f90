//! Chance, from a seed.

/// Chance, from a seed: the same seed gives the same world on every machine.
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give similar worlds.
        Self(fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(&mut self, least: u64, most: u64) -> u64 {
        self.0.u64(least..=most)
    }

    /// Whether something happens, once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.0.u64(0..times.max(1)) == 0
    }

    /// One of them.
    pub(crate) fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.0.usize(0..all.len())]
    }

    /// One of them, by weight.
    pub(crate) fn weighed<T: Copy>(&mut self, all: &[(u64, T)]) -> T {
        let mut left = self.0.u64(0..all.iter().map(|(weight, _)| weight).sum());
        for (weight, what) in all {
            if left < *weight {
                return *what;
            }
            left -= weight;
        }
        all[0].1
    }
}
