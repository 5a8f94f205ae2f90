//! Templates for text that leaves: `{{ labels.app }}`. Pure text in and out: no loaders, includes, functions, clock or macros.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters, tests as conditions};

use super::duration;
use super::problem::{Problem, nearest};

/// A checked template. Text without `{{` is taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Template {
    source: String,
    is_literal: bool,
    variables: BTreeSet<String>,
}

impl Template {
    /// Checks a template against the variables that its place offers.
    pub fn parse(source: &str, roots: &[&str]) -> Result<Self, Problem> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Problem::new(0..source.len(), format!("a template of {} bytes is too long", source.len()))
                .help(format!("the limit is {MAX_SOURCE_BYTES} bytes")));
        }
        let is_literal = !["{{", "{%", "{#"].iter().any(|open| source.contains(open));
        let mut variables = BTreeSet::new();
        if !is_literal {
            check_blocks(source)?;
            let template = PLAIN.template_from_str(source).map_err(|error| syntax(source, &error))?;
            variables.extend(template.undeclared_variables(true));
        }
        for variable in &variables {
            let root = variable.split('.').next().unwrap_or(variable);
            if !roots.contains(&root) {
                return Err(unknown_variable(source, root, roots));
            }
        }
        Ok(Self { source: source.to_owned(), is_literal, variables })
    }

    /// Text that is taken as it is, whatever it holds.
    pub fn literal(text: &str) -> Self {
        Self { source: text.to_owned(), is_literal: true, variables: BTreeSet::new() }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it reads, as dotted paths: `labels.app`.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// Fills it in. An undefined variable is a problem, never an empty text.
    pub fn render(&self, scope: &serde_json::Value) -> Result<String, Problem> {
        self.render_in(&PLAIN, scope)
    }

    /// Fills it in for a URL: inserted values are percent-encoded, the text around them is not.
    pub fn render_url(&self, scope: &serde_json::Value) -> Result<String, Problem> {
        self.render_in(&URL, scope)
    }

    /// Fills it in for a place with a markup of its own: what is inserted goes through `escape`, the text around it does not.
    pub fn render_escaped(&self, scope: &serde_json::Value, escape: fn(&str) -> String) -> Result<String, Problem> {
        let mut environment = environment();
        environment.set_formatter(move |output, _, value| {
            if value.is_undefined() {
                return Err(Error::from(ErrorKind::UndefinedError));
            }
            let text = value.to_string();
            let plain = value.is_number() || matches!(value.kind(), ValueKind::Bool | ValueKind::None);
            output.write_str(&if plain { text } else { escape(&text) })?;
            Ok(())
        });
        self.render_in(&environment, scope)
    }

    fn render_in(&self, environment: &Environment<'static>, scope: &serde_json::Value) -> Result<String, Problem> {
        if self.is_literal {
            return Ok(self.source.clone());
        }
        let template = environment.template_from_str(&self.source).map_err(|error| syntax(&self.source, &error))?;
        let mut output = Bounded::default();
        let rendered = template.render_captured_to(Value::from(Serde(scope)), &mut output);
        if output.is_full {
            return Err(Problem::new(0..self.source.len(), "the rendered text is too long")
                .help(format!("the limit is {MAX_OUTPUT_BYTES} bytes")));
        }
        rendered.map_err(|error| self.failed(&error))?;
        String::from_utf8(output.bytes).map_err(|_| Problem::new(0..self.source.len(), "the rendered text is not valid UTF-8"))
    }

    fn failed(&self, error: &Error) -> Problem {
        let at = place(&self.source, error);
        let part = self.source.get(at.clone()).unwrap_or(&self.source);
        let message = match error.kind() {
            ErrorKind::UndefinedError => format!("`{part}` is not defined"),
            ErrorKind::UnknownTest => return Problem::new(at, "unknown test").help("available: defined, undefined, none"),
            ErrorKind::OutOfFuel => "the template takes too long".to_owned(),
            _ => format!("cannot render `{part}`: {}", reason(error)),
        };
        let problem = Problem::new(at, message);
        match error.kind() {
            ErrorKind::UndefinedError => problem.help("add `| default('…')` where it may be missing"),
            _ => problem,
        }
    }
}

/// What a template may insert at most, all together.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// Messages are a screen of text; a bound on the source bounds the work.
const MAX_SOURCE_BYTES: usize = 16 * 1024;

/// One `{{ … }}`. The parser and its tree are recursive, so this bounds the stack too.
const MAX_BLOCK_BYTES: usize = 512;

/// All `{% … %}` together: the parser recurses for every one that nests, and for every `elif`.
const MAX_STATEMENTS: usize = 64;

/// Instructions of one rendering; a loop over a hundred alerts takes some thousands.
const FUEL: u64 = 100_000;

/// What a block statement may be. No `set`, so that no text can be doubled again and again.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

const FILTERS: [&str; 16] = [
    "default", "d", "upper", "lower", "title", "trim", "join", "length", "first", "last", "round", "int", "float", "abs",
    "percent", "duration",
];

static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(environment);

static URL: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    environment.set_formatter(|output, _, value| {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        output.write_str(&percent_encode(&value.to_string()))?;
        Ok(())
    });
    environment
});

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_debug(true);
    environment.add_filter("default", filters::default);
    environment.add_filter("d", filters::default);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("join", filters::join);
    environment.add_filter("length", filters::length);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("round", filters::round);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("percent", percent);
    environment.add_filter("duration", format_seconds);
    environment.add_test("defined", conditions::is_defined);
    environment.add_test("undefined", conditions::is_undefined);
    environment.add_test("none", conditions::is_none);
    environment
}

/// `0.625` as `62.5%`.
fn percent(value: f64) -> String {
    let text = format!("{:.1}", value * 100.0);
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

/// Seconds as a duration: `5400` as `1h30m`.
fn format_seconds(seconds: f64) -> Result<String, Error> {
    let whole = Duration::try_from_secs_f64(seconds.round());
    whole
        .map(duration::format)
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("`{seconds}` seconds are not a duration")))
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Looks into every block for what the engine would accept and we do not.
fn check_blocks(source: &str) -> Result<(), Problem> {
    let mut at = 0;
    let mut statements = 0;
    while let Some(found) = source.get(at..).and_then(|rest| rest.find('{')) {
        let start = at + found;
        let rest = source.get(start..).unwrap_or("");
        at = start
            + match rest.get(..2) {
                // Something between the braces and a comment's end; minijinja judges the rest.
                Some("{#") => rest.find("#}").map_or(rest.len(), |end| end + 2),
                Some("{{") => check_block(source, start, "}}")?,
                Some("{%") if statements == MAX_STATEMENTS => {
                    return Err(Problem::new(start..start + 2, "too many `{% … %}` in a template")
                        .help(format!("the limit is {MAX_STATEMENTS}")));
                }
                Some("{%") => {
                    statements += 1;
                    check_block(source, start, "%}")?
                }
                _ => 1,
            };
    }
    Ok(())
}

/// The length of the block that begins at `start`.
fn check_block(source: &str, start: usize, close: &str) -> Result<usize, Problem> {
    let rest = source.get(start..).unwrap_or("");
    let mut quote = None;
    let mut chars = rest.char_indices().skip(2);
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '*') => {
                return Err(Problem::new(start + at..start + at + 1, "`*` is not available in templates")
                    .help("use a filter: `{{ facts.errors | percent }}`"));
            }
            (None, '|') => {
                let (word, place) = next_word(source, start + at + 1);
                if !FILTERS.contains(&word) {
                    return Err(Problem::new(place, format!("unknown filter `{word}`")).help(match nearest(word, FILTERS) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("available: {}", FILTERS.join(", ")),
                    }));
                }
            }
            (None, _) if rest.get(at..).is_some_and(|rest| rest.starts_with(close)) => {
                let block = rest.get(2..at).unwrap_or("");
                check_statement(block, start + 2, close)?;
                return Ok(at + close.len());
            }
            (None, _) => {}
        }
        if at > MAX_BLOCK_BYTES {
            return Err(Problem::new(start..start + at, "a block of a template is too long or not closed")
                .help(format!("close it with `{close}`; the limit is {MAX_BLOCK_BYTES} bytes")));
        }
    }
    Err(Problem::new(start..source.len(), format!("missing `{close}`")))
}

fn next_word(source: &str, from: usize) -> (&str, std::ops::Range<usize>) {
    let rest = source.get(from..).unwrap_or("");
    let trimmed = rest.trim_start();
    let word = trimmed.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').next().unwrap_or("");
    let start = from + (rest.len() - trimmed.len());
    (word, start..start + word.len())
}

fn check_statement(block: &str, start: usize, close: &str) -> Result<(), Problem> {
    if close != "%}" {
        return Ok(());
    }
    let body = block.trim_start_matches(|char: char| char.is_whitespace() || matches!(char, '-' | '+'));
    let (word, place) = next_word(body, 0);
    if STATEMENTS.contains(&word) {
        return Ok(());
    }
    let from = start + (block.len() - body.len());
    Err(Problem::new(place.start + from..place.end + from, format!("`{word}` is not available in templates"))
        .help(format!("available: {}", STATEMENTS.join(", "))))
}

fn unknown_variable(source: &str, root: &str, roots: &[&str]) -> Problem {
    let is_word = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_' || char == '.');
    let found = source.match_indices(root).map(|(at, _)| at).find(|at| {
        let before = source.get(..*at).and_then(|text| text.chars().next_back());
        let after = source.get(at + root.len()..).and_then(|text| text.chars().next()).filter(|char| *char != '.');
        let inside =
            source.get(..*at).is_some_and(|text| text.rfind("{{").max(text.rfind("{%")) > text.rfind("}}").max(text.rfind("%}")));
        inside && !is_word(before) && !is_word(after)
    });
    let at = found.map_or(0..source.len(), |at| at..at + root.len());
    let problem = Problem::new(at, format!("unknown variable `{root}`"));
    match nearest(root, roots.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if roots.is_empty() => problem.help("no variables are known here"),
        None => problem.help(format!("known here: {}", roots.join(", "))),
    }
}

fn syntax(source: &str, error: &Error) -> Problem {
    let at = place(source, error);
    Problem::new(at, format!("not a template: {}", reason(error)))
        .help("write `{{ labels.app }}`; for braces themselves write `{{ '{{' }}`")
}

fn reason(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn place(source: &str, error: &Error) -> std::ops::Range<usize> {
    error.range().filter(|range| source.get(range.clone()).is_some()).unwrap_or(0..source.len())
}

/// Refuses to grow beyond the bound, which ends the rendering.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > MAX_OUTPUT_BYTES {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROOTS: [&str; 4] = ["labels", "facts", "alerts", "plan"];

    fn scope() -> serde_json::Value {
        json!({
            "labels": {"app": "a b/ü", "empty": "", "evil": "{{ labels.app }}<&>"},
            "facts": {"errors": 0.625, "age": 5400, "none": null},
            "alerts": [{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}}],
            "plan": {"to": {"version": "7"}},
            "big": "x".repeat(1000),
        })
    }

    fn render(source: &str) -> Result<String, Problem> {
        Template::parse(source, &[ROOTS.as_slice(), &["big"]].concat())?.render(&scope())
    }

    #[test]
    fn renders() {
        for (source, wanted) in [
            ("", ""),
            ("plain } text { } %} $namespace\n", "plain } text { } %} $namespace\n"),
            ("{{ labels.app }}\n", "a b/ü\n"),
            ("x{{labels['app']}}y", "xa b/üy"),
            ("{{ labels.empty }}", ""),
            ("{{ labels.evil }}", "{{ labels.app }}<&>"),
            ("{{ labels.nope | default('none') }}", "none"),
            ("{{ facts.errors | percent }}", "62.5%"),
            ("{{ facts.age | duration }}", "1h30m"),
            ("{{ plan.to.version }}", "7"),
            ("{{ 2 + 3 }}", "5"),
            ("{% for a in alerts %}{{ a.labels.alertname }}{{ ',' if not loop.last }}{% endfor %}", "A,B"),
            ("{% if labels.nope is defined %}a{% else %}b{% endif %}", "b"),
            ("{# a * comment #}x", "x"),
            ("{{ '*' }}{{ \"}} * \\\" *\" }}", "*}} * \" *"),
            ("{{ '{{' }}", "{{"),
            ("{{ labels.app | upper }}", "A B/Ü"),
        ] {
            assert_eq!(render(source).as_deref(), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn encodes_values_in_urls_only() {
        let template = Template::parse("https://x/{{ labels.app }}?q={{ labels.evil }}&e={{ facts.errors }}", &ROOTS).unwrap();
        assert_eq!(
            template.render_url(&scope()).unwrap(),
            "https://x/a%20b%2F%C3%BC?q=%7B%7B%20labels.app%20%7D%7D%3C%26%3E&e=0.625"
        );
        assert!(Template::parse("{{ labels.nope }}", &ROOTS).unwrap().render_url(&scope()).is_err());
    }

    #[test]
    fn refuses_at_load() {
        for (source, at, says) in [
            ("a {{ lables.app }}", 5..11, "did you mean `labels`?"),
            ("lables {{ lables.app }}", 10..16, "unknown variable `lables`"),
            ("{{ x }}", 3..4, "known here: labels, facts"),
            ("{{ range(9) }}", 3..8, "unknown variable `range`"),
            ("{{ 'a' * 100000000 }}", 7..8, "`*` is not available"),
            ("{% set x = 1 %}", 3..6, "`set` is not available"),
            ("{%- include 'x' %}", 4..11, "`include` is not available"),
            ("{% raw %}{{{% endraw %}", 3..6, "`raw` is not available"),
            ("{{ labels.app", 0..13, "missing `}}`"),
            ("{{ labels. }}", 11..13, "not a template"),
            ("{{ labels.app | indent(1000000000) }}", 16..22, "unknown filter `indent`"),
            ("{{ labels.app | uper }}", 16..20, "did you mean `upper`?"),
        ] {
            let problem = Template::parse(source, &ROOTS).expect_err(source);
            assert!(problem.to_string().contains(says), "{source}: {problem}");
            assert_eq!(problem.at, at, "{source}: {problem}");
        }
        assert!(Template::parse(&"x".repeat(20_000), &ROOTS).is_err());
    }

    #[test]
    fn refuses_when_rendering() {
        for (source, says) in [
            ("{{ labels.nope }}", "`labels.nope` is not defined"),
            ("{{ facts.errors.x.y }}", "not defined"),
            ("{{ labels.app is number }}", "unknown test"),
            ("{{ labels.app | duration }}", "cannot render"),
            ("{% for a in 'x' %}{% endfor %}{{ plan.to.version / 0 }}", "cannot render"),
            ("{% for a in big %}{{ big }}{% endfor %}", "too long"),
            ("{% for a in big %}{% for b in big %}{% endfor %}{% endfor %}", "takes too long"),
        ] {
            let problem = render(source).expect_err(source);
            assert!(problem.to_string().contains(says), "{source}: {problem}");
        }
    }

    #[test]
    fn lists_what_it_reads() {
        let template =
            Template::parse("{{ plan.to.version }}{{ labels.app }}{% for a in alerts %}{{ a }}{% endfor %}", &ROOTS).unwrap();
        let variables: Vec<&str> = template.variables().iter().map(String::as_str).collect();
        assert_eq!(variables, ["alerts", "labels.app", "plan.to.version"]);
        assert_eq!(template.source().len(), 77);
    }

    #[test]
    fn deep_sources_do_not_overflow_the_stack() {
        for (open, repeated, close) in [
            ("{{ labels", ".b", " }}"),
            ("{{ labels", "[0]", " }}"),
            ("{{ 1", "+1", " }}"),
            ("{{ ", "(", " }}"),
            ("{{ ", "-", "1 }}"),
            ("{{ ", "not ", "1 }}"),
            ("{{ 1", "|int", " }}"),
            ("{{ 1", "~1", " }}"),
            ("{{ 1", " if 1 else 1", " }}"),
            ("", "{% if 1 %}", ""),
            ("", "{% for a in labels %}", ""),
            ("{% if 1 %}", "{% elif 1 %}", "{% endif %}"),
        ] {
            for count in [100, 250, 500, 1000] {
                let source = format!("{open}{}{close}", repeated.repeat(count));
                if let Ok(template) = Template::parse(&source, &ROOTS) {
                    let _ = template.render(&scope());
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(source in "\\PC{0,16}|[{}%#*'\"a |.\\[\\]-]{0,24}") {
            if let Err(problem) = Template::parse(&source, &ROOTS) {
                proptest::prop_assert!(source.get(problem.at.clone()).is_some(), "{:?} {:?}", source, problem);
            }
        }
    }

    #[test]
    fn only_texts_are_escaped_for_a_markup() {
        let scope = json!({"a": {"text": "x&y", "number": 2.5, "truth": true, "nothing": null}});
        let template = |source: &str| Template::parse(source, &["a"]).unwrap();
        let escaped = |source: &str| template(source).render_escaped(&scope, |text| format!("<{text}>"));
        assert_eq!(escaped("&{{ a.text }}&").as_deref(), Ok("&<x&y>&"));
        for source in ["{{ a.number }}", "{{ a.truth }}", "{{ a.nothing }}", "as & it is"] {
            assert_eq!(escaped(source), template(source).render(&scope), "{source}");
        }
        assert_eq!(escaped("{{ a.nope }}").unwrap_err().message, "`a.nope` is not defined");
    }

    #[test]
    fn says_how_to_write_what_may_be_missing() {
        let problem = render("{{ labels.nope }}").unwrap_err();
        assert_eq!(problem.help.as_deref(), Some("add `| default('…')` where it may be missing"));
        assert_eq!(render("{{ labels.app | duration }}").unwrap_err().help, None);
    }

    #[test]
    fn comments_are_not_looked_into() {
        for (source, wanted) in [("{# {{ 2 * 3 }} #}x", "x"), ("{# {% set x = 1 %} #}x", "x"), ("{# {{#}x", "x")] {
            assert_eq!(render(source).as_deref(), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn every_block_is_looked_into() {
        for (source, at, says) in [
            ("{#  #}{{ 2 * 3 }}", 11..12, "`*` is not available"),
            ("{{ labels.app }}{{ 2 * 3 }}", 21..22, "`*` is not available"),
            ("{{ {%}}", 0..7, "not a template"),
            ("{{ labels.x }}{{ x }}", 17..18, "unknown variable `x`"),
            ("{{ labels.ax }}{{ labels.a_x }}{{ x }}", 34..35, "unknown variable `x`"),
            ("{{ labels.x_a }}{{ labels.xa }}{{ x }}", 34..35, "unknown variable `x`"),
        ] {
            let problem = Template::parse(source, &ROOTS).expect_err(source);
            assert!(problem.to_string().contains(says), "{source}: {problem}");
            if says != "not a template" {
                assert_eq!(problem.at, at, "{source}: {problem}");
            }
        }
        let problem = Template::parse("{{ x }}", &[]).unwrap_err();
        assert_eq!(problem.help.as_deref(), Some("no variables are known here"));
    }

    #[test]
    fn what_is_exactly_at_a_limit_is_allowed() {
        assert!(Template::parse(&"x".repeat(MAX_SOURCE_BYTES), &ROOTS).is_ok());
        assert!(Template::parse(&"x".repeat(MAX_SOURCE_BYTES + 1), &ROOTS).is_err());

        let statements = |pairs: usize| format!("ab{}", "{% if 1 %}{% endif %}".repeat(pairs));
        assert!(Template::parse(&statements(MAX_STATEMENTS / 2), &ROOTS).is_ok());
        let problem = Template::parse(&statements(MAX_STATEMENTS / 2 + 1), &ROOTS).unwrap_err();
        assert_eq!(problem.message, "too many `{% … %}` in a template");
        assert_eq!(problem.at, 674..676, "the first one that is too many");

        let block = |bytes: usize| format!("ab{{{{ '{}' }}}}", "x".repeat(bytes - "{{ ''".len()));
        assert_eq!(render(&block(MAX_BLOCK_BYTES)).map(|text| text.len()), Ok(MAX_BLOCK_BYTES - 3));
        let problem = Template::parse(&block(MAX_BLOCK_BYTES + 1), &ROOTS).unwrap_err();
        assert_eq!(problem.message, "a block of a template is too long or not closed");
        assert_eq!(problem.at, 2..2 + MAX_BLOCK_BYTES + 1);

        let half = json!({"facts": "x".repeat(MAX_OUTPUT_BYTES / 2)});
        let rendered = |source: &str| Template::parse(source, &ROOTS).unwrap().render(&half);
        assert_eq!(rendered("{{ facts }}{{ facts }}").map(|text| text.len()), Ok(MAX_OUTPUT_BYTES));
        assert_eq!(rendered("{{ facts }}{{ facts }}.").unwrap_err().message, "the rendered text is too long");
    }
}
