//! Tables: each row is a rule whose conditions are its cells, so that one engine decides both.

use super::super::diagnostic::Raised;
use super::super::expr::{Env, Expr, Kind};
use super::super::source::At;
use super::super::syntax::{self, Cell, Then};
use super::super::types::{Condition, Rule};
use super::super::yaml::Field;
use super::Lower;
use super::matrix::{self, Test};
use super::rule::{Says, Uses};
use crate::model::Mode;

/// A column: what it says and the CEL value that it is about.
struct Column {
    title: String,
    source: String,
    kind: Kind,
}

/// A row that was read.
struct Row<'r> {
    at: At,
    tests: Vec<Test>,
    conditions: Vec<Expr>,
    then: Option<&'r Then>,
}

impl Lower<'_> {
    /// The rules of a table, in order. `has_end`: a rule behind it holds always.
    pub(super) fn table(
        &self,
        rule: &syntax::Rule,
        at: At,
        (name, has_end): (String, bool),
        policy_mode: Mode,
        env: &Env,
        uses: &mut Uses,
    ) -> Vec<Rule> {
        self.beside_table(rule);
        let matchers = self.matchers(&rule.matchers);
        let around = match self.rule_condition(rule, env) {
            Some(Condition::When(expr)) => vec![expr],
            Some(Condition::All(all)) => all,
            Some(Condition::Any(_)) => {
                let at = rule.any.at().unwrap_or(at);
                let raised = Raised::error("conflicting-keys", at, "`any` beside `table`");
                self.raise(raised.help("write one `when` with `||`: it holds for every row"));
                Vec::new()
            }
            None => Vec::new(),
        };
        let Some((table, table_at)) = rule.table.placed() else { return Vec::new() };
        let Some(columns) = self.columns(table, table_at, env) else { return Vec::new() };
        let rows = self.rows(table, table_at, &columns, env);
        self.look(&name, table_at, &columns, &rows, has_end || !matchers.is_empty() || !around.is_empty());
        let mut rules = Vec::new();
        for (number, row) in rows.into_iter().enumerate() {
            let Some(then) = row.then else { continue };
            let conditions: Vec<Expr> = around.iter().cloned().chain(row.conditions).collect();
            let condition = (!conditions.is_empty()).then_some(Condition::All(conditions));
            let name = format!("{name} row {}", number + 1);
            let Then { rollback, page, fix_forward, mode, first, tell } = then;
            let says = Says {
                rollback,
                page,
                fix_forward,
                mode: if mode.is_missing() { &rule.mode } else { mode },
                first: if first.is_missing() { &rule.first } else { first },
                tell: if tell.is_missing() { &rule.tell } else { tell },
            };
            rules.extend(self.outcome(says, row.at, (name, matchers.clone(), condition), policy_mode, uses));
        }
        rules
    }

    /// What a rule with a table does not say itself.
    fn beside_table(&self, rule: &syntax::Rule) {
        for (key, at) in [("rollback", rule.rollback.at()), ("page", rule.page.at()), ("fix_forward", rule.fix_forward.at())] {
            if let Some(at) = at {
                let raised = Raised::error("conflicting-keys", at, format!("`{key}` beside `table`"));
                self.raise(raised.help("each row says at its end what to do"));
            }
        }
    }

    fn columns(&self, table: &syntax::Table, at: At, env: &Env) -> Option<Vec<Column>> {
        let written = table.columns.get().map_or(&[][..], Vec::as_slice);
        if written.is_empty() && !matches!(table.columns, Field::Bad) {
            let raised =
                Raised::error("no-columns", table.columns.at().unwrap_or(at), "this table has no columns").missing_in(at);
            self.raise(raised.expected("at least one, such as `label severity` or `facts.users`"));
        }
        let columns: Vec<Column> =
            written.iter().filter_map(Field::placed).filter_map(|(text, at)| self.column(text, at, env)).collect();
        (columns.len() == written.len() && !columns.is_empty()).then_some(columns)
    }

    fn column(&self, text: &str, at: At, env: &Env) -> Option<Column> {
        let title = text.trim().to_owned();
        for (word, root) in [("label ", "labels"), ("annotation ", "annotations")] {
            if let Some(name) = title.strip_prefix(word) {
                let name = name.trim();
                return Some(Column {
                    title: name.to_owned(),
                    source: format!("{root}[{}]", serde_json::Value::from(name)),
                    kind: Kind::Text,
                });
            }
        }
        let kind = self.value(&syntax::CelText(text.to_owned()), at, env)?;
        if kind == Kind::Other {
            let raised = Raised::error("bad-column", at, format!("`{title}` is nothing that cells can be compared with"));
            self.raise(
                raised.expected("`label NAME`, `annotation NAME`, or a number, duration, text or truth such as `facts.users`"),
            );
            return None;
        }
        let source = if title.contains(' ') { format!("({title})") } else { title.clone() };
        Some(Column { title, source, kind })
    }

    fn rows<'t>(&self, table: &'t syntax::Table, at: At, columns: &[Column], env: &Env) -> Vec<Row<'t>> {
        let written = table.rows.get().map_or(&[][..], Vec::as_slice);
        if written.is_empty() && !matches!(table.rows, Field::Bad) {
            let raised = Raised::error("no-rows", table.rows.at().unwrap_or(at), "this table has no rows").missing_in(at);
            self.raise(raised.expected("at least one, such as `[critical, '> 0.5', {rollback: undo}]`"));
        }
        written.iter().filter_map(Field::placed).map(|(cells, at)| self.row(cells, at, columns, env)).collect()
    }

    fn row<'t>(&self, written: &'t [Field<Cell>], at: At, columns: &[Column], env: &Env) -> Row<'t> {
        let mut row = Row { at, tests: Vec::new(), conditions: Vec::new(), then: None };
        let (then, cells) = match written.split_last() {
            Some((Field::Is(Cell::Then(then), _), cells)) => (Some(&**then), cells),
            _ => {
                let raised = Raised::error("no-verdict", at, "this row does not say what to do");
                self.raise(raised.expected("at its end one of `{rollback: …}`, `{page: …}`, `{fix_forward: …}`"));
                (None, written)
            }
        };
        row.then = then;
        if then.is_some() && cells.len() != columns.len() {
            let message = format!("this row has {} cells, the table has {} columns", cells.len(), columns.len());
            self.raise(Raised::error("wrong-row", at, message).help("`any` stands for every value"));
        }
        for (cell, column) in cells.iter().zip(columns) {
            let Some((cell, at)) = cell.placed() else { continue };
            let Cell::Value(text) = cell else {
                let raised = Raised::error("wrong-row", at, "what to do stands in the middle of a row");
                self.raise(raised.help("let it be the last of the row"));
                continue;
            };
            match Test::read(text, column.kind) {
                Err(problem) => self.problem("bad-cell", at, text, problem),
                Ok(test) => {
                    let source = test.condition(&column.source, column.kind);
                    match source.map(|source| Expr::compile(&source, env)) {
                        Some(Ok(expr)) => row.conditions.push(expr),
                        Some(Err(problems)) => {
                            if let Some(problem) = problems.first() {
                                let message = format!("`{text}` is no cell of `{}`: {}", column.title, problem.message);
                                self.raise(Raised::error("bad-cell", at, message).maybe_help(problem.help.clone()));
                            }
                        }
                        None => {}
                    }
                    row.tests.push(test);
                }
            }
        }
        row
    }

    /// Says which cells no row names and which rows overlap.
    fn look(&self, name: &str, at: At, columns: &[Column], rows: &[Row<'_>], has_more: bool) {
        if rows.is_empty() || rows.iter().any(|row| row.tests.len() != columns.len()) {
            return;
        }
        let titles: Vec<(&str, Kind)> = columns.iter().map(|column| (column.title.as_str(), column.kind)).collect();
        let tests: Vec<Vec<Test>> = rows.iter().map(|row| row.tests.clone()).collect();
        let found = matrix::look(&titles, &tests);
        if found.is_too_large {
            let raised = Raised::note("table-too-large", at, format!("the table of `{name}` has too many cells to look at each"));
            self.raise(raised.help("split it, so that `check` can say which cells no row names"));
            return;
        }
        let place = |row: usize| rows.get(row).map_or(at, |row| row.at);
        for row in &found.never {
            let raised = Raised::error("unreachable-rule", place(*row), format!("row {} is never reached", row + 1));
            self.raise(raised.help("what it names is never, or the rows above it take it all: move it up, or remove it"));
        }
        for (first, second, words) in &found.overlaps {
            let message = format!("row {} overlaps row {}, which wins: {words}", second + 1, first + 1);
            self.raise(Raised::note("table-overlap", place(*second), message));
        }
        if found.gap_count > 0 {
            let more = found.gap_count - found.gaps.len();
            let more = if more == 0 { String::new() } else { format!("; and {more} more cells") };
            let message = format!("no row of `{name}` names: {}{more}", found.gaps.join("; "));
            if has_more {
                self.raise(Raised::note("table-gap", at, message).help("the rules behind the table decide there"));
            } else {
                let help = "add rows, or a last one of `any`; the rules behind the table decide there, and none true pages";
                self.raise(Raised::warning("table-gap", at, message).help(help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;

    #[test]
    fn a_hole_matters_only_where_the_table_decides_everything() {
        let table = "table: {columns: [label severity], rows: [[critical, {page: {}}]]}";
        for (rules, severity) in [
            (format!("{{{table}}}"), "warning"),
            (format!("{{matchers: [a=b], {table}}}"), "note"),
            (format!("{{when: 'change.barrier', {table}}}"), "note"),
            (format!("{{{table}}}, {{page: {{}}}}"), "note"),
        ] {
            let said = said(&format!("policies: [{{name: a, decide: [{rules}]}}]\n"));
            let gap = said.iter().find(|said| said.contains("no row of")).unwrap_or_else(|| panic!("{rules}: {said:?}"));
            assert!(gap.starts_with(&format!("{severity}: no row of ")), "{rules}: {gap}");
        }
    }
}
