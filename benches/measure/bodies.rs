//! Bodies as Alertmanager posts them (webhook version 4, written as Go writes JSON), and the requests around them. Every request is
//! stamped anew, so that each of its alerts is an occurrence that nobody has heard of.

use serde_json::{Map, Value, json};

const NAMES: [&str; 10] = [
    "KubePodCrashLooping",
    "KubeDeploymentReplicasMismatch",
    "HTTPErrorBudgetBurn",
    "NodeFilesystemAlmostOutOfSpace",
    "TargetDown",
    "KubeJobFailed",
    "CPUThrottlingHigh",
    "PostgresReplicationLag",
    "EtcdHighFsyncDurations",
    "RolloutErrorRateHigh",
];

/// Digits of a fingerprint that change with every request; the others stay the alert's own.
const STAMP: usize = 8;

/// A pool of requests to post in turn.
#[derive(Clone)]
pub(crate) struct Pool {
    requests: Vec<Stamped>,
    posted: u64,
    /// Whether each request is stamped anew, or the pool repeats as notifications do every `repeat_interval`.
    fresh: bool,
}

#[derive(Clone)]
struct Stamped {
    bytes: Vec<u8>,
    /// Where the changing digits of each fingerprint stand.
    at: Vec<usize>,
}

impl Pool {
    /// `variants` groups of `alerts` alerts each, for `path`.
    pub(crate) fn new(alerts: usize, variants: usize, path: &str) -> Self {
        let requests = (0..variants).map(|variant| Stamped::new(&request(path, &body(alerts, variant)))).collect();
        Self { requests, posted: 0, fresh: true }
    }

    /// The same bodies again and again.
    pub(crate) fn repeating(self) -> Self {
        Self { fresh: false, ..self }
    }

    /// The next request.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.posted += 1;
        let number = self.posted;
        let index = (number % self.requests.len() as u64) as usize;
        let request = &mut self.requests[index];
        if self.fresh {
            let stamp = format!("{:08x}", number & 0xffff_ffff);
            for at in &request.at {
                request.bytes[*at..*at + STAMP].copy_from_slice(stamp.as_bytes());
            }
        }
        &request.bytes
    }

    /// The share of one of so many connections. Stamps of different connections never meet.
    pub(crate) fn share(&self, connection: usize, connections: usize) -> Self {
        let count = (self.requests.len() / connections).max(1);
        let requests =
            (0..count).map(|at| self.requests[(connection + at * connections) % self.requests.len()].clone()).collect();
        Self { requests, posted: (connection as u64) << 20, fresh: self.fresh }
    }
}

impl Stamped {
    fn new(request: &[u8]) -> Self {
        let mark = b"\"fingerprint\":\"";
        let at = (0..request.len()).filter(|at| request[*at..].starts_with(mark)).map(|at| at + mark.len()).collect();
        Self { bytes: request.to_vec(), at }
    }
}

/// The HTTP request for a body.
pub(crate) fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Alertmanager/0.25.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One group: 12 labels and 4 annotations an alert, about 1.3 kB, as kube-prometheus writes them.
pub(crate) fn body(alerts: usize, variant: usize) -> Vec<u8> {
    let mut random = Random((alerts * 100_003 + variant) as u64);
    let name = NAMES[random.below(10) as usize];
    let (namespace, service) = (format!("team-{}", random.below(40)), format!("checkout-api-{variant}"));
    let alerts: Vec<Value> = (0..alerts).map(|_| alert(&mut random, name, &namespace, &service)).collect();
    let labels = json!({"alertname": name, "namespace": namespace, "service": service});
    let group = json!({
        "receiver": "backout", "status": "firing", "groupLabels": labels, "commonLabels": common(&alerts, "labels"),
        "commonAnnotations": common(&alerts, "annotations"), "externalURL": "http://alertmanager.example.com:9093", "version": "4",
        "groupKey": format!("{{}}/{{receiver=\"backout\"}}:{{alertname=\"{name}\", namespace=\"{namespace}\", service=\"{service}\"}}"),
        "truncatedAlerts": 0, "alerts": alerts,
    });
    let go = group.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    format!("{go}\n").into_bytes()
}

fn alert(random: &mut Random, name: &str, namespace: &str, service: &str) -> Value {
    let pod = format!("{service}-{:09x}-{:05x}", random.below(1 << 36), random.below(1 << 20));
    let octet = |random: &mut Random| random.below(256);
    let severity = if random.below(2) == 0 { "critical" } else { "warning" };
    let (a, b, c) = (octet(random), octet(random), octet(random));
    let day = 1 + random.below(9);
    let team = ["payments", "search", "platform"][random.below(3) as usize];
    json!({
        "status": "firing",
        "labels": {
            "alertname": name, "cluster": "prod-eu-west-1a", "container": service, "instance": format!("10.{a}.{b}.{c}:8443"),
            "job": "kube-state-metrics", "namespace": namespace, "node": format!("ip-10-12-{b}-{c}.eu-west-1.compute.internal"),
            "pod": pod, "prometheus": "monitoring/kube-prometheus-stack-prometheus", "service": service, "severity": severity,
            "team": team,
        },
        "annotations": {
            "dashboard_url": format!("https://grafana.example.com/d/{:012x}/workload?var-namespace={namespace}&var-pod={pod}&from=now-1h", random.below(1 << 48)),
            "description": format!("Pod {namespace}/{pod} (container \"{service}\") has been restarting {}.{:02} times / 5 minutes; \
                error ratio is {}.5% (> 1%).\nCheck the latest rollout before paging the owner.", 1 + random.below(8), random.below(100), 1 + random.below(40)),
            "runbook_url": format!("https://runbooks.example.com/kubernetes/{}", name.to_lowercase()),
            "summary": format!("{name}: {service} in {namespace} is unhealthy."),
        },
        "startsAt": format!("2026-01-0{day}T1{}:{}:12.{}Z", random.below(10), 10 + random.below(50), 100 + random.below(900)),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=rate%28kube_pod_container_status_restarts_total%7Bjob%3D%22kube-state-metrics%22%7D%5B5m%5D%29+%2A+60+%2A+5+%3E+0&g0.tab=1",
        "fingerprint": format!("{:016x}", random.next()),
    })
}

fn common(alerts: &[Value], key: &str) -> Value {
    let first = alerts[0][key].as_object().cloned().unwrap_or_default();
    Value::Object(
        first.into_iter().filter(|(name, value)| alerts.iter().all(|alert| alert[key][name] == *value)).collect::<Map<_, _>>(),
    )
}

/// SplitMix64: the same bodies in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
