//! The files in `deploy/` are what they say: manifests that Kubernetes takes, a pipeline file that Lakebed takes, dashboards
//! and alerts over metrics that exist.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{installed, interop, lakebed, root};

fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics that the code has.
fn metrics() -> BTreeSet<String> {
    let code = std::fs::read_to_string(root().join("src/metrics/names.rs")).unwrap();
    let quoted = code.split('"').filter(|text| text.starts_with("lakebed_"));
    quoted.map(str::to_owned).collect()
}

/// The metrics that expressions name.
fn named_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text
        .split(|c: char| !is_part(c))
        .filter(|word| word.starts_with("lakebed_"));
    let base = |word: &str| {
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        histogram.unwrap_or(word).to_owned()
    };
    words.map(base).collect()
}

fn assert_all_exist(what: &str, named: &BTreeSet<String>) {
    let metrics = metrics();
    assert!(metrics.len() > 20 && !named.is_empty(), "{what}");
    let unknown: Vec<_> = named.difference(&metrics).collect();
    assert!(unknown.is_empty(), "{what}: {unknown:?}");
}

#[test]
fn alerts_are_rules_over_metrics_that_exist() {
    let alerts = yaml("prometheus/alerts.yaml");
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let mut named = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(rule["labels"]["severity"].is_string(), "{name}");
        assert!(rule["annotations"]["summary"].is_string(), "{name}");
        let expression = rule["expr"].as_str().unwrap();
        assert_eq!(
            expression.matches('(').count(),
            expression.matches(')').count(),
            "{name}"
        );
        named.extend(named_in(expression));
    }
    assert_all_exist("alerts", &named);
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&text("grafana/lakebed.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut named = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: its id is taken"
        );
        for target in panel["targets"].as_array().unwrap() {
            named.extend(named_in(target["expr"].as_str().unwrap()));
        }
    }
    assert_eq!(named, metrics());
}

#[test]
fn kubernetes_takes_the_manifests() {
    let python = installed(interop().join("bin/kubernetes-validate"), "scripts/setup");
    for manifest in ["configmap", "secret", "deployment", "service", "cronjob"] {
        let file = deploy(&format!("kubernetes/{manifest}.yaml"));
        let output = Command::new(&python)
            .arg("--strict")
            .arg(&file)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{manifest}: {said}");
    }
    for file in yaml("kubernetes/kustomization.yaml")["resources"]
        .as_array()
        .unwrap()
    {
        assert!(
            deploy("kubernetes").join(file.as_str().unwrap()).exists(),
            "{file}"
        );
    }
}

#[test]
fn manifests_fit_together() {
    let deployment = yaml("kubernetes/deployment.yaml");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let template = &deployment["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    for (probe, path) in [
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
        ("startupProbe", "/livez"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(
            container[probe]["httpGet"]["port"],
            container["ports"][0]["name"]
        );
    }
    assert!(container["resources"]["limits"]["memory"].is_string());
    let service = yaml("kubernetes/service.yaml");
    assert_eq!(service["spec"]["selector"], template["metadata"]["labels"]);
    assert_eq!(
        service["spec"]["ports"][0]["targetPort"],
        container["ports"][0]["name"]
    );
    let monitor = yaml("kubernetes/servicemonitor.yaml");
    assert_eq!(
        monitor["spec"]["selector"]["matchLabels"],
        service["metadata"]["labels"]
    );
    assert_eq!(
        monitor["spec"]["endpoints"][0]["port"],
        service["spec"]["ports"][0]["name"]
    );
    let job = &yaml("kubernetes/cronjob.yaml")["spec"];
    assert_eq!(job["concurrencyPolicy"], "Forbid");
    let job = &job["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(job["restartPolicy"], "Never");
    let arguments = job["containers"][0]["args"].as_array().unwrap();
    assert!(arguments.contains(&Value::from("--until-current")));
    let (volumes, config) = (&job["volumes"], yaml("kubernetes/configmap.yaml"));
    assert_eq!(volumes[0]["configMap"]["name"], config["metadata"]["name"]);
    let secret = yaml("kubernetes/secret.yaml");
    assert_eq!(
        volumes[1]["secret"]["secretName"],
        secret["metadata"]["name"]
    );
    for variable in container["env"].as_array().unwrap() {
        if let Some(key) = variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
            assert!(secret["stringData"][key].is_string(), "{key}");
        }
    }
}

#[test]
fn the_pipeline_file_of_the_manifests_is_one() {
    let directory = tempfile::TempDir::new().unwrap();
    let secret = directory.path().join("password");
    std::fs::write(&secret, "p").unwrap();
    let config = yaml("kubernetes/configmap.yaml");
    let pipeline = config["data"]["pipeline.yaml"].as_str().unwrap();
    let pipeline = pipeline.replace(
        "/run/secrets/lakebed/mysql-password",
        secret.to_str().unwrap(),
    );
    let file = directory.path().join("pipeline.yaml");
    std::fs::write(&file, pipeline).unwrap();
    lakebed(&["check", file.to_str().unwrap(), "--offline"]).success();
}

#[test]
fn the_unit_and_the_image_run_commands_that_exist() {
    let unit = text("systemd/lakebed.service");
    for line in [
        "ExecStart=/usr/local/bin/lakebed run ",
        "KillSignal=SIGTERM",
        "RestartPreventExitStatus=78",
    ] {
        assert!(unit.lines().any(|found| found.starts_with(line)), "{line}");
    }
    let image = text("docker/Dockerfile");
    for line in [
        "STOPSIGNAL SIGTERM",
        "USER 10001:10001",
        "ENTRYPOINT [\"lakebed\"]",
        "CMD [\"run\", ",
    ] {
        assert!(image.lines().any(|found| found.starts_with(line)), "{line}");
    }
}
