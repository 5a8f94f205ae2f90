//! Series as promtool's unit tests write them: `1+2x3`, `1-2x3`, `1x5`, `_`, `_x3`, `stale`. The grammar is that of Prometheus' own
//! parser for series descriptions (its lexer in that mode, and the rules `series_item` and `series_value`).

use super::super::problem::Problem;

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A sample.
    Sample(f64),
    /// Prometheus' marker that the series ended.
    Stale,
    /// No sample.
    Omitted,
}

/// More values than this in one series are a mistake: about two years of minutes.
const MOST: usize = 1_000_000;

/// Reads a series. Nothing at all is a series without values.
///
/// # Errors
/// The first place that is wrong, and what is expected there.
pub fn parse(text: &str) -> Result<Vec<Value>, Problem> {
    let mut values = Vec::new();
    let mut reader = Reader { text, at: 0 };
    loop {
        reader.skip_space();
        if reader.rest().is_empty() {
            return Ok(values);
        }
        let start = reader.at;
        reader.item(&mut values)?;
        if values.len() > MOST {
            return Err(Problem::new(start..reader.at, format!("the series has more than {MOST} values")));
        }
        match reader.peek() {
            None => {}
            Some(char) if is_space(char) => {}
            Some(_) => return Err(reader.unexpected(start)),
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, char: char) -> bool {
        let found = self.peek() == Some(char);
        self.at += if found { char.len_utf8() } else { 0 };
        found
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
    }

    /// `_`, `_xN`, `VALUE`, `VALUExN`, `VALUE+STEPxN`, `VALUE-STEPxN`.
    fn item(&mut self, values: &mut Vec<Value>) -> Result<(), Problem> {
        let start = self.at;
        if self.rest().starts_with("{{") {
            let problem = Problem::new(start..start + 2, "a native histogram is not a number");
            return Err(problem.help("a fact is one number: write what the query makes of the histogram"));
        }
        if self.take('_') {
            let times = if self.take('x') { self.times(start)? } else { 1 };
            return repeat(values, times, (start, self.at), |_| Value::Omitted);
        }
        let first = self.value(start)?;
        let signed = matches!(self.peek(), Some('+' | '-'));
        let step = if signed { self.signed(start)? } else { Some(0.0) };
        match (first, step) {
            (first, _) if !signed && !self.take('x') => {
                values.push(first);
                Ok(())
            }
            // Prometheus adds the step up in the same way, so that the last bits agree.
            (Value::Sample(mut value), Some(step)) => {
                if signed && !self.take('x') {
                    return Err(self.expected(start, "`x` and how often: `1+2x3`"));
                }
                let times = self.times(start)?;
                repeat(values, times.saturating_add(1), (start, self.at), |_| {
                    let sample = Value::Sample(value);
                    value += step;
                    sample
                })
            }
            _ => Err(self.expected(start, "a value after `stale`, behind a blank")),
        }
    }

    fn value(&mut self, start: usize) -> Result<Value, Problem> {
        if self.rest().starts_with(|char: char| is_alpha(char)) {
            let word = self.word();
            return match word {
                "stale" => Ok(Value::Stale),
                _ => self.named(word, start).map(Value::Sample),
            };
        }
        Ok(Value::Sample(self.signed(start)?.unwrap_or(f64::NAN)))
    }

    /// A number with or without a sign.
    fn signed(&mut self, start: usize) -> Result<Option<f64>, Problem> {
        let negative = self.peek() == Some('-');
        if negative || self.peek() == Some('+') {
            self.at += 1;
        }
        let number = if self.rest().starts_with(|char: char| is_alpha(char)) {
            let word = self.word();
            self.named(word, start)?
        } else {
            self.number(start)?
        };
        Ok(Some(if negative { -number } else { number }))
    }

    /// Letters, digits and `_`.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|char: char| !is_alpha(char) && !char.is_ascii_digit()).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    /// The numbers that are words.
    fn named(&self, word: &str, start: usize) -> Result<f64, Problem> {
        match word.to_ascii_lowercase().as_str() {
            "inf" => Ok(f64::INFINITY),
            "nan" => Ok(f64::NAN),
            _ => Err(self.expected(start, "a number, `_` or `stale`")),
        }
    }

    /// Decimal, with a point, an exponent, underscores between digits; a leading zero makes it octal, as in Prometheus.
    fn number(&mut self, start: usize) -> Result<f64, Problem> {
        let rest = self.rest();
        let mut end = 0;
        let (mut dots, mut exponents) = (0, 0);
        let mut before = ' ';
        for char in rest.chars() {
            let goes_on = match char {
                '0'..='9' => true,
                '_' => before.is_ascii_digit() && exponents == 0,
                '.' => dots == 0 && exponents == 0 && before != '_',
                'e' | 'E' => exponents == 0 && (before.is_ascii_digit() || before == '.'),
                '+' | '-' => matches!(before, 'e' | 'E'),
                _ => false,
            };
            if !goes_on {
                break;
            }
            dots += usize::from(char == '.');
            exponents += usize::from(matches!(char, 'e' | 'E'));
            before = char;
            end += char.len_utf8();
        }
        let digits = rest.get(..end).unwrap_or("");
        self.at += end;
        let followed_by_a_letter = self.peek().is_some_and(|char| char != 'x' && is_alpha(char));
        let number = if followed_by_a_letter || before == '_' { None } else { read(digits) };
        number.ok_or_else(|| self.expected(start, "a number, `_` or `stale`"))
    }

    fn times(&mut self, start: usize) -> Result<usize, Problem> {
        let rest = self.rest();
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest.get(..end).unwrap_or("");
        let times = digits.parse::<usize>().map_err(|_| self.expected(start, "how often, a whole number, behind `x`"));
        self.at += end;
        times
    }

    /// The whole item that begins at `start`.
    fn expected(&self, start: usize, what: &str) -> Problem {
        let rest = self.text.get(start..).unwrap_or("");
        let length = rest.find(is_space).unwrap_or(rest.len());
        let item = rest.get(..length).unwrap_or("");
        Problem::new(start..start + length, format!("`{item}` is nothing in promtool's notation; expected {what}")).help(NOTATION)
    }

    fn unexpected(&self, start: usize) -> Problem {
        self.expected(start, "a blank between two items")
    }
}

const NOTATION: &str =
    "`1+2x3` is 1 3 5 7, `1-2x3` is 1 -1 -3 -5, `1x3` is 1 1 1 1, `_` is no sample, `_x3` three times none, `stale` ends";

fn repeat(
    values: &mut Vec<Value>,
    times: usize,
    (start, end): (usize, usize),
    next: impl FnMut(usize) -> Value,
) -> Result<(), Problem> {
    if times > MOST {
        return Err(Problem::new(start..end, format!("the series has more than {MOST} values")));
    }
    values.extend((0..times).map(next));
    Ok(())
}

/// As Go reads it: a whole number with a leading zero is octal where its digits allow it.
fn read(digits: &str) -> Option<f64> {
    let plain = digits.replace('_', "");
    if plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return i64::from_str_radix(&plain, 8).ok().map(|number| number as f64);
    }
    plain.parse().ok()
}

fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(char: char) -> bool {
    char.is_ascii_alphabetic() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<String, String> {
        let word = |value: &Value| match value {
            Value::Sample(value) => value.to_string(),
            Value::Stale => "stale".to_owned(),
            Value::Omitted => "_".to_owned(),
        };
        parse(text).map(|values| values.iter().map(word).collect::<Vec<_>>().join(" ")).map_err(|problem| problem.message)
    }

    #[test]
    fn reads_what_promtool_reads() {
        for (text, wanted) in [
            // The examples of promtool's own documentation.
            ("-2+4x3", "-2 2 6 10"),
            (" 1-2x4", "1 -1 -3 -5 -7"),
            ("1x4", "1 1 1 1 1"),
            (" 1 _x3 stale", "1 _ _ _ stale"),
            // Those of Prometheus' parser tests.
            ("", ""),
            ("1 2 3", "1 2 3"),
            ("-100 200 NaN", "-100 200 NaN"),
            ("1 -2 3-10x4", "1 -2 3 -7 -17 -27 -37"),
            ("1 -2 3-0x4", "1 -2 3 3 3 3 3"),
            ("1 3 _ 5 _x4", "1 3 _ 5 _ _ _ _"),
            ("1 3 _ 5 _ a", "?"),
            ("1 2 3 4 5 stale", "1 2 3 4 5 stale"),
            ("1+1x4 2 4", "1 2 3 4 5 2 4"),
            ("-2-3+5x4", "?"),
            ("_x0 1x0 2", "1 2"),
            ("+Inf -inf 1e3 1.5e-2x1 .5 1_000", "inf -inf 1000 0.015 0.015 0.5 1000"),
            ("010 09", "8 9"),
            ("1\t2\n3", "1 2 3"),
            ("-1+-1x1", "?"),
            ("0x200000000", "?"),
            ("1 +2x3", "1 2 2 2 2"),
            ("1+ 2x3", "?"),
            ("1+2", "?"),
            // Whatever is no number is refused whole, and not read up to there.
            ("1__0", "?"),
            ("1_", "?"),
            ("1e1_0", "?"),
            ("1_e5", "?"),
            ("1._5", "?"),
            ("1.5.5", "?"),
            ("1e5e5", "?"),
            ("1e5.5", "?"),
            ("5.e1", "50"),
            ("3y", "?"),
            ("3é", "?"),
            ("0", "0"),
            ("00", "0"),
            ("07.5", "7.5"),
            (".", "?"),
            ("_1", "?"),
            ("stalex3", "?"),
            ("stale+1x3", "?"),
            ("1x", "?"),
            ("1x-3", "?"),
            ("1x1.5", "?"),
            ("1x3x3", "?"),
            ("0xff", "?"),
            ("__", "?"),
            ("1,2", "?"),
            ("1e", "?"),
            ("1..2", "?"),
            ("{{schema:0}}", "?"),
        ] {
            match (wanted, words(text)) {
                ("?", Ok(read)) => panic!("{text:?} was read as {read:?}"),
                ("?", Err(_)) => {}
                (wanted, read) => assert_eq!(read.as_deref(), Ok(wanted), "{text:?}"),
            }
        }
    }

    #[test]
    fn a_series_is_as_long_as_it_may_be_and_no_longer() {
        assert_eq!(parse("_x1000000").map(|values| values.len()), Ok(MOST));
        assert_eq!(parse("1x999999").map(|values| values.len()), Ok(MOST));
        for text in ["_x1000001", "1x1000000", "_x999999 1 2"] {
            let problem = parse(text).expect_err(text);
            assert_eq!(problem.message, "the series has more than 1000000 values", "{text}");
        }
    }

    #[test]
    fn points_at_the_item() {
        let problem = parse("1 2 3y 4").unwrap_err();
        let message = "`3y` is nothing in promtool's notation; expected a number, `_` or `stale`";
        assert_eq!((problem.at, problem.message.as_str()), (4..6, message));
    }

    #[test]
    fn steps_are_added_up_as_prometheus_does() {
        let values = parse("0+0.1x3").unwrap();
        assert_eq!(values[3], Value::Sample(0.1 + 0.1 + 0.1));
        assert_ne!(values[3], Value::Sample(0.3));
    }
}
