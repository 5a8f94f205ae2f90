//! Alerts of a test and when they fire; what is down and when.

use std::collections::BTreeMap;

use super::super::diagnostic::Raised;
use super::super::expr::{Env, Expr, FactType, Known, Path, Scope};
use super::super::source::At;
use super::super::yaml::{Field, OneOrMany};
use super::lower::Lower;
use super::read::{did_you_mean, list};
use super::syntax;
use super::text::{SpanText, TextOr};
use super::types::{Alert, Deployment, Down, Part, Series, Window};
use crate::model::{Labels, TargetRef};

impl Lower<'_> {
    pub(super) fn alert(
        &self,
        alert: &syntax::Alert,
        at: At,
        facts: &BTreeMap<String, Series>,
        deployments: &[Deployment],
    ) -> Alert {
        self.required("labels", &alert.labels, at);
        self.required("firing", &alert.firing, at);
        let labels: Labels = self.map(&alert.labels).into_iter().collect();
        if !labels.contains_key("alertname") && alert.labels.get().is_some() {
            let raised = Raised::error("missing-key", alert.labels.at().unwrap_or(at), "the alert has no label `alertname`");
            self.raise(raised.help("every alert of Prometheus has one"));
        }
        let of = self.about(alert, &labels, deployments);
        let env = Env { facts: facts.keys().map(|name| (name.clone(), FactType::Number)).collect(), ..Env::default() };
        let spans = alert.firing.get().into_iter().flat_map(|OneOrMany(spans)| spans).filter_map(Field::placed);
        let windows: Vec<Window> = spans.filter_map(|(span, at)| self.window(span, at, &env)).collect();
        let reads_target = |window: &Window| window.condition.as_ref().is_some_and(|condition| !condition.facts().is_empty());
        let by_image = |name: &String| matches!(facts.get(name), Some(Series::ByImage(_)));
        let needs = windows.iter().any(|window| window.condition.iter().flat_map(|c| c.facts()).any(by_image));
        if needs && of.is_none() && windows.iter().any(reads_target) {
            let message = "which Deployment the facts in `while` are about cannot be told";
            self.raise(Raised::error("missing-key", at, message).help("say `of: namespace/name`"));
        }
        Alert {
            annotations: self.map(&alert.annotations).into_iter().collect(),
            hold: self.duration(&alert.hold),
            tail: self.duration(&alert.tail),
            labels,
            windows,
            of,
        }
    }

    /// The Deployment that is meant: named, or by the alert's labels, or the only one.
    fn about(&self, alert: &syntax::Alert, labels: &Labels, deployments: &[Deployment]) -> Option<TargetRef> {
        if let Some((text, at)) = alert.of.placed() {
            return self.deployment_named(text, at, deployments);
        }
        let label = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
        let named = deployments.iter().find(|d| d.at.namespace == label("namespace") && d.at.name == label("deployment"));
        match (named, deployments) {
            (Some(deployment), _) | (None, [deployment]) => Some(deployment.at.clone()),
            _ => None,
        }
    }

    fn window(&self, written: &TextOr<SpanText, syntax::Firing>, at: At, env: &Env) -> Option<Window> {
        match written {
            TextOr::Text(text) => {
                let (from, to) = self.span(text, at)?;
                Some(Window { from, to, every: None, condition: None })
            }
            TextOr::Other(firing) => {
                self.required("from", &firing.from, at);
                let (from, to) = (self.instant(&firing.from)?, self.instant(&firing.to));
                self.in_order(from, to, firing.to.at().unwrap_or(at));
                let every = match (self.duration(&firing.every), self.duration(&firing.lasting)) {
                    (Some(every), Some(lasting)) if lasting < every && !lasting.is_zero() => Some((every, lasting)),
                    (None, None) => None,
                    _ => {
                        let raised = Raised::error("contradiction", at, "`every` and `lasting` do not fit together");
                        self.raise(raised.expected("both of them, `lasting` shorter than `every`, and neither of them zero"));
                        None
                    }
                };
                let condition = firing.condition.placed().and_then(|(text, at)| self.condition(&text.0, at, env));
                Some(Window { from, to, every, condition })
            }
        }
    }

    fn condition(&self, text: &str, at: At, env: &Env) -> Option<Expr> {
        let expr = match Expr::compile(text, env) {
            Ok(expr) => expr,
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem("bad-condition", problem, at, text));
                return None;
            }
        };
        let can =
            |path: &&Path| matches!(path, Path::Fact(_) | Path::Label(_) | Path::Annotation(_) | Path::AlertName | Path::Now);
        if let Some(path) = expr.eval(&Nobody).read.keys().find(|path| !can(path)) {
            let raised = Raised::error("bad-condition", at, format!("`{path}` cannot be read in `while`"));
            self.raise(raised.expected("`facts`, `labels`, `annotations`, `alert.name` and `now`"));
            return None;
        }
        Some(expr)
    }

    pub(super) fn down(&self, field: &Field<Vec<Field<syntax::Down>>>) -> Vec<Down> {
        let mut made = Vec::new();
        for (line, at) in field.get().into_iter().flatten().filter_map(Field::placed) {
            self.required("what", &line.what, at);
            self.required("during", &line.during, at);
            let (Some((what, place)), Some((during, span_at))) = (line.what.placed(), line.during.placed()) else { continue };
            let part = match what.as_str() {
                "cluster" => Part::Cluster,
                "watch" => Part::Watch,
                "prometheus" => Part::Prometheus,
                "evaluation" => Part::Evaluation,
                "alertmanager" => Part::Alertmanager,
                "channels" => Part::Channel(None),
                "backout" => Part::Backout,
                other => match other.strip_prefix("channel ") {
                    Some(name) => Part::Channel(Some(name.trim().to_owned())),
                    None => {
                        let raised = Raised::error("unknown-value", place, format!("`{other}` cannot be down"));
                        let help = did_you_mean(other, PARTS);
                        self.raise(raised.expected(format!("one of {}, or `channel NAME`", list(&PARTS))).maybe_help(help));
                        continue;
                    }
                },
            };
            let Some((from, to)) = self.span(during, span_at) else { continue };
            made.push(Down { what: part, from, to });
        }
        made
    }
}

const PARTS: [&str; 7] = ["cluster", "watch", "prometheus", "evaluation", "alertmanager", "channels", "backout"];

/// Nobody answers: what an expression asks for is all that is to be learned.
struct Nobody;

impl Scope for Nobody {
    fn value(&self, _: &Path) -> Known {
        Err("nobody answers".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, world};

    #[test]
    fn an_alert_is_about_the_deployment_that_its_labels_name() {
        let several = [("shop", "web"), ("blog", "api"), ("shop", "api")];
        for (deployments, labels, wanted) in [
            (&several[..], "namespace: shop, deployment: api", Some(("shop", "api"))),
            (&several, "namespace: blog, deployment: api", Some(("blog", "api"))),
            (&several, "namespace: shop, deployment: cart", None),
            (&several, "deployment: api", None),
            (&several, "namespace: shop", None),
            (&several[..1], "namespace: blog", Some(("shop", "web"))),
        ] {
            let alert = format!("alerts: [{{labels: {{alertname: Down, {labels}}}, firing: 5m}}]");
            let of = read(&world(deployments, &alert)).tests.remove(0).alerts.remove(0).of;
            let named = of.as_ref().map(|of| (of.namespace.as_str(), of.name.as_str()));
            assert_eq!(named, wanted, "{labels} of {deployments:?}");
        }
    }
}
