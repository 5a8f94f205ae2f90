//! The binary as people and scripts use it: help, exit codes, what is printed where; against a real HTTP side whose engine gives
//! answers of the real shape.

#[path = "support/http.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex};

use backout::http::auth::{TokenFiles, Tokens};
use backout::http::{HttpSettings, Parts, Server};
use backout::metrics::Metrics;
use backout::model::{Operation, Order};
use backout::ports::{Control, ControlError, IncidentQuery, NoticeId, Question, Recall, Subscription};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use support::StoppedClock;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ID: &str = "i0123456789ab";
const HASH: &str = "0123456789abcdef";

/// Runs the binary with nothing of ours in its environment.
async fn backout(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BACKOUT_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("USER", "ada").output().await.expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// An engine that remembers what it was told, and answers as a real one.
#[derive(Default)]
struct Engine {
    told: Mutex<Vec<Operation>>,
    failure: Mutex<Option<ControlError>>,
}

impl Engine {
    fn answer(&self, value: Value) -> Result<Value, ControlError> {
        self.failure.lock().expect("failure").clone().map_or(Ok(value), Err)
    }
}

impl Control for Engine {
    fn query(&self, question: Question) -> BoxFuture<'_, Result<Value, ControlError>> {
        let value = match question {
            Question::Incidents(IncidentQuery { limit, .. }) => {
                let row = json!({
                    "id": ID, "state": "countdown", "lane": "live", "policy": "shop", "target": "deployment/shop/web",
                    "opened_at": "2026-03-01T11:59:00.000Z", "outcome": "rollback", "reason": "rule", "brake": null,
                    "summary": "rule `many-errors` says rollback: web:b -> web:a", "plan": HASH,
                    "until": "2026-03-01T12:00:30.000Z", "alerts": 1, "attempts": 0,
                });
                let mut held = row.clone();
                held["lane"] = json!("tried");
                held["policy"] = json!("tried");
                held["state"] = json!("paged");
                held["until"] = Value::Null;
                held["outcome"] = json!("page");
                held["reason"] = json!("brake_held");
                held["brake"] = json!("cooldown");
                held["target"] = json!("deployment/shop/\u{1b}[2Jweb");
                let rows: Vec<Value> = [row, held].into_iter().take(limit).collect();
                json!({ "incidents": rows, "total": 2 })
            }
            Question::Report { format: backout::ports::ReportFormat::Markdown, .. } => {
                json!("# Incident\n\nlog: \u{1b}[31mred\n")
            }
            Question::Report { format: backout::ports::ReportFormat::Html, .. } => {
                json!("<!doctype html>\n<p>\u{fffd}</p></html>\n")
            }
            Question::Report { .. } | Question::Incident(_) => json!({ "incident": { "id": ID }, "figures": {} }),
            Question::Pauses => {
                let until = support::now().millis() + 3_600_000;
                let pause = json!({
                    "id": 7, "scope": { "scope": "namespace", "name": "shop" }, "reason": "migration", "by": "ada",
                    "from": support::now().millis(), "until": until,
                });
                json!({ "pauses": [pause] })
            }
            Question::Latches => {
                let latch = json!({
                    "id": 3, "cause": "corruption", "because": "rule `data` says so", "target": "shop/web", "covers": ["shop/w*"],
                    "policy": "shop", "incident": ID, "from": "2026-03-01T11:00:00.000Z",
                });
                let mut over = latch.clone();
                over["id"] = json!(2);
                over["cleared"] = json!({ "at": "2026-03-01T10:00:00.000Z", "by": "ada", "reason": "nothing is missing" });
                json!({ "latches": [over, latch] })
            }
            Question::Recall(Recall::Bad(what)) => {
                let bad = json!({
                    "target": "deployment/shop/web", "release": format!("v1:{}", "b".repeat(64)), "images": ["shop:2"],
                    "at": support::now().millis(), "by": ID, "runs": false,
                });
                json!({ "what": what, "bad": if what == "shop:2" { vec![bad] } else { Vec::new() } })
            }
            Question::Recall(Recall::Revisions(target)) => {
                let row = json!({
                    "release": format!("v1:{}", "a".repeat(64)), "images": ["shop:1"], "runs": false,
                    "live_since": support::now().millis() - 3_600_000, "last_available": support::now().millis(),
                    "healthy_ms": 3_600_000, "watched": false, "by": "ci", "fit": false, "why": "available for 1h in all",
                });
                json!({ "target": target.to_string(), "policy": "shop", "revisions": [row], "now": support::now().to_string() })
            }
            Question::Changes(_) | Question::Policies | Question::Status | Question::Recall(_) => Value::Null,
        };
        Box::pin(std::future::ready(self.answer(value)))
    }

    fn operate(&self, Order { operation, .. }: Order) -> BoxFuture<'_, Result<Value, ControlError>> {
        let value = match &operation {
            Operation::Pause { .. } => json!({ "done": true, "pause": 7 }),
            Operation::Resume { .. } => json!({ "done": true }),
            _ => json!({ "done": true, "incident": ID, "state": "paged" }),
        };
        self.told.lock().expect("told").push(operation);
        Box::pin(std::future::ready(self.answer(value)))
    }

    fn watch(&self, _: Option<NoticeId>) -> Subscription {
        Subscription { gap: false, missed: Vec::new(), live: tokio::sync::broadcast::channel(1).1 }
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, ControlError>> {
        Box::pin(std::future::ready(Ok(String::new())))
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A service to ask, and its tokens.
struct Service {
    url: String,
    engine: Arc<Engine>,
    folder: tempfile::TempDir,
    _inbox: mpsc::Receiver<backout::ports::Received>,
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token = |scope: &str| {
            let path = folder.path().join(scope);
            fs::write(&path, format!("{scope}-token-0123456789\n")).expect("written");
            vec![path]
        };
        let files = TokenFiles { read: token("read"), operate: token("operate"), ..TokenFiles::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (inbox, _inbox) = mpsc::channel(1);
        let engine = Arc::new(Engine::default());
        let parts = Parts {
            store: Arc::new(support::FakeStore {
                rows: Mutex::default(),
                failure: Mutex::default(),
                gate: tokio::sync::Semaphore::new(1),
                begun: std::sync::atomic::AtomicU64::new(0),
            }),
            inbox,
            control: engine.clone(),
            metrics: Metrics::new().expect("metrics"),
            clock: Arc::new(StoppedClock),
            tokens: Arc::new(Tokens::load(files, true).expect("tokens")),
            settings: HttpSettings::default(),
            before_scrape: None,
            log_level: None,
        };
        tokio::spawn(Server::new(parts).run(listener, CancellationToken::new(), CancellationToken::new()));
        Self { url, engine, folder, _inbox }
    }

    /// A command with the token of a scope.
    async fn ask(&self, scope: &str, args: &[&str]) -> Output {
        let token = self.token(scope);
        let mut all = args.to_vec();
        all.extend(["--url", &self.url, "--token-file", token.to_str().expect("text")]);
        backout(&all).await
    }

    fn token(&self, scope: &str) -> PathBuf {
        self.folder.path().join(scope)
    }

    fn told(&self) -> Value {
        serde_json::to_value(self.engine.told.lock().expect("told").pop()).expect("an operation")
    }

    fn fail(&self, error: ControlError) {
        *self.engine.failure.lock().expect("failure") = Some(error);
    }
}

#[tokio::test]
async fn help_and_version_are_answers() {
    let help = backout(&["--help"]).await;
    assert_eq!((code(&help), err(&help)), (0, String::new()));
    for wanted in ["serve", "check", "explain", "incidents", "acknowledge", "Examples:", "Exit codes:", "70  a defect"] {
        assert!(out(&help).contains(wanted), "no {wanted:?} in\n{}", out(&help));
    }
    let version = backout(&["--version"]).await;
    assert_eq!((code(&version), out(&version)), (0, format!("backout {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(code(&backout(&["serve", "--help"]).await), 0);
}

#[tokio::test]
async fn a_wrong_command_line_is_2() {
    for args in [
        &[][..],
        &["rollback"],
        &["report", "0123456789ab"],
        &["veto", ID],
        &["approve", ID, "--plan", "abc"],
        &["approve", ID, "--plan", HASH, "--override", "coldown"],
        &["pause", "--scope", "namespace", "--reason", "x", "--for", "2h"],
        &["pause", "--scope", "global", "--name", "shop", "--reason", "x", "--for", "2h"],
        &["pause", "--scope", "global", "--reason", "x", "--for", "two hours"],
        &["incidents", "--limit", "0"],
        &["incidents", "--url", "ftp://backout"],
        &["incidents", "--token-file", "/nowhere/token"],
        &["explain"],
        &["explain", "--fingerprint", "0123456789abcdef"],
        &["explain", "--alert", "/nowhere/alert.json"],
        &["check", "--rules", "/nowhere"],
        &["serve", "--config", "/nowhere/backout.yaml"],
    ] {
        let output = backout(args).await;
        assert_eq!(code(&output), 2, "{args:?}: {}", err(&output));
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{args:?}");
    }
    let output = backout(&["approve", ID, "--plan", HASH, "--override", "coldown"]).await;
    assert!(err(&output).contains("cooldown"), "names the nearest brake: {}", err(&output));
}

#[tokio::test]
async fn lists_are_aligned_for_people_and_whole_for_scripts() {
    let service = Service::start().await;
    let list = service.ask("read", &["incidents"]).await;
    assert_eq!(code(&list), 0, "{}", err(&list));
    let lines: Vec<String> = out(&list).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let column = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("no {word} in {line}"));
    assert_eq!(column(&lines[0], "STATE"), column(&lines[1], "countdown until 2026-03-01T12:00:30.000Z"));
    assert_eq!(column(&lines[0], "STATE"), column(&lines[2], "paged"));
    assert!(lines[2].contains("tried (shadow)") && lines[2].contains("brake_held: cooldown"), "{}", lines[2]);
    assert!(!out(&list).contains('\u{1b}'), "no escape of anybody reaches a terminal");

    let some = service.ask("read", &["incidents", "--limit", "1"]).await;
    assert!(out(&some).contains("1 of 2"), "{}", out(&some));
    let json = service.ask("read", &["incidents", "--state", "all", "--output", "json"]).await;
    let json: Value = serde_json::from_slice(&json.stdout).expect("json");
    assert_eq!((&json["total"], &json["incidents"][0]["id"]), (&json!(2), &json!(ID)));

    let pauses = service.ask("read", &["pauses"]).await;
    assert!(out(&pauses).contains("7   namespace shop  2026-03-01T13:00:00.000Z  ada  migration"), "{}", out(&pauses));

    let latches = service.ask("read", &["latches"]).await;
    let row = format!("3   corruption  shop/web, shop/w*  2026-03-01T11:00:00.000Z  {ID}  no       rule `data` says so");
    assert!(out(&latches).contains(&row) && !out(&latches).contains("by ada"), "{}", out(&latches));
    let all = service.ask("read", &["latches", "--all"]).await;
    assert!(out(&all).contains("by ada: nothing is missing"), "{}", out(&all));
}

#[tokio::test]
async fn reports_are_for_people_or_for_scripts() {
    let service = Service::start().await;
    let markdown = service.ask("read", &["report", ID]).await;
    assert_eq!((code(&markdown), out(&markdown).as_str()), (0, "# Incident\n\nlog: \u{fffd}[31mred\n"));
    for args in [&["report", ID, "--format", "json"][..], &["report", ID, "--output", "json"]] {
        let json: Value = serde_json::from_slice(&service.ask("read", args).await.stdout).expect("json");
        assert_eq!(json["incident"]["id"], ID);
    }
    let page = service.ask("read", &["report", ID, "--format", "html"]).await;
    assert_eq!(code(&page), 0, "{}", err(&page));
    assert!(out(&page).starts_with("<!doctype html>") && out(&page).trim_end().ends_with("</html>"));
}

#[tokio::test]
async fn what_people_say_reaches_the_engine() {
    let service = Service::start().await;
    let veto = service.ask("operate", &["veto", ID, "--reason", "a fix is out"]).await;
    assert_eq!((code(&veto), out(&veto)), (0, format!("vetoed; incident {ID} is `paged` now\n")), "{}", err(&veto));
    assert_eq!(service.told(), json!({"operation": "veto", "incident": ID, "by": "ada", "reason": "a fix is out"}));

    let args = ["approve", ID, "--plan", HASH, "--override", "cooldown,budget", "--override", "flapping", "--by", "bob"];
    assert_eq!(code(&service.ask("operate", &args).await), 0);
    let overrides = ["cooldown", "budget", "flapping"];
    assert_eq!(
        service.told(),
        json!({"operation": "approve", "incident": ID, "plan": HASH, "by": "bob", "overrides": overrides})
    );

    let clear = service.ask("operate", &["clear", "3", "--reason", "nothing is missing"]).await;
    assert_eq!((code(&clear), out(&clear)), (0, "cleared; latch 3 holds nothing any more\n".to_owned()), "{}", err(&clear));
    assert_eq!(service.told(), json!({"operation": "clear", "latch": 3, "by": "ada", "reason": "nothing is missing"}));

    let mark = service.ask("operate", &["mark", ID, "wrong", "--reason", "it was the database"]).await;
    assert_eq!((code(&mark), out(&mark)), (0, format!("marked wrong; incident {ID} is `paged` now\n")), "{}", err(&mark));
    assert_eq!(
        service.told(),
        json!({"operation": "mark", "incident": ID, "mark": "wrong", "by": "ada", "reason": "it was the database"})
    );

    assert_eq!(code(&service.ask("operate", &["acknowledge", ID]).await), 0);
    assert_eq!(service.told()["operation"], "acknowledge");

    let args = ["pause", "--scope", "target", "--name", "shop/web", "--reason", "migration", "--for", "2h"];
    let pause = service.ask("operate", &args).await;
    assert_eq!(
        (code(&pause), out(&pause)),
        (0, "paused target shop/web for 2h; end it early with `backout resume 7`\n".to_owned())
    );
    let told = service.told();
    assert_eq!(told["scope"], json!({"scope": "target", "name": "shop/web"}));
    assert_eq!(told["until"], support::now().millis() + 2 * 3_600_000);

    assert_eq!(code(&service.ask("operate", &["resume", "7", "--by", "bob & co"]).await), 0);
    assert_eq!(service.told(), json!({"operation": "resume", "pause": 7, "by": "bob & co"}));
}

#[tokio::test]
async fn a_name_and_its_password_are_as_good_as_a_token() {
    let service = Service::start().await;
    let password = service.token("read");
    let ask = async |name: &str| {
        let args = ["incidents", "--url", &service.url, "--username", name, "--password-file", password.to_str().expect("text")];
        code(&backout(&args).await)
    };
    assert_eq!((ask("read").await, ask("somebody").await), (0, 4));
    let half = backout(&["incidents", "--url", &service.url, "--username", "read"]).await;
    assert!(code(&half) == 2 && err(&half).contains("--password-file"), "{}", err(&half));
}

#[tokio::test]
async fn each_kind_of_no_has_its_code() {
    let service = Service::start().await;
    let tokenless = backout(&["incidents", "--url", &service.url]).await;
    assert_eq!(code(&tokenless), 4);
    assert!(err(&tokenless).contains("--token-file"), "{}", err(&tokenless));
    let veto = ["veto", ID, "--reason", "x"];
    assert_eq!(code(&service.ask("read", &veto).await), 4, "reading is not operating");
    for (error, wanted) in [
        (ControlError::NotFound("there is no incident `x`".to_owned()), 5),
        (ControlError::Conflict("incident `x` is closed".to_owned()), 6),
        (ControlError::Unavailable("the journal does not commit".to_owned()), 3),
        (ControlError::Invalid("`by` must name a person".to_owned()), 2),
    ] {
        let said = error.to_string();
        service.fail(error);
        let refused = service.ask("operate", &veto).await;
        assert_eq!((code(&refused), out(&refused)), (wanted, String::new()), "{said}");
        assert!(err(&refused).starts_with(&format!("error: {said}\n")), "{}", err(&refused));
    }
}

#[tokio::test]
async fn nobody_there_is_3() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
    let gone = backout(&["incidents", "--url", &format!("http://{free}")]).await;
    assert_eq!(code(&gone), 3);
    assert!(err(&gone).contains("does not answer: cannot connect") && err(&gone).contains("BACKOUT_URL"), "{}", err(&gone));

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, axum::Router::new()).into_future());
    let stranger = backout(&["incidents", "--url", &url]).await;
    assert_eq!(code(&stranger), 3);
    assert!(err(&stranger).contains("is not backout's API (status 404)"), "{}", err(&stranger));
}

#[tokio::test]
async fn a_pipeline_stops_at_what_was_rolled_back_from_and_at_silence() {
    let service = Service::start().await;
    let bad = service.ask("read", &["bad", "shop:2"]).await;
    assert_eq!(code(&bad), 1, "{}", err(&bad));
    assert!(
        out(&bad).contains(&format!("rolled back from on deployment/shop/web at 2026-03-01T12:00:00.000Z by {ID}")),
        "{}",
        out(&bad)
    );
    let good = service.ask("read", &["bad", "shop:3", "--output", "json"]).await;
    let json: Value = serde_json::from_slice(&good.stdout).expect("json");
    assert_eq!((code(&good), &json["bad"]), (0, &json!([])));
    service.fail(ControlError::Unavailable("the journal is being replayed".to_owned()));
    assert_eq!(code(&service.ask("read", &["bad", "shop:3"]).await), 3, "not known is not good");
    assert_eq!(code(&backout(&["bad", "shop 3"]).await), 2);
    assert_eq!(code(&backout(&["bad", "shop:3", "--data", "/nowhere"]).await), 2);
}

#[tokio::test]
async fn revisions_are_listed_with_what_is_held_against_them() {
    let service = Service::start().await;
    let list = service.ask("read", &["revisions", "shop/web"]).await;
    assert_eq!(code(&list), 0, "{}", err(&list));
    for wanted in ["aaaaaaaaaaaa", "shop:1", "1h ago", "1h (re-learned)", "no", "available for 1h in all", "the policy `shop`"] {
        assert!(out(&list).contains(wanted), "no {wanted:?} in\n{}", out(&list));
    }
    for wrong in ["web", "shop/web/x", "Shop/web", "shop/../x"] {
        assert_eq!(code(&backout(&["revisions", wrong]).await), 2, "{wrong}");
    }
}

#[tokio::test]
async fn every_command_shows_how_it_is_used() {
    let help = out(&backout(&["--help"]).await);
    let commands = help.split("Commands:\n").nth(1).expect("commands").split("\n\n").next().expect("an end");
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 18, "{names:?}");
    for name in names {
        let help = out(&backout(&[name, "--help"]).await);
        assert!(help.contains("Examples:\n  backout "), "`backout {name} --help` has no examples:\n{help}");
    }
}

#[tokio::test]
async fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = backout(&["completions", shell]).await;
        assert_eq!(code(&script), 0, "{shell}: {}", err(&script));
        for wanted in ["explain", "doctor", "without-memory"] {
            assert!(out(&script).contains(wanted), "{shell} knows no {wanted}");
        }
    }
    // What bash would do with it.
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("backout.bash");
    fs::write(&script, backout(&["completions", "bash"]).await.stdout).expect("written");
    let ask = format!(
        "source {} && COMP_WORDS=(backout jou) COMP_CWORD=1 && _backout backout jou backout && echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let answer = Command::new("bash").args(["-c", &ask]).output().await.expect("bash");
    assert_eq!(out(&answer).trim(), "journal", "{}", err(&answer));

    let pages = folder.path().join("man");
    let written = backout(&["man", pages.to_str().expect("text")]).await;
    assert_eq!(code(&written), 0, "{}", err(&written));
    for (page, wanted) in [("backout", "SYNOPSIS"), ("backout-explain", "without"), ("backout-journal-verify", "Examples:")] {
        let text = fs::read_to_string(pages.join(format!("{page}.1"))).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.starts_with(".ie") && text.contains(".TH") && text.contains(wanted), "{page}:\n{text}");
    }
}

#[tokio::test]
async fn schemas_are_for_editors() {
    for (args, wanted) in
        [(&["schema"][..], "policies"), (&["schema", "policies"], "policies"), (&["schema", "settings"], "prometheus")]
    {
        let printed = backout(args).await;
        let schema: Value = serde_json::from_slice(&printed.stdout).expect("json");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema["properties"][wanted].is_object(), "{args:?} knows no `{wanted}`: {schema:#}");
        assert_eq!(schema["additionalProperties"], false);
    }
}

#[tokio::test]
async fn the_schema_of_the_settings_knows_every_kind_of_channel() {
    let printed = backout(&["schema", "settings"]).await;
    let schema: Value = serde_json::from_slice(&printed.stdout).expect("json");
    let channel = &schema["$defs"]["ChannelSettings"];
    assert_eq!((&channel["additionalProperties"], &channel["required"]), (&Value::Bool(false), &serde_json::json!(["name"])));
    for (kind, definition, needed) in [
        ("alertmanager", "AlertmanagerChannel", &["urls"][..]),
        ("webhook", "WebhookChannel", &["url"]),
        ("pagerduty", "PagerDutyChannel", &["routing_key_file"]),
        ("slack", "SlackChannel", &[]),
        ("github", "GithubChannel", &["repository", "token_file"]),
        ("gitlab", "GitlabChannel", &["project", "token_file"]),
    ] {
        assert!(channel["properties"][kind].to_string().contains(definition), "{kind}: {channel:#}");
        let needs: Vec<&str> =
            schema["$defs"][definition]["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(needs, needed, "{kind}");
    }
}

const SHADOW: &str =
    "policies:\n  - name: shop\n    owner: oncall\n    matchers: ['namespace = \"shop\"']\n    decide: [{rollback: undo}]\n";

fn rules(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("shop.yaml"), text).expect("written");
    folder
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_string_lossy().into_owned()
}

#[tokio::test]
async fn check_says_all_that_is_wrong_and_sums_up() {
    let good = rules(SHADOW);
    let folder = path(&good, "");
    let ok = backout(&["check", "--rules", &folder]).await;
    assert_eq!(code(&ok), 0, "{}{}", out(&ok), err(&ok));
    assert!(out(&ok).contains("channels not checked (name the settings with --config): oncall"), "{}", out(&ok));
    assert!(out(&ok).contains("ok: 1 policy (1 shadow) in 1 file of"), "{}", out(&ok));

    let bad = rules("policies:\n  - name: shop\n    matcher: []\n    decide: [{rolback: undo}]\n");
    let folder = path(&bad, "");
    let not_ok = backout(&["check", "--rules", &folder]).await;
    assert_eq!(code(&not_ok), 1);
    assert!(out(&not_ok).contains("shop.yaml:3:5") && out(&not_ok).contains("`rolback`"), "{}", out(&not_ok));
    assert!(out(&not_ok).contains("nothing of it would be applied"), "{}", out(&not_ok));

    let json = backout(&["check", "--rules", &folder, "--output", "json"]).await;
    assert_eq!(code(&json), 1);
    let json: Value = serde_json::from_slice(&json.stdout).expect("json");
    assert_eq!((&json["ok"], &json["diagnostics"][0]["line"]), (&json!(false), &json!(3)));
    let github = backout(&["check", "--rules", &folder, "--format", "github"]).await;
    assert!(out(&github).starts_with("::error file="), "{}", out(&github));
}

#[tokio::test]
async fn check_is_strict_where_it_is_told_to_be() {
    // A warning that no other test has: a policy that somebody should have read again.
    let late = rules(&format!("{SHADOW}    review_by: 2020-02-29\n"));
    let folder = path(&late, "");
    let usual = backout(&["check", "--rules", &folder]).await;
    assert_eq!(code(&usual), 0, "{}", out(&usual));
    assert!(out(&usual).contains("warning[review-overdue]") && out(&usual).contains(", 1 warning"), "{}", out(&usual));
    let strict = backout(&["check", "--strict", "--rules", &folder]).await;
    assert_eq!(code(&strict), 1);
    assert!(out(&strict).contains("not ok (--strict)"), "{}", out(&strict));
    let json = backout(&["check", "--strict", "--rules", &folder, "--format", "json"]).await;
    let json: Value = serde_json::from_slice(&json.stdout).expect("json");
    assert_eq!((&json["ok"], &json["errors"], &json["warnings"]), (&json!(false), &json!(0), &json!(1)));
    let github = backout(&["check", "--rules", &folder, "--format", "github"]).await;
    assert!(out(&github).starts_with("::warning file="), "{}", out(&github));

    let in_time = rules(&format!("{SHADOW}    review_by: 2999-12-31\n"));
    assert_eq!(code(&backout(&["check", "--strict", "--rules", &path(&in_time, "")]).await), 0);
    assert_eq!(code(&backout(&["check", "--rules", "/nowhere"]).await), 2);
}

#[tokio::test]
async fn check_knows_the_channels_of_the_settings() {
    let acting = SHADOW.replace("    owner:", "    mode: enforce\n    paging: in_front\n    targets: [shop/web]\n    owner:");
    let folder = rules(&acting);
    let config = path(&folder, "settings");
    let check = async |settings: &str| {
        fs::write(&config, settings).expect("written");
        backout(&["check", "--rules", &path(&folder, ""), "--config", &config]).await
    };
    let channels = "cluster: {name: prod}\nchannels: [{name: oncall, webhook: {url: 'http://127.0.0.1:1/', takes: [page]}}]\n";
    let ok = check(channels).await;
    assert_eq!(code(&ok), 0, "{}{}", out(&ok), err(&ok));

    let unknown = check(&channels.replace("oncall", "on-call")).await;
    assert_eq!(code(&unknown), 1);
    assert!(
        out(&unknown).contains("error[unknown-channel]") && out(&unknown).contains("did you mean `on-call`"),
        "{}",
        out(&unknown)
    );

    let deaf = check(&channels.replace("[page]", "[announce]")).await;
    assert_eq!(code(&deaf), 1);
    assert!(out(&deaf).contains("error[no-page-channel]"), "{}", out(&deaf));

    let nameless = check(&channels.replace("cluster: {name: prod}\n", "")).await;
    assert_eq!(code(&nameless), 1, "{}", out(&nameless));

    let guarded = check(&format!("{channels}tokens: {{operate: [/nowhere]}}\n")).await;
    assert_eq!(code(&guarded), 0, "tokens of another machine need not be here: {}", err(&guarded));
    assert_eq!(code(&check("chanels: []\n").await), 2);
}

#[tokio::test]
async fn explain_decides_without_a_cluster_and_says_what_it_does_not_know() {
    let folder = rules(SHADOW);
    let alert = path(&folder, "alert.json");
    let explain = async |labels: &Value, more: &[&str]| {
        fs::write(&alert, labels.to_string()).expect("written");
        let rules = path(&folder, "");
        backout(&[&["explain", "--alert", &alert, "--rules", &rules], more].concat()).await
    };
    let labels = json!({"alertname": "HighErrorRate", "namespace": "shop", "deployment": "web"});
    let text = explain(&labels, &[]).await;
    assert_eq!(code(&text), 0, "{}", err(&text));
    for wanted in ["verdict: page (unresolved)", "no cluster is configured", "no Prometheus (--prometheus)"] {
        assert!(out(&text).contains(wanted), "no {wanted:?} in\n{}", out(&text));
    }
    let json = explain(&labels, &["--output", "json"]).await;
    let json: Value = serde_json::from_slice(&json.stdout).expect("json");
    assert_eq!((&json["verdicts"][0]["outcome"], &json["verdicts"][0]["reason"]), (&json!("page"), &json!("unresolved")));

    let unmatched = explain(&json!({"alertname": "A", "namespace": "other"}), &[]).await;
    assert_eq!(code(&unmatched), 1);
    assert!(out(&unmatched).contains("no policy is about it"), "{}", out(&unmatched));
    assert_eq!(code(&explain(&json!({"alertname": "BackoutPage", "backout_incident": ID}), &[]).await), 1);
    assert_eq!(code(&explain(&json!(["no", "alert"]), &[]).await), 2);
}

#[tokio::test]
async fn explain_finds_the_alert_in_a_live_alertmanager() {
    let held = json!([{
        "labels": {"alertname": "HighErrorRate", "namespace": "shop", "deployment": "web"}, "annotations": {},
        "startsAt": "2026-03-01T11:50:00.000Z", "endsAt": "2026-03-01T12:05:00.000Z", "updatedAt": "2026-03-01T12:00:00.000Z",
        "fingerprint": HASH, "receivers": [], "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
    }]);
    let status = json!({"uptime": "2026-01-01T00:00:00.000Z", "versionInfo": {"version": "0.31.0"}, "cluster": {"peers": []}});
    let app = axum::Router::new()
        .route("/api/v2/alerts", axum::routing::get(async || axum::Json(held)))
        .route("/api/v2/status", axum::routing::get(async || axum::Json(status)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, app).into_future());
    let folder = rules(SHADOW);
    let rules = path(&folder, "");
    let explain = async |fingerprint: &str| {
        backout(&["explain", "--alertmanager", &url, "--fingerprint", fingerprint, "--rules", &rules, "--output", "json"]).await
    };
    let found = explain(HASH).await;
    assert_eq!(code(&found), 0, "{}", err(&found));
    let json: Value = serde_json::from_slice(&found.stdout).expect("json");
    assert_eq!((&json["alerts"][0]["fingerprint"], &json["alerts"][0]["heard"]), (&json!(HASH), &json!("news")));
    assert_eq!(code(&explain("ffffffffffffffff").await), 5);
}
