//! The other ways to run it: the image, the systemd unit, the Compose trial.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Alertmanager, Backout, Gate, Prometheus, Release, Setup, eventually};
use crate::tools::{documents, run, text};

const SOON: Duration = Duration::from_secs(60);

/// The lines of a Dockerfile as instructions; continued ones are joined.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let joined = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let joined = joined.replace("\\\n", " ");
    let split = |line: &str| line.trim().split_once(' ').map(|(what, rest)| (what.to_owned(), rest.trim().to_owned()));
    joined.lines().filter_map(split).collect()
}

#[test]
fn the_image_is_empty_but_for_the_program() {
    let all = instructions(&text("deploy/Dockerfile"));
    let last = all.iter().rposition(|(what, _)| what == "FROM").expect("a stage");
    assert_eq!(all[last].1, "scratch", "no shell, no libc, no package to patch");
    let stage = &all[last + 1..];
    assert!(
        stage.iter().all(|(what, _)| ["COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD", "LABEL"].contains(&what.as_str())),
        "{stage:?}"
    );
    let of = |name: &str| stage.iter().filter(|(what, _)| what == name).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>();
    // By number: Kubernetes cannot tell whether a name is root's.
    let pod = &documents(&text("deploy/kustomize/base/deployment.yaml"))[0]["spec"]["template"]["spec"];
    let ids = (pod["securityContext"]["runAsUser"].clone(), pod["securityContext"]["runAsGroup"].clone());
    assert_eq!(of("USER"), [format!("{}:{}", ids.0, ids.1)]);
    assert!(of("ENTRYPOINT")[0].starts_with('[') && of("CMD")[0].starts_with('['), "without a shell");
    assert!(of("COPY").iter().all(|copy| copy.contains("--from=build")), "{stage:?}");
    for (_, image) in all.iter().filter(|(what, rest)| what == "FROM" && rest != "scratch") {
        let name = image.split(' ').find(|word| !word.starts_with("--")).expect("an image");
        let (_, tag) = name.split_once(':').unwrap_or((name, "latest"));
        assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{name}: a version");
    }
}

#[test]
fn the_image_is_built_with_the_compiler_that_the_package_names() {
    let minimum = text("Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .map(|it| it.trim_end_matches('"').to_owned());
    let minimum = minimum.expect("a version");
    assert!(text("deploy/Dockerfile").contains(&format!("rust:{minimum}.")), "rust:{minimum}.x");
}

#[test]
fn the_unit_is_sound_and_confined() {
    let unit = text("deploy/systemd/backout.service");
    let set: BTreeSet<&str> = unit.lines().filter(|line| !line.starts_with(['#', '['])).collect();
    for line in [
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "PrivateDevices=yes",
        "PrivateUsers=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictNamespaces=yes",
        "SystemCallFilter=@system-service",
        "UMask=0077",
        "Restart=always",
    ] {
        assert!(set.contains(line), "{line}");
    }
    // The words of the command are ones that the program knows.
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/backout ")).expect("a command");
    let mut words: Vec<&str> = command.split(' ').collect();
    words.push("--help");
    assert!(Backout::command(&words).status.success(), "{command}");

    // Where systemd is. It looks for the program, so it gets one.
    if Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success()) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("backout.service");
        std::fs::write(&file, unit.replace("/usr/local/bin/backout", env!("CARGO_BIN_EXE_backout"))).expect("written");
        run(Command::new("systemd-analyze").arg("verify").arg(&file));
        // From 0 (confined) to 10; 1.2 when this was written, for want of a list of addresses.
        run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15"]).arg(&file));
    }
}

/// The trial's own files, with the containers' names for loopback.
#[tokio::test]
async fn the_compose_trial_tells_of_its_alert() {
    let door = Gate::to("127.0.0.1:1").await;
    let token = tempfile::tempdir().expect("a folder");
    let token_file = token.path().join("token");
    std::fs::write(&token_file, text("deploy/compose/token")).expect("written");
    let token_file = token_file.to_string_lossy().into_owned();

    let config = text("deploy/compose/alertmanager.yml");
    let config = config.replace("http://backout:9095", &door.url()).replace("/etc/alertmanager/backout-token", &token_file);
    let alertmanager = Alertmanager::start(Release::New, &config, &[]).await;
    let scrapes = text("deploy/compose/prometheus.yml")
        .replace("backout:9095", &door.address().to_string())
        .replace("alertmanager:9093", alertmanager.url().trim_start_matches("http://"))
        .replace("[shop.rules.yaml, backout.rules.yaml]", "[rules.yml]")
        .replace(": 5s", ": 1s");
    let prometheus = Prometheus::start(&scrapes, &text("deploy/compose/shop.rules.yaml")).await;
    let settings = text("deploy/compose/backout.yaml")
        .replace("/etc/backout/token", &token_file)
        .replace("http://prometheus:9090", prometheus.url())
        .replace("http://alertmanager:9093", alertmanager.url());
    // What the test's own flags say goes before these.
    assert!(settings.contains("/data/journal") && settings.contains("0.0.0.0:9095"));
    let setup = Setup {
        config: settings,
        rules: vec![("shop.yaml".to_owned(), text("deploy/compose/rules/shop.yaml"))],
        ..Setup::default()
    };
    let backout = Backout::start(setup).await;
    door.lead_to(backout.url().trim_start_matches("http://"));

    let file = token.path().join("token");
    eventually("an incident of the trial's alert", SOON, async || {
        let (url, file) = (backout.url(), file.to_string_lossy());
        let listed = Backout::command(&["incidents", "--state", "all", "--output", "json", "--url", url, "--token-file", &file]);
        let said = String::from_utf8_lossy(&listed.stdout).into_owned();
        let all: Value = serde_json::from_str(&said).map_err(|_| String::from_utf8_lossy(&listed.stderr).into_owned())?;
        let decided = all["incidents"].as_array().is_some_and(|all| all.iter().any(|one| one["policy"] == "shop"));
        if decided { Ok(()) } else { Err(format!("{said}\n{}", backout.log())) }
    })
    .await;
    prometheus.wait_for("backout_build_info{cluster=\"trial\"}", SOON).await;
}

/// Every file that the trial mounts is there, and every setting names one that is mounted.
#[test]
fn the_compose_trial_mounts_what_there_is() {
    let compose = &documents(&text("deploy/compose/compose.yaml"))[0];
    let mut mounted = 0;
    for (name, service) in compose["services"].as_object().expect("services") {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (from, _) = volume.as_str().and_then(|volume| volume.split_once(':')).expect("a volume");
            if from.starts_with('.') {
                let path = crate::tools::root().join("deploy/compose").join(from);
                assert!(path.exists(), "{name}: {}", path.display());
                mounted += 1;
            }
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{name}: on loopback only");
        }
    }
    assert!(mounted > 5, "the volumes were found");
}
