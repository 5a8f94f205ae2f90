//! Steps: each is one of the language's, with keys that make sense together. What they come to is text by key, so that a plan can
//! list every one of them.

use super::super::diagnostic::Raised;
use super::super::duration;
use super::super::expr::Env;
use super::super::source::{At, Style};
use super::super::syntax::{CelText, DurationText, Expected, Free, ScalarText, Step as Written, TemplateText, step as steps};
use super::super::template::Template;
use super::super::types::Step;
use super::super::yaml::{Entries, Field, Listed, Word};
use super::Lower;
use super::text::Zero;
use super::verify::has_literal_host;
use crate::model::StepKind;

/// What templates of steps may name.
const PATHS: [&str; 18] = [
    "target.kind",
    "target.namespace",
    "target.name",
    "target.cluster",
    "incident.id",
    "labels.",
    "annotations.",
    "alert.name",
    "plan.to.image",
    "plan.to.images",
    "plan.to.revision",
    "plan.to.version",
    "plan.from.image",
    "plan.from.images",
    "plan.from.revision",
    "plan.from.version",
    "plan.procedure",
    "plan.policy",
];

type Steps = Field<Vec<Field<Word<Written>>>>;

impl Lower<'_> {
    /// The steps of a list, with their places.
    pub(super) fn step_list(&self, field: &Steps, env: &Env) -> Vec<(Step, At)> {
        let written = field.get().map_or(&[][..], Vec::as_slice);
        let steps = written.iter().filter_map(Field::placed);
        steps.filter_map(|(Word(step), at)| Some((self.step(step, at, env)?, at))).collect()
    }

    fn step(&self, step: &Written, at: At, env: &Env) -> Option<Step> {
        let given = kinds(step);
        let mut given = given.iter().filter(|(_, is_given)| *is_given).map(|(kind, _)| *kind);
        let Some(kind) = given.next() else {
            let raised = Raised::error("no-step", at, "this step does nothing").missing_in(at);
            self.raise(raised.expected("one step, such as `undo`").help("write `steps: [undo]`"));
            return None;
        };
        if let Some(second) = given.next() {
            let message = format!("this step says `{}` and `{}`", kind.as_str(), second.as_str());
            self.raise(Raised::error("conflicting-keys", at, message).help("make two steps of it"));
        }
        let mut keys = Keys { lower: self, env, list: Vec::new() };
        let when = keys.step(step, at);
        let list = keys.list;
        if kind != StepKind::Undo {
            self.later_at("step", kind.as_str(), at);
        }
        let when = when.placed().and_then(|(text, at)| self.condition(text, at, env));
        Some(Step { kind, keys: list, when })
    }

    /// `cronjob/NAME` or `job/NAME`.
    pub(super) fn jobs(&self, field: &Field<Listed<Field<String>>>) {
        for (name, at) in field.get().into_iter().flat_map(|Listed(items)| items).filter_map(Field::placed) {
            self.job_name(name, at);
        }
    }

    fn job_name(&self, name: &str, at: At) {
        let is_job = ["cronjob/", "job/"].iter().any(|kind| name.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
        if !is_job {
            let raised = Raised::error("bad-name", at, format!("`{name}` names no Job"));
            self.raise(raised.expected("`cronjob/NAME` or `job/NAME`"));
        }
    }
}

/// Which of the language's steps this one is.
fn kinds(step: &Written) -> [(StepKind, bool); 15] {
    [
        (StepKind::Undo, !step.undo.is_missing()),
        (StepKind::Image, !step.image.is_missing()),
        (StepKind::Scale, !step.scale.is_missing()),
        (StepKind::Switch, !step.switch.is_missing()),
        (StepKind::Traffic, !step.traffic.is_missing()),
        (StepKind::Isolate, !step.isolate.is_missing()),
        (StepKind::Restart, !step.restart.is_missing()),
        (StepKind::Config, !step.config.is_missing()),
        (StepKind::Helm, !step.helm.is_missing()),
        (StepKind::Job, !step.job.is_missing()),
        (StepKind::Http, !step.http.is_missing()),
        (StepKind::Git, !step.git.is_missing()),
        (StepKind::Docker, !step.docker.is_missing()),
        (StepKind::Exec, !step.exec.is_missing()),
        (StepKind::Wait, !step.wait.is_missing()),
    ]
}

/// The keys of one step in the making.
struct Keys<'l> {
    lower: &'l Lower<'l>,
    env: &'l Env,
    list: Vec<(String, Template)>,
}

impl Keys<'_> {
    /// Reads whichever step is there; gives its condition.
    fn step(&mut self, step: &Written, at: At) -> Field<CelText> {
        if let Some(undo) = step.undo.get() {
            return self.undo(undo, at);
        }
        if let Some(image) = step.image.get() {
            self.workload(&image.workload);
            self.text("container", &image.container);
            self.template("image", &image.image);
            return image.when.clone();
        }
        if let Some(scale) = step.scale.get() {
            return self.scale(scale, at);
        }
        if let Some(switch) = step.switch.get() {
            self.template("service", &switch.service);
            self.text("key", &switch.key);
            self.template("to", &switch.to);
            return switch.when.clone();
        }
        if let Some(traffic) = step.traffic.get() {
            return self.traffic(traffic, at);
        }
        if let Some(isolate) = step.isolate.get() {
            self.template("service", &isolate.service);
            self.word("traffic", isolate.traffic.get().map(|cut| if *cut == steps::Cut::None { "none" } else { "restore" }));
            return isolate.when.clone();
        }
        if let Some(restart) = step.restart.get() {
            self.workload(&restart.workload);
            return restart.when.clone();
        }
        if let Some(config) = step.config.get() {
            return self.config(config, at);
        }
        if let Some(helm) = step.helm.get() {
            self.template("release", &helm.release);
            self.one_of(at, &[("to", !helm.to.is_missing()), ("revision", !helm.revision.is_missing())], false);
            self.word("to", helm.to.get().map(|_| "last_good"));
            self.number("revision", &helm.revision);
            return helm.when.clone();
        }
        self.step_outside(step, at)
    }

    fn step_outside(&mut self, step: &Written, at: At) -> Field<CelText> {
        if let Some(job) = step.job.get() {
            return self.job(job, at);
        }
        if let Some(http) = step.http.get() {
            return self.http(http, at);
        }
        if let Some(git) = step.git.get() {
            return self.git(git, at);
        }
        if let Some(docker) = step.docker.get() {
            self.one_of(at, &[("to", !docker.to.is_missing()), ("image", !docker.image.is_missing())], false);
            self.word("to", docker.to.get().map(|_| "last_good"));
            self.template("image", &docker.image);
            return docker.when.clone();
        }
        if let Some(exec) = step.exec.get() {
            self.required("program", exec.program.is_missing(), at, "the path of a program");
            self.text("program", &exec.program);
            self.templates("args", &exec.args);
            self.duration("within", &exec.within);
            return exec.when.clone();
        }
        match step.wait.get() {
            Some(wait) => self.wait(wait, at),
            None => Field::Missing,
        }
    }

    fn undo(&mut self, undo: &steps::Undo, at: At) -> Field<CelText> {
        for (name, place) in [
            ("workload", undo.workload.at()),
            ("revision", undo.revision.at()),
            ("image", undo.image.at()),
            ("through", undo.through.at()),
        ] {
            if let Some(place) = place {
                self.lower.later_at("step `undo`", name, place);
            }
        }
        let ways =
            [("to", !undo.to.is_missing()), ("revision", !undo.revision.is_missing()), ("image", !undo.image.is_missing())];
        self.one_of(at, &ways, false);
        self.workload(&undo.workload);
        self.number("revision", &undo.revision);
        self.template("image", &undo.image);
        self.word("through", undo.through.get().map(|_| "owner"));
        undo.when.clone()
    }

    fn scale(&mut self, scale: &steps::Scale, at: At) -> Field<CelText> {
        self.workload(&scale.workload);
        self.required("replicas", scale.replicas.is_missing(), at, "a number, or `restore`");
        if let Some((ScalarText(text), at)) = scale.replicas.placed() {
            if text != "restore" && text.parse::<u16>().is_err() {
                let raised = Raised::error("impossible-number", at, format!("`{text}` pods cannot be asked for"));
                self.lower.raise(raised.expected("a whole number, or `restore`"));
            }
            self.list.push(("replicas".to_owned(), Template::literal(text)));
        }
        self.word("ready", scale.ready.get().map(|ready| if *ready { "true" } else { "false" }));
        scale.when.clone()
    }

    fn traffic(&mut self, traffic: &steps::Traffic, at: At) -> Field<CelText> {
        self.required("route", traffic.route.is_missing(), at, "the name of an `HTTPRoute`");
        self.required("to", traffic.to.is_missing(), at, "the name of a backend");
        self.template("route", &traffic.route);
        self.template("to", &traffic.to);
        if let Some((weights, _)) = traffic.through.placed() {
            let mut last = 0;
            for (weight, at) in weights.iter().filter_map(Field::placed) {
                if !(1..=100).contains(weight) || *weight <= last {
                    let raised = Raised::error("impossible-number", at, format!("`{weight}` percent after {last}"));
                    self.lower.raise(raised.expected("numbers from 1 to 100 that grow"));
                }
                last = *weight;
            }
            let shown: Vec<String> = weights.iter().filter_map(|weight| weight.get().map(u16::to_string)).collect();
            self.list.push(("through".to_owned(), Template::literal(&shown.join(", "))));
        }
        self.duration("every", &traffic.every);
        self.condition("while", &traffic.r#while);
        traffic.when.clone()
    }

    fn config(&mut self, config: &steps::Config, at: At) -> Field<CelText> {
        let ways = [
            ("configmap", !config.configmap.is_missing()),
            ("secret", !config.secret.is_missing()),
            ("used_by", !config.used_by.is_missing()),
        ];
        self.one_of(at, &ways, true);
        self.template("configmap", &config.configmap);
        self.template("secret", &config.secret);
        self.word("used_by", config.used_by.get().map(|_| "target"));
        self.word("to", config.to.get().map(|_| "last_good"));
        config.when.clone()
    }

    fn job(&mut self, job: &steps::Job, at: At) -> Field<CelText> {
        self.required("from", job.from.is_missing(), at, "`cronjob/NAME` or `job/NAME`");
        if let Some((TemplateText(text), at)) = job.from.placed() {
            self.lower.job_name(text, at);
        }
        self.template("from", &job.from);
        self.word(
            "image",
            job.image.get().map(|image| match image {
                steps::JobImage::Own => "own",
                steps::JobImage::Leaving => "leaving",
                steps::JobImage::Target => "target",
            }),
        );
        self.templates("args", &job.args);
        for (name, value) in job.env.get().into_iter().flat_map(|Entries(entries)| entries) {
            if let Some(name) = name.get() {
                self.template(&format!("env {name}"), value);
            }
        }
        self.duration("within", &job.within);
        job.when.clone()
    }

    fn http(&mut self, http: &steps::Http, at: At) -> Field<CelText> {
        let methods =
            [("get", &http.get), ("post", &http.post), ("put", &http.put), ("patch", &http.patch), ("delete", &http.delete)];
        self.one_of(at, &methods.map(|(name, field)| (name, !field.is_missing())), true);
        for (name, field) in methods {
            if let Some((TemplateText(text), at)) = field.placed()
                && !has_literal_host(text)
            {
                let raised = Raised::error("bad-url", at, "scheme and host of an address must be written out");
                self.lower.raise(raised.expected("an address such as `https://flags.example/api`"));
            }
            self.template(name, field);
        }
        self.free("json", &http.json);
        for (name, file) in http.header_files.get().into_iter().flat_map(|Entries(entries)| entries) {
            if let (Some(name), Some(file)) = (name.get(), file.get()) {
                self.list.push((format!("header {name}"), Template::literal(&format!("(from `{file}`)"))));
            }
        }
        match http.expect.placed() {
            Some((Expected::Status(text), at)) => {
                if text != "2xx" && !text.parse::<u16>().is_ok_and(|status| (100..=599).contains(&status)) {
                    let raised = Raised::error("impossible-number", at, format!("`{text}` is no HTTP status"));
                    self.lower.raise(raised.expected("`2xx`, or a number from 100 to 599"));
                }
                self.list.push(("expect".to_owned(), Template::literal(text)));
            }
            Some((Expected::Answer(expect), _)) => self.lower.expect(expect),
            None => {}
        }
        http.when.clone()
    }

    fn git(&mut self, git: &steps::Git, at: At) -> Field<CelText> {
        self.one_of(at, &[("revert", !git.revert.is_missing()), ("pin", !git.pin.is_missing())], true);
        self.required("repo", git.repo.is_missing(), at, "the address of a repository");
        self.template("repo", &git.repo);
        self.template("path", &git.path);
        self.word("revert", git.revert.get().map(|_| "change"));
        self.template("pin", &git.pin);
        let form = |form: &steps::GitAs| if *form == steps::GitAs::Commit { "commit" } else { "pull_request" };
        self.word("as", git.r#as.get().map(form));
        git.when.clone()
    }

    fn wait(&mut self, wait: &steps::Wait, at: At) -> Field<CelText> {
        let ways = [("for", !wait.r#for.is_missing()), ("time", !wait.time.is_missing()), ("person", !wait.person.is_missing())];
        self.one_of(at, &ways, true);
        self.condition("for", &wait.r#for);
        self.duration("time", &wait.time);
        let people = self.lower.channels(&wait.person);
        if !people.is_empty() {
            self.list.push(("person".to_owned(), Template::literal(&people.join(", "))));
        }
        self.duration("within", &wait.within);
        wait.when.clone()
    }
}

/// One key each.
impl Keys<'_> {
    fn required(&self, key: &str, is_missing: bool, at: At, expected: &str) {
        if is_missing {
            let raised = Raised::error("missing-key", at, format!("`{key}` is missing")).missing_in(at);
            self.lower.raise(raised.expected(expected));
        }
    }

    /// At most one of these keys, or exactly one.
    fn one_of(&self, at: At, keys: &[(&str, bool)], is_required: bool) {
        let names: Vec<String> = keys.iter().map(|(name, _)| format!("`{name}`")).collect();
        let expected = format!("one of {}", names.join(", "));
        let given: Vec<&str> = keys.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        match given.as_slice() {
            [] if is_required => {
                let raised = Raised::error("missing-key", at, "this step does not say what").missing_in(at);
                self.lower.raise(raised.expected(expected));
            }
            [first, second, ..] => {
                let message = format!("`{second}` beside `{first}`");
                self.lower.raise(Raised::error("conflicting-keys", at, message).expected(expected));
            }
            _ => {}
        }
    }

    fn template(&mut self, key: &str, field: &Field<TemplateText>) {
        let Some((text, at)) = field.placed() else { return };
        if let Some(template) = self.lower.template(text, at, &PATHS) {
            self.list.push((key.to_owned(), template));
        }
    }

    /// `KIND/NAME`, or `NAMESPACE/KIND/NAME`.
    fn workload(&mut self, field: &Field<TemplateText>) {
        const KINDS: [&str; 4] = ["deployment", "statefulset", "daemonset", "rollout"];
        if let Some((TemplateText(text), at)) = field.placed() {
            let parts: Vec<&str> = text.split('/').collect();
            let is_side = matches!(parts.as_slice(), ["live" | "standby"]);
            let is_named = matches!(parts.as_slice(), [kind, name] | [_, kind, name] if KINDS.contains(kind) && !name.is_empty());
            if !is_side && !is_named {
                let raised = Raised::error("bad-name", at, format!("`{text}` names no workload"));
                self.lower.raise(
                    raised
                        .expected("`KIND/NAME` or `NAMESPACE/KIND/NAME`, such as `deployment/checkout`; `live` or `standby`")
                        .help(format!("the kinds are {}", KINDS.join(", "))),
                );
            }
        }
        self.template("workload", field);
    }

    fn templates(&mut self, key: &str, field: &Field<Listed<Field<TemplateText>>>) {
        for (place, item) in field.get().into_iter().flat_map(|Listed(items)| items).enumerate() {
            self.template(&format!("{key} {place:02}"), item);
        }
    }

    fn text(&mut self, key: &str, field: &Field<String>) {
        self.word(key, field.get().map(String::as_str));
    }

    fn word(&mut self, key: &str, word: Option<&str>) {
        self.list.extend(word.map(|word| (key.to_owned(), Template::literal(word))));
    }

    fn number(&mut self, key: &str, field: &Field<u32>) {
        if let Some((number, at)) = field.placed() {
            if *number == 0 {
                let raised = Raised::error("impossible-number", at, format!("`{key}` is 0"));
                self.lower.raise(raised.expected("a whole number, 1 or more"));
            }
            self.list.push((key.to_owned(), Template::literal(&number.to_string())));
        }
    }

    fn duration(&mut self, key: &str, field: &Field<DurationText>) {
        if let Some(time) = self.lower.duration(field, Zero::Refused("write for example `10m`")) {
            self.list.push((key.to_owned(), Template::literal(&duration::format(time))));
        }
    }

    fn condition(&mut self, key: &str, field: &Field<CelText>) {
        let Some((text, at)) = field.placed() else { return };
        if let Some(expr) = self.lower.condition(text, at, self.env) {
            self.list.push((key.to_owned(), Template::literal(expr.source())));
        }
    }

    /// A value of any shape as one line of JSON, in which the templates of its texts stay.
    fn free(&mut self, key: &str, field: &Field<Free>) {
        let Some((_, at)) = field.placed() else { return };
        let text = json(field).to_string();
        if let Some(template) = self.lower.template(&TemplateText(text), at, &PATHS) {
            self.list.push((key.to_owned(), template));
        }
    }
}

/// As JSON: what is written without quotes may be a number or a truth.
fn json(field: &Field<Free>) -> serde_json::Value {
    let Some((value, at)) = field.placed() else { return serde_json::Value::Null };
    match value {
        Free::Null => serde_json::Value::Null,
        Free::Scalar(text) => {
            let plain = (at.style == Style::Plain).then(|| serde_json::from_str(text).ok()).flatten();
            plain
                .filter(|value: &serde_json::Value| value.is_number() || value.is_boolean())
                .unwrap_or_else(|| text.clone().into())
        }
        Free::List(items) => items.iter().map(json).collect(),
        Free::Map(entries) => entries.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::loaded;

    fn keys(step: &str) -> String {
        let text = format!(
            "policies: [{{name: a, decide: [{{rollback: p}}]}}]\nprocedures: [{{name: p, steps: [{step}], on_failure: [{{scale: {{replicas: restore}}}}]}}]\n"
        );
        let all = loaded(&text).policies;
        let [step] = all.procedures["p"].steps.as_slice() else { panic!("one step") };
        step.keys.iter().map(|(key, text)| format!("{key}={}", text.source())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_plan_can_list_every_key_of_a_step() {
        for (step, wanted) in [
            ("{undo: {to: last_good}}", ""),
            ("{undo: {revision: 7}}", "revision=7"),
            ("{undo: {image: 'web:1'}}", "image=web:1"),
            ("{image: {container: web, image: 'web:1'}}", "container=web image=web:1"),
            ("{switch: {service: web, key: color, to: standby}}", "service=web key=color to=standby"),
            ("{isolate: {service: web, traffic: none}}", "service=web traffic=none"),
            ("{isolate: {traffic: restore}}", "traffic=restore"),
            ("{docker: {to: last_good}}", "to=last_good"),
            ("{docker: {image: 'web:1'}}", "image=web:1"),
            ("{git: {repo: shop, revert: change, as: commit}}", "repo=shop revert=change as=commit"),
            ("{git: {repo: shop, pin: 'web:1', as: pull_request}}", "repo=shop pin=web:1 as=pull_request"),
            ("{exec: {program: /bin/back, args: [a, b], within: 5m}}", "program=/bin/back args 00=a args 01=b within=5m"),
            ("{wait: {time: 90s}}", "time=1m30s"),
            ("{wait: {person: [lead, shop], within: 1h}}", "person=lead, shop within=1h"),
        ] {
            assert_eq!(keys(step), wanted, "{step}");
        }
    }
}
