//! Kinds that are not Kubernetes' own, as far as the manifests use them: any other field is refused.
//!
//! Names and types as in prometheus-operator's monitoring.coreos.com/v1 and OpenShift's
//! security.openshift.io/v1.

#![expect(dead_code, reason = "fields are there to be known, not to be read")]

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Object<Spec> {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

/// A scrape of pods.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct PodMonitor(Object<PodMonitorSpec>);

/// A scrape of a service's endpoints.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct ServiceMonitor(Object<ServiceMonitorSpec>);

/// Alerting and recording rules.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct PrometheusRule(Object<PrometheusRuleSpec>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitorSpec {
    job_label: String,
    selector: Selector,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitorSpec {
    job_label: String,
    selector: Selector,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    port: String,
    path: String,
    honor_labels: bool,
    interval: Option<String>,
    scrape_timeout: Option<String>,
    relabelings: Vec<Relabeling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relabeling {
    source_labels: Option<Vec<String>>,
    target_label: Option<String>,
    regex: Option<String>,
    action: Option<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Replace,
    Keep,
    Drop,
    LabelDrop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrometheusRuleSpec {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    r#for: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What pods of a service account may ask for on OpenShift.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecurityContextConstraints {
    api_version: String,
    kind: String,
    metadata: Metadata,
    allow_host_dir_volume_plugin: bool,
    #[serde(rename = "allowHostIPC")]
    allow_host_ipc: bool,
    allow_host_network: bool,
    #[serde(rename = "allowHostPID")]
    allow_host_pid: bool,
    allow_host_ports: bool,
    allow_privilege_escalation: bool,
    allow_privileged_container: bool,
    read_only_root_filesystem: bool,
    allowed_capabilities: Vec<String>,
    default_add_capabilities: Vec<String>,
    required_drop_capabilities: Vec<String>,
    run_as_user: Strategy,
    se_linux_context: Strategy,
    fs_group: Strategy,
    supplemental_groups: Strategy,
    seccomp_profiles: Vec<String>,
    volumes: Vec<Volume>,
    users: Vec<String>,
    groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strategy {
    r#type: StrategyType,
}

#[derive(Deserialize)]
enum StrategyType {
    MustRunAs,
    RunAsAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Volume {
    ConfigMap,
    #[serde(rename = "downwardAPI")]
    DownwardApi,
    EmptyDir,
    HostPath,
    Projected,
    Secret,
}
