//! What settings files may say, and how mistakes in them are told.

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A folder with a settings file, rules, a kubeconfig and a token.
fn folder(settings: &str) -> (tempfile::TempDir, ServeArgs) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("rules")).expect("rules");
    fs::write(folder.path().join("kubeconfig"), "{}").expect("written");
    fs::write(folder.path().join("token"), TOKEN).expect("written");
    let config = folder.path().join("backout.yaml");
    fs::write(&config, settings).expect("written");
    let args = ServeArgs { config: Some(config), ..ServeArgs::default() };
    (folder, args)
}

fn problems(settings: &str) -> Vec<String> {
    let (_folder, args) = folder(settings);
    Settings::load(args).expect_err("refused").0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_file() {
    let (folder, args) = folder(
        "
rules: rules
data: journal
cluster: {name: prod-1, kubeconfig: kubeconfig, namespaces: [shop, cart]}
prometheus:
- http://prometheus:9090
- {url: 'https://thanos/query', username: backout, password_file: secret, ca_file: ca.pem}
alertmanager: [http://am-0:9093, http://am-1:9093]
http: {listen: '0.0.0.0:0', body_limit: 64MiB, bytes_in_flight: 256MiB, connections: 100, inbox: 10}
tokens: {ingest: [token], operate: [token]}
retention: {age: 30d, size: 1GiB}
log: {format: logfmt}
timing: {tail: 5m, close_after: 2m}
external_url: https://backout.example/
shutdown_grace: 50s
",
    );
    let settings = Settings::load(args).expect("good");
    let here = |name: &str| folder.path().join(name);
    assert_eq!((settings.rules, settings.data), (here("rules"), here("journal")));
    assert_eq!(settings.listen.to_string(), "0.0.0.0:0");
    assert_eq!(settings.kubeconfig, Some(here("kubeconfig")));
    assert_eq!(settings.http.cluster.as_deref(), Some("prod-1"));
    assert_eq!(settings.namespaces, ["shop", "cart"]);
    assert_eq!(settings.prometheus[0], EndpointSettings::plain("http://prometheus:9090"));
    assert_eq!(settings.prometheus[1].password_file, Some(here("secret")));
    assert_eq!(settings.channels.len(), 1, "pages go through the peers");
    assert_eq!(settings.channels[0].alertmanager.as_ref().map(|channel| channel.urls.len()), Some(2));
    assert_eq!((settings.http.body_limit, settings.http.bytes_in_flight), (64 << 20, 256 << 20));
    assert_eq!((settings.http.connections, settings.inbox), (100, 10));
    assert_eq!(settings.retention, Retention { age: Duration::from_secs(30 * 86400), bytes: 1 << 30 });
    assert_eq!((settings.log_format, settings.limits.tail), (LogFormat::Logfmt, Duration::from_secs(300)));
    assert_eq!(settings.external_url.map(String::from).as_deref(), Some("https://backout.example/"));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(50));
}

#[test]
fn flags_go_before_the_file_and_defaults_behind() {
    let (folder, mut args) =
        folder("http: {listen: '127.0.0.1:1'}\ncluster: {name: a, namespaces: [b]}\nprometheus: [http://a]\n");
    args.listen = Some("[::1]:2".to_owned());
    args.rules = Some(folder.path().join("rules"));
    args.cluster_name = Some("c".to_owned());
    args.namespace = vec!["d".to_owned()];
    args.prometheus = vec!["http://e".to_owned(), "http://f".to_owned()];
    let settings = Settings::load(args).expect("good");
    assert_eq!(settings.listen.to_string(), "[::1]:2");
    assert_eq!((settings.cluster_name.as_deref(), settings.namespaces), (Some("c"), vec!["d".to_owned()]));
    assert_eq!(settings.prometheus.len(), 2);
    assert_eq!(settings.data, PathBuf::from("data"), "a default counts from where we were started");
    assert_eq!((settings.channels.len(), settings.log_format), (0, LogFormat::Json));

    let args = ServeArgs { rules: Some(folder.path().join("rules")), ..ServeArgs::default() };
    let settings = Settings::load(args).expect("without a file");
    assert_eq!(settings.listen.to_string(), DEFAULT_LISTEN);
    assert_eq!(settings.watchdog.iter().map(ToString::to_string).collect::<Vec<_>>(), [r#"alertname="Watchdog""#]);
}

#[test]
fn flags_are_read_from_the_command_line() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }
    let line =
        ["backout", "--prometheus", "http://a", "--prometheus=http://b,http://c", "--cluster-name", "x", "--log-format=logfmt"];
    let Line { serve } = clap::Parser::parse_from(line);
    assert_eq!(serve.prometheus, ["http://a", "http://b", "http://c"]);
    assert_eq!((serve.cluster_name.as_deref(), serve.log_format), (Some("x"), Some(LogFormat::Logfmt)));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let found = problems(
        "
rules: nowhere
cluster: {name: 'a b', kubeconfig: nothing, namespaces: [Shop]}
prometheus: ['http://me:secret@prometheus:9090', 'prometheus:9090', {url: 'http://x', username: me}]
channels: [{name: 'two words', webhook: {url: 'http://x'}}]
http: {listen: ':9095', body_limit: much, bytes_in_flight: 1MiB, connections: 0, inbox: -1}
tokens: {ingest: [gone]}
retention: {age: 1h, size: 1KiB}
timing: {tail: soon}
external_url: ftp://x
watchdog: ['alertname~x']
",
    );
    let wanted = [
        "`rules`: ",
        "`cluster.kubeconfig`: ",
        "`cluster.name`: ",
        "`cluster.namespaces`: `Shop` cannot be",
        "`prometheus`: `http://prometheus:9090/` is no address to ask: it holds credentials",
        "`prometheus`: `prometheus:9090` is no address to ask",
        "`prometheus`: `username` and `password_file` need each other",
        "`watchdog`: ",
        "`channels`: channel `two words`",
        "`external_url`: `ftp://x` is no address",
        "`http.body_limit`: `much` is no amount of bytes; expected a whole number with a unit, like `32MiB`",
        "`http.connections`: `0`: expected a number from 1 to 100000",
        "`http.bytes_in_flight`: it is less than `http.body_limit`",
        "`http.inbox`: `-1`: expected a number",
        "`retention.age`: expected `2d` or more",
        "`retention.size`: expected `64MiB` or more",
        "`timing.tail`: ",
        "`http.listen`: `:9095` is no address with a port; expected something like `127.0.0.1:9095`",
        "`tokens.ingest`: the file `",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\nwanted {wanted}");
        assert!(!found.contains("secret"), "{found}");
    }
}

#[test]
fn a_watchdog_is_one_alert_and_may_be_none() {
    let (_folder, args) = folder("watchdog: ['alertname=\"Watchdog\", cluster=\"eu\"', 'prometheus=~\"a|b\"']\n");
    let rules = args.config.as_ref().and_then(|config| config.parent()).map(|folder| folder.join("rules"));
    let settings = Settings::load(ServeArgs { rules, ..args }).expect("good");
    assert_eq!(settings.watchdog.len(), 3);
    for every in ["cluster!=\"us\"", "alertname=~\".*\""] {
        let found = problems(&format!("watchdog: ['{every}']\n"));
        assert!(found.iter().any(|problem| problem.starts_with("`watchdog`: it matches every alert")), "{found:?}");
    }
    assert!(!problems("watchdog: []\nrules: nowhere\n").iter().any(|problem| problem.contains("watchdog")));
}

#[test]
fn a_malformed_file_is_named_with_the_place() {
    for (text, place, what) in [
        ("http: {listne: x}\n", ":1:", "listne"),
        ("http:\n  inbox: 3\n  inbox: 4\n", ":3:3: duplicate mapping key: inbox", ""),
        ("rules: [\n", ":", ""),
        ("log: {format: xml}\n", ":1:", "xml"),
        ("tokens: {ingest: token}\n", ":1:18: expected a list", ""),
        ("prometheus: [{urll: x}]\n", ":1:", "urll"),
    ] {
        let found = problems(text);
        let text = found.iter().find(|problem| problem.contains("backout.yaml")).unwrap_or_else(|| panic!("{found:?}"));
        assert!(text.contains(&format!("backout.yaml{place}")) && text.contains(what), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
    let (_folder, args) = folder("# nothing\n---\n");
    let rules = args.config.as_ref().and_then(|config| config.parent()).map(|folder| folder.join("rules"));
    assert!(Settings::load(ServeArgs { rules, ..args }).is_ok(), "an empty file says nothing");
}

/// A certificate for localhost and its key, written into a folder.
fn certify(folder: &Path) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    fs::write(folder.join("tls.crt"), params.self_signed(&key).expect("a certificate").pem()).expect("written");
    fs::write(folder.join("tls.key"), key.serialize_pem()).expect("written");
}

#[test]
fn certificates_are_read_and_guard_the_door() {
    let (folder, args) = folder(
        "
http: {listen: '0.0.0.0:0'}
tls: {certificate: tls.crt, key: tls.key, client_ca: tls.crt, client_certificates: required}
clients: {ingest: [alertmanager], operate: [ada@example.com]}
",
    );
    certify(folder.path());
    let args = ServeArgs { rules: Some(folder.path().join("rules")), ..args };
    assert!(Settings::load(args.clone()).expect("good").tls.is_some());
    fs::write(folder.path().join("tls.key"), "").expect("written");
    let problem = Settings::load(args).expect_err("refused").to_string();
    assert!(problem.contains("`tls`: `") && problem.contains("holds no private key"), "{problem}");
    for (text, wanted) in [
        ("tls: {certificate: tls.crt}", "`tls`: `certificate` and `key` need each other"),
        ("tls: {client_ca: tls.crt}", "`tls`: `certificate` and `key` need each other, and `client_ca` needs both"),
        ("tls: {client_certificates: required}", "`tls.client_certificates`: says nothing without `tls.client_ca`"),
        ("clients: {operate: [ada]}", "`clients`: no client certificate is believed; set `tls.client_ca`"),
        ("clients: {read: ['']}", "`clients.read`: holds an empty name"),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|problem| problem.starts_with(wanted)), "{text}: {found:?}");
    }
}

#[test]
fn without_a_token_only_this_machine_is_listened_to() {
    let (folder, args) = folder("tokens: {ingest: [token]}\n");
    let rules = Some(folder.path().join("rules"));
    for (listen, guarded, good) in [
        ("127.0.0.1:9095", false, true),
        ("[::1]:9095", false, true),
        ("0.0.0.0:9095", false, false),
        ("10.1.2.3:0", false, false),
        ("0.0.0.0:9095", true, true),
    ] {
        let config = args.config.clone().filter(|_| guarded);
        let args = ServeArgs { config, rules: rules.clone(), listen: Some(listen.to_owned()), ..ServeArgs::default() };
        match Settings::load(args) {
            Ok(_) => assert!(good, "{listen}"),
            Err(errors) => {
                assert!(!good, "{listen}: {errors}");
                assert!(errors.to_string().contains("anybody could post alerts there; set `tokens.ingest`"), "{errors}");
            }
        }
    }
}
