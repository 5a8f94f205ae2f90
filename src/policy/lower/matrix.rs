//! What can be said of a decision matrix without a fact: which cells no row names, which rows overlap, which one never has its turn.
//! Each column's values fall into regions that all of its cells treat alike; the regions of all columns are the cells of the matrix.

use super::super::problem::Problem;
use super::super::{duration, expr::Kind};

/// What a cell asks of its column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// Nothing.
    Any,
    /// This text, or any other.
    Text { is_equal: bool, value: String },
    /// A number, or seconds.
    Number { sign: &'static str, value: f64, shown: String },
    /// Whether it is so.
    Truth(bool),
}

/// Longest first: `>=` begins with `>`.
const SIGNS: [&str; 6] = ["<=", ">=", "==", "!=", "<", ">"];

impl Test {
    /// Reads a cell of a column of this kind.
    pub(super) fn read(text: &str, kind: Kind) -> Result<Self, Problem> {
        let cell = text.trim();
        if cell == "any" {
            return Ok(Self::Any);
        }
        let (sign, value) =
            SIGNS.into_iter().find_map(|sign| Some((sign, cell.strip_prefix(sign)?.trim()))).unwrap_or(("==", cell));
        let wrong = |what: &str| {
            Problem::new(0..text.len(), format!("`{text}` is no cell of this column"))
                .help(format!("write {what}, with `<`, `<=`, `>`, `>=`, `==`, `!=` before it, or `any`"))
        };
        let equal = || match sign {
            "==" => Ok(true),
            "!=" => Ok(false),
            _ => Err(Problem::new(0..text.len(), format!("`{sign}` does not compare what is in this column"))
                .help("write the value, `!= value`, or `any`")),
        };
        match kind {
            Kind::Text => Ok(Self::Text { is_equal: equal()?, value: value.to_owned() }),
            Kind::Bool => match value {
                "true" => Ok(Self::Truth(equal()?)),
                "false" => Ok(Self::Truth(!equal()?)),
                _ => Err(Problem::new(0..text.len(), format!("`{text}` is no cell of this column"))
                    .help("write `true`, `false` or `any`")),
            },
            Kind::Duration => match duration::parse(value) {
                Ok(time) => Ok(Self::Number { sign, value: time.as_secs_f64(), shown: value.to_owned() }),
                Err(_) => Err(wrong("a duration such as `1h`")),
            },
            Kind::Number | Kind::Other => match value.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Self::Number { sign, value: number, shown: value.to_owned() }),
                _ => Err(wrong("a number")),
            },
        }
    }

    /// The condition that it makes of the column's value.
    pub(super) fn condition(&self, column: &str, kind: Kind) -> Option<String> {
        Some(match self {
            Self::Any => return None,
            Self::Text { is_equal, value } => {
                format!("{column} {} {}", if *is_equal { "==" } else { "!=" }, serde_json::Value::from(value.as_str()))
            }
            Self::Truth(true) => column.to_owned(),
            Self::Truth(false) => format!("!{column}"),
            Self::Number { sign, value, .. } if kind == Kind::Duration => format!("{column} {sign} duration('{}')", span(*value)),
            Self::Number { sign, value, .. } => format!("{column} {sign} {value}"),
        })
    }

    fn holds(&self, sample: &Sample<'_>) -> bool {
        match (self, sample) {
            (Self::Any, _) => true,
            (Self::Text { is_equal, value }, Sample::Text(text)) => (*text == Some(value)) == *is_equal,
            (Self::Truth(wanted), Sample::Truth(truth)) => wanted == truth,
            (Self::Number { sign, value, .. }, Sample::Number(number)) => match *sign {
                "<" => number < value,
                "<=" => number <= value,
                ">" => number > value,
                ">=" => number >= value,
                "!=" => number != value,
                _ => number == value,
            },
            _ => false,
        }
    }
}

/// Seconds as CEL writes a duration.
fn span(seconds: f64) -> String {
    let whole = seconds.round();
    if (seconds - whole).abs() > f64::EPSILON {
        return format!("{}ms", (seconds * 1000.0).round());
    }
    if whole > 0.0 && whole % 3600.0 == 0.0 {
        return format!("{}h", whole / 3600.0);
    }
    if whole > 0.0 && whole % 60.0 == 0.0 { format!("{}m", whole / 60.0) } else { format!("{whole}s") }
}

/// A value that stands for its region.
enum Sample<'t> {
    /// `None`: any text that no cell names.
    Text(Option<&'t String>),
    Number(f64),
    Truth(bool),
}

/// Values of a column that all of its cells treat alike.
#[derive(Clone, Debug, PartialEq)]
struct Region {
    /// Which values, in words; empty where it is every value.
    words: String,
    /// For each row, whether its cell holds there.
    holds: Vec<bool>,
}

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    /// The first cells that no row names, in words.
    pub(super) gaps: Vec<String>,
    /// How many there are.
    pub(super) gap_count: usize,
    /// Rows that hold in one cell: the earlier, the later, and where.
    pub(super) overlaps: Vec<(usize, usize, String)>,
    /// Rows that never are the first to hold.
    pub(super) never: Vec<usize>,
    /// There are more cells than anybody would look through: nothing was looked at.
    pub(super) is_too_large: bool,
}

/// More cells are not looked through.
const MOST_CELLS: usize = 20_000;
/// More are only counted.
const SHOWN: usize = 5;

/// Looks at every cell. Columns by title and kind; rows of as many cells each.
pub(super) fn look(columns: &[(&str, Kind)], rows: &[Vec<Test>]) -> Found {
    let regions: Vec<Vec<Region>> = columns
        .iter()
        .enumerate()
        .map(|(at, (title, kind))| {
            let tests: Vec<&Test> = rows.iter().map(|row| row.get(at).unwrap_or(&Test::Any)).collect();
            regions(title, *kind, &tests)
        })
        .collect();
    let cells = regions.iter().try_fold(1_usize, |cells, column| cells.checked_mul(column.len()));
    let Some(cells) = cells.filter(|cells| *cells <= MOST_CELLS) else {
        return Found { is_too_large: true, ..Found::default() };
    };
    let mut found = Found::default();
    let mut wins = vec![false; rows.len()];
    for cell in 0..cells {
        let mut rest = cell;
        let mut place: Vec<&Region> = Vec::with_capacity(regions.len());
        // The last column changes fastest.
        for column in regions.iter().rev() {
            place.extend(column.get(rest % column.len()));
            rest /= column.len();
        }
        place.reverse();
        let holds = |row: &usize| place.iter().all(|region| region.holds.get(*row) == Some(&true));
        let holding: Vec<usize> = (0..rows.len()).filter(holds).collect();
        let words = || {
            let said: Vec<&str> = place.iter().map(|region| region.words.as_str()).filter(|words| !words.is_empty()).collect();
            if said.is_empty() { "anything".to_owned() } else { said.join(", ") }
        };
        let Some((first, later)) = holding.split_first() else {
            found.gap_count += 1;
            if found.gaps.len() < SHOWN {
                found.gaps.push(words());
            }
            continue;
        };
        if let Some(won) = wins.get_mut(*first) {
            *won = true;
        }
        for row in later {
            let is_known = found.overlaps.iter().any(|(a, b, _)| (a, b) == (first, row));
            // A row that takes all that is left overlaps every one before it, and means to.
            let takes_all = rows.get(*row).is_some_and(|row| row.iter().all(|test| *test == Test::Any));
            if !is_known && !takes_all {
                found.overlaps.push((*first, *row, words()));
            }
        }
    }
    found.never = wins.iter().enumerate().filter(|(_, won)| !**won).map(|(row, _)| row).collect();
    found
}

fn regions(title: &str, kind: Kind, tests: &[&Test]) -> Vec<Region> {
    let region =
        |words: String, sample: &Sample<'_>| Region { words, holds: tests.iter().map(|test| test.holds(sample)).collect() };
    let mut all: Vec<Region> = match kind {
        Kind::Bool => [true, false].map(|truth| region(format!("{title} is {truth}"), &Sample::Truth(truth))).into(),
        Kind::Text => {
            let mut named: Vec<&String> = Vec::new();
            for test in tests {
                if let Test::Text { value, .. } = test
                    && !named.contains(&value)
                {
                    named.push(value);
                }
            }
            let other = region(format!("{title} is something else"), &Sample::Text(None));
            let mut all: Vec<Region> =
                named.iter().map(|value| region(format!("{title} = {value}"), &Sample::Text(Some(value)))).collect();
            all.retain(|region| region.holds != other.holds);
            all.push(other);
            all
        }
        Kind::Number | Kind::Duration | Kind::Other => numbers(title, kind, tests),
    };
    if let [only] = all.as_mut_slice() {
        only.words.clear();
    }
    all
}

/// The numbers that cells name, and what lies between them; neighbours that are treated alike are one.
fn numbers(title: &str, kind: Kind, tests: &[&Test]) -> Vec<Region> {
    let mut bounds: Vec<(f64, &str)> = Vec::new();
    for test in tests {
        if let Test::Number { value, shown, .. } = test {
            bounds.push((*value, shown));
        }
    }
    bounds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    bounds.dedup_by(|(a, _), (b, _)| a == b);
    // Even places lie between two bounds, odd ones are a bound.
    let sample = |place: usize| {
        let below = place.checked_sub(1).and_then(|before| bounds.get(before / 2)).map(|(bound, _)| *bound);
        let above = bounds.get(place / 2).map(|(bound, _)| *bound);
        match (below, above) {
            (_, Some(bound)) if place % 2 == 1 => bound,
            (Some(below), Some(above)) => f64::midpoint(below, above),
            (None, Some(above)) => above - 1.0,
            (Some(below), None) => below + 1.0,
            (None, None) => 0.0,
        }
    };
    let starts_at = usize::from(kind == Kind::Duration && bounds.first().is_some_and(|(bound, _)| *bound <= 0.0));
    let mut runs: Vec<(usize, usize, Vec<bool>)> = Vec::new();
    for place in starts_at..=2 * bounds.len() {
        let holds: Vec<bool> = tests.iter().map(|test| test.holds(&Sample::Number(sample(place)))).collect();
        match runs.last_mut() {
            Some((_, last, known)) if *known == holds => *last = place,
            _ => runs.push((place, place, holds)),
        }
    }
    let shown = |place: usize| bounds.get(place).map_or("", |(_, shown)| *shown);
    let words = |first: usize, last: usize| {
        if first == last && first % 2 == 1 {
            return format!("{title} = {}", shown(first / 2));
        }
        let from = match first {
            first if first <= starts_at && first % 2 == 0 => None,
            first if first % 2 == 1 => Some(format!("{title} >= {}", shown(first / 2))),
            first => Some(format!("{title} > {}", shown(first / 2 - 1))),
        };
        let to = match last {
            last if last == 2 * bounds.len() => None,
            last if last % 2 == 1 => Some(format!("{title} <= {}", shown(last / 2))),
            last => Some(format!("{title} < {}", shown(last / 2))),
        };
        [from, to].into_iter().flatten().collect::<Vec<_>>().join(" and ")
    };
    runs.into_iter().map(|(first, last, holds)| Region { words: words(first, last), holds }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(columns: &[(&str, Kind)], rows: &[&[&str]]) -> Found {
        let read = |row: &&[&str]| {
            row.iter().zip(columns).map(|(cell, (_, kind))| Test::read(cell, *kind).expect("a cell")).collect::<Vec<_>>()
        };
        look(columns, &rows.iter().map(read).collect::<Vec<_>>())
    }

    const COLUMNS: [(&str, Kind); 3] = [("severity", Kind::Text), ("users", Kind::Number), ("fix", Kind::Duration)];

    #[test]
    fn a_matrix_without_holes_says_nothing() {
        let found = matrix(
            &COLUMNS,
            &[
                &["critical", "> 0.5", "> 1h"],
                &["critical", "> 0.5", "<= 1h"],
                &["critical", "<= 0.5", "any"],
                &["!= critical", "any", "any"],
            ],
        );
        assert_eq!(found, Found::default());
    }

    #[test]
    fn holes_and_overlaps_are_named() {
        let found = matrix(&COLUMNS, &[&["critical", "> 0.99", "> 1h"], &["critical", ">= 0.5", "any"]]);
        assert_eq!(
            found.gaps,
            ["severity = critical, users < 0.5, fix <= 1h", "severity = critical, users < 0.5, fix > 1h"]
                .into_iter()
                .chain([
                    "severity is something else, users < 0.5, fix <= 1h",
                    "severity is something else, users < 0.5, fix > 1h",
                    "severity is something else, users >= 0.5 and <= 0.99, fix <= 1h",
                ])
                .map(|words| words.replace("0.5 and <=", "0.5 and users <="))
                .collect::<Vec<_>>()
        );
        assert_eq!(found.gap_count, 8);
        assert_eq!(found.overlaps, [(0, 1, "severity = critical, users > 0.99, fix > 1h".to_owned())]);
        assert_eq!(found.never, Vec::<usize>::new());
    }

    #[test]
    fn a_row_behind_one_that_takes_all_never_wins() {
        let found = matrix(&COLUMNS, &[&["any", "any", "any"], &["critical", "any", "any"]]);
        assert_eq!((found.never, found.gap_count), (vec![1], 0));
        let found = matrix(&[("late", Kind::Bool)], &[&["true"], &["any"]]);
        assert_eq!(found, Found::default(), "what takes the rest overlaps nothing");
    }

    #[test]
    fn cells_are_of_their_column() {
        for (text, kind, wanted) in [
            ("> 1h", Kind::Number, "`> 1h` is no cell of this column"),
            ("> inf", Kind::Number, "`> inf` is no cell of this column"),
            ("NaN", Kind::Number, "`NaN` is no cell of this column"),
            ("0.5", Kind::Duration, "`0.5` is no cell of this column"),
            ("> critical", Kind::Text, "`>` does not compare what is in this column"),
            ("maybe", Kind::Bool, "`maybe` is no cell of this column"),
        ] {
            assert_eq!(Test::read(text, kind).unwrap_err().message, wanted);
        }
        for (text, kind, wanted) in [
            (">= 0.50", Kind::Number, "c >= 0.5"),
            ("90m", Kind::Duration, "c == duration('90m')"),
            ("5s", Kind::Duration, "c == duration('5s')"),
            ("> 0s", Kind::Duration, "c > duration('0s')"),
            ("<= 1500ms", Kind::Duration, "c <= duration('1500ms')"),
            ("> 1d", Kind::Duration, "c > duration('24h')"),
            ("!= a\"b", Kind::Text, "c != \"a\\\"b\""),
            ("false", Kind::Bool, "!c"),
        ] {
            assert_eq!(Test::read(text, kind).unwrap().condition("c", kind).unwrap(), wanted);
        }
    }

    #[test]
    fn a_hole_is_named_by_the_numbers_around_it() {
        for (rows, gaps) in [
            (&[&["< 1"][..], &[">= 5"]][..], &["users >= 1 and users < 5"][..]),
            (&[&["<= 1"], &["> 5"]], &["users > 1 and users <= 5"]),
            (&[&["!= 5"]], &["users = 5"]),
            (&[&["5"]], &["users < 5", "users > 5"]),
            (&[&["< 5"], &["> 5"]], &["users = 5"]),
        ] {
            assert_eq!(matrix(&[("users", Kind::Number)], rows).gaps, gaps, "{rows:?}");
        }
        assert_eq!(matrix(&[("late", Kind::Bool)], &[&["true"]]).gaps, ["late is false"]);
        assert_eq!(matrix(&[("late", Kind::Bool)], &[&["!= true"]]).gaps, ["late is true"]);
    }

    #[test]
    fn nobody_looks_through_too_many_cells() {
        let rows: Vec<Vec<Test>> = (0..200).map(|row| vec![Test::Text { is_equal: true, value: format!("x{row}") }; 2]).collect();
        let found = look(&[("a", Kind::Text), ("b", Kind::Text)], &rows);
        assert_eq!(found, Found { is_too_large: true, ..Found::default() });
    }
}
