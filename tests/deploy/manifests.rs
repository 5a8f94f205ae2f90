//! The Kustomize folders, as `kustomize build` renders them, judged by a real API server: its own strict dry run, and the Pod Security
//! Standard `restricted`. Settings and policies in them are judged by `backout check`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::account::Installation;
use crate::support::{Backout, Namespace, eventually, tool, with_namespace};
use crate::tools::{documents, names, object, rendered, root, run, text};

const OVERLAYS: [&str; 3] = ["overlays/shadow", "overlays/production", "overlays/cluster-wide"];

#[tokio::test]
async fn the_api_server_takes_every_object() {
    with_namespace(async |ns| {
        define_operators_kinds(&ns).await;
        for folder in OVERLAYS {
            let installation = Installation::of(&ns, rendered(folder)).await;
            for object in &installation.objects {
                let taken = installation.write(object, true).await;
                assert!(taken.is_ok(), "{folder}: {} {}: {:?}", object["kind"], object["metadata"]["name"], taken.err());
            }
            installation.remove().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_dry_run_finds_a_slip_of_the_pen() {
    with_namespace(async |ns| {
        define_operators_kinds(&ns).await;
        let installation = Installation::of(&ns, rendered("overlays/production")).await;
        let slips: [(&str, &str, Value); 3] = [
            ("Deployment", "/spec/template/spec/containers/0/securityContext/readOnlyRootFileSystem", json!(true)),
            ("ServiceMonitor", "/spec/endpoints/0/intervall", json!("15s")),
            ("PrometheusRule", "/spec/groups/0/rules/0/exprs", json!("up")),
        ];
        for (kind, place, value) in slips {
            let mut object = object(&installation.objects, kind, "backout").clone();
            let (parent, key) = place.rsplit_once('/').expect("a place");
            object.pointer_mut(parent).unwrap_or_else(|| panic!("{kind} has {parent}"))[key] = value;
            let refused = installation.write(&object, true).await.expect_err("refused").to_string();
            assert!(refused.contains(key), "{kind}: {refused}");
        }
        installation.remove().await;
    })
    .await;
}

#[tokio::test]
async fn the_pod_is_restricted() {
    with_namespace(async |ns| {
        // Applied for real, the namespace has the label that makes the API server enforce it.
        let installation = Installation::of(&ns, rendered("overlays/production")).await;
        let template = &object(&installation.objects, "Deployment", "backout")["spec"]["template"];
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "backout", "namespace": installation.home, "labels": template["metadata"]["labels"] },
            "spec": template["spec"],
        });
        installation.write(&pod, true).await.expect("a pod of its template");

        let container = &template["spec"]["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let writable: Vec<_> = container["volumeMounts"]
            .as_array()
            .expect("mounts")
            .iter()
            .filter(|mount| mount["readOnly"] != true)
            .map(|mount| mount["mountPath"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(writable, ["/data"], "all that it may write");

        pod["spec"]["securityContext"]["seccompProfile"] = Value::Null;
        let refused = installation.write(&pod, true).await.expect_err("the API server looks").to_string();
        assert!(refused.contains("PodSecurity"), "{refused}");
        installation.remove().await;
    })
    .await;
}

#[test]
fn there_is_one_and_it_is_replaced_not_doubled() {
    for folder in OVERLAYS {
        let objects = rendered(folder);
        let spec = &object(&objects, "Deployment", "backout")["spec"];
        assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")), "{folder}");
        let grace = spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().expect("a time");
        assert!(grace > 25, "{folder}: more than `shutdown_grace`");
        // A variable BACKOUT_…, made of the Service's name, would be read as a setting.
        assert_eq!(spec["template"]["spec"]["enableServiceLinks"], false, "{folder}");
        assert!(!names(&objects).iter().any(|name| name.starts_with("Secret/")), "{folder}: no secret in a file");
    }
}

#[test]
fn the_three_sets_of_rights_differ_in_what_they_say_they_do() {
    let acting = object(&rendered("namespace"), "Role", "backout")["rules"].clone();
    let everywhere = object(&rendered("overlays/cluster-wide"), "ClusterRole", "backout")["rules"].clone();
    assert_eq!(acting, everywhere);
    assert_eq!(documents(&text("deploy/rbac.yaml"))[0]["rules"], acting, "the file that the README applies");
    let mut reading = acting;
    let rules = reading.as_array_mut().expect("rules");
    rules.retain(|rule| rule["verbs"] != json!(["create"]));
    rules[0]["verbs"] = json!(["get", "list", "watch"]);
    assert_eq!(object(&rendered("namespace-reading"), "Role", "backout")["rules"], reading);
}

/// What lies in the ConfigMaps, at the places where the container finds it.
#[test]
fn settings_and_policies_are_right() {
    for folder in OVERLAYS.into_iter().chain(["base"]) {
        let objects = rendered(folder);
        let place = tempfile::tempdir().expect("a folder");
        let here = |path: &str| place.path().join(path);
        for (config_map, at) in [("backout-settings", "settings"), ("backout-rules", "rules")] {
            std::fs::create_dir(here(at)).expect("a folder");
            for (name, text) in object(&objects, "ConfigMap", config_map)["data"].as_object().expect("files") {
                let text = text.as_str().unwrap_or_default().replace("/etc/backout", &place.path().to_string_lossy());
                std::fs::write(here(at).join(name), text).expect("written");
            }
        }
        std::fs::create_dir(here("tokens")).expect("a folder");
        for name in ["ingest", "operate"] {
            std::fs::write(here("tokens").join(name), "0123456789abcdef0123456789abcdef\n").expect("written");
        }
        let (settings, rules) = (here("settings/backout.yaml"), here("rules"));
        let paths = [settings.to_string_lossy(), rules.to_string_lossy()];
        let checked = Backout::command(&["check", "--config", &paths[0], "--rules", &paths[1]]);
        let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
        assert_eq!(checked.status.code(), Some(0), "{folder}: {said}");
        mounted_where_settings_look(folder, &objects);
    }
}

fn mounted_where_settings_look(folder: &str, objects: &[Value]) {
    let pod = &object(objects, "Deployment", "backout")["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("mounts");
    let settings = &object(objects, "ConfigMap", "backout-settings")["data"]["backout.yaml"];
    let settings = &documents(settings.as_str().expect("text"))[0];
    let mut paths = vec![settings["rules"].clone(), settings["data"].clone()];
    paths.extend(settings["tokens"].as_object().expect("tokens").values().flat_map(|list| list.as_array().cloned()).flatten());
    for path in paths {
        let path = path.as_str().expect("a path");
        let mounted = mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().expect("a path")));
        assert!(mounted, "{folder}: nothing is mounted at {path}");
    }
    // The namespaces that it watches are those in which it was granted something.
    let granted: Vec<_> = objects.iter().filter(|o| o["kind"] == "Role").map(|o| o["metadata"]["namespace"].clone()).collect();
    let watched = settings["cluster"]["namespaces"].as_array().cloned().unwrap_or_default();
    assert_eq!(watched, granted, "{folder}");
}

#[test]
fn kustomize_has_nothing_to_complain_of() {
    for folder in OVERLAYS.into_iter().chain(["base", "namespace", "namespace-reading"]) {
        let output = Command::new(tool("kustomize"))
            .arg("build")
            .arg(Path::new("deploy/kustomize").join(folder))
            .current_dir(root())
            .output();
        let complaints = String::from_utf8_lossy(&output.expect("kustomize").stderr).into_owned();
        assert_eq!(complaints, "", "{folder}");
    }
    assert!(run(Command::new(tool("kustomize")).arg("version")).contains('5'));
}

/// Alertmanager's configuration for the operator is an object of the cluster, too.
#[tokio::test]
async fn the_operator_takes_the_alertmanager_config() {
    with_namespace(async |ns| {
        define_operators_kinds(&ns).await;
        let installation = Installation::of(&ns, documents(&text("deploy/alertmanager/alertmanagerconfig.yaml"))).await;
        installation.write(&installation.objects[0], true).await.expect("taken");
        let mut wrong = installation.objects[0].clone();
        wrong["spec"]["receivers"][0]["webhookConfigs"][0]["max_alerts"] = json!(0);
        installation.write(&wrong, true).await.expect_err("an unknown key");
    })
    .await;
}

/// The published definitions of Prometheus' operator. Left in the cluster: they belong to nobody's test.
async fn define_operators_kinds(ns: &Namespace) {
    let all = Api::<CustomResourceDefinition>::all(ns.client.clone());
    for kind in ["servicemonitors", "prometheusrules", "alertmanagerconfigs"] {
        let file = tool("crds").join(format!("monitoring.coreos.com_{kind}.yaml"));
        let text = std::fs::read_to_string(file).expect("a definition");
        let definition: CustomResourceDefinition = serde_saphyr::from_str(&text).expect("a definition");
        match all.create(&PostParams::default(), &definition).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => panic!("{kind}: {error}"),
        }
        eventually(&format!("{kind} are served"), Duration::from_secs(30), async || {
            let found = all.get(&format!("{kind}.monitoring.coreos.com")).await.map_err(|error| error.to_string())?;
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            let served = conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
            served.then_some(()).ok_or("not yet".to_owned())
        })
        .await;
    }
}
