//! Three values: true, false, unknown with its reasons (Kleene's logic).

use std::fmt;

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tri {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be said, for these reasons; never none.
    Unknown(Vec<Unknown>),
}

/// One thing that was unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    /// What, as it stands in the condition: `facts.errors`.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Unknown {
    /// One unknown thing.
    pub fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into() }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is unknown: {}", self.what, self.reason)
    }
}

impl Tri {
    /// Whether it certainly holds.
    pub fn is_true(&self) -> bool {
        *self == Self::True
    }

    /// Whether it certainly does not hold.
    pub fn is_false(&self) -> bool {
        *self == Self::False
    }

    /// Whether it cannot be said.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// What was unknown.
    pub fn reasons(&self) -> &[Unknown] {
        match self {
            Self::Unknown(reasons) => reasons,
            Self::True | Self::False => &[],
        }
    }

    /// False if one is false, else unknown if one is unknown; true for none. Does not look beyond the first that is false.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut unknown = Vec::new();
        for part in parts {
            match part {
                Self::True => {}
                Self::False => return Self::False,
                Self::Unknown(reasons) => merge(&mut unknown, reasons),
            }
        }
        if unknown.is_empty() { Self::True } else { Self::Unknown(unknown) }
    }

    /// True if one is true, else unknown if one is unknown; false for none. Does not look beyond the first that is true.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        !Self::all(parts.into_iter().map(|part| !part))
    }
}

impl std::ops::Not for Tri {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown(reasons) => Self::Unknown(reasons),
        }
    }
}

impl From<bool> for Tri {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Appends what is not there yet.
pub(super) fn merge(reasons: &mut Vec<Unknown>, more: Vec<Unknown>) {
    for reason in more {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_kleene() {
        let unknown = || Tri::Unknown(vec![Unknown::new("x", "y")]);
        for (left, right, and, or) in [
            (Tri::True, unknown(), unknown(), Tri::True),
            (unknown(), Tri::True, unknown(), Tri::True),
            (Tri::False, unknown(), Tri::False, unknown()),
            (unknown(), Tri::False, Tri::False, unknown()),
            (unknown(), unknown(), unknown(), unknown()),
            (Tri::True, Tri::False, Tri::False, Tri::True),
        ] {
            assert_eq!(Tri::all([left.clone(), right.clone()]), and);
            assert_eq!(Tri::any([left, right]), or);
        }
        assert_eq!(Tri::all([]), Tri::True);
        assert_eq!(Tri::any([]), Tri::False);
        assert_eq!(!unknown(), unknown());
        assert_eq!(unknown().reasons()[0].to_string(), "`x` is unknown: y");
    }

    #[test]
    fn each_of_the_three_is_only_itself() {
        let unknown = Tri::Unknown(vec![Unknown::new("x", "y")]);
        for (tri, wanted) in
            [(Tri::True, [true, false, false]), (Tri::False, [false, true, false]), (unknown, [false, false, true])]
        {
            assert_eq!([tri.is_true(), tri.is_false(), tri.is_unknown()], wanted, "{tri:?}");
        }
    }
}
