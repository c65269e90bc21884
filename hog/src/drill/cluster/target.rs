//! The Deployment, its namespace and its pods, read and changed through the API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::KubeConfigOptions;
use kube::core::Selector;
use kube::{Api, Client, Config};
use tokio::time::{sleep, timeout};

use super::adjust::{self, Change};
use super::forward::Forward;
use super::grow::Victim;
use super::{LOOK, Options, observe, safety};
use crate::drill::expect::Grower;

/// For new pods to be ready after a change.
const ROLLOUT: Duration = Duration::from_secs(180);
/// Where oom-probe serves in its pods.
const PROBE_PORT: u16 = 9550;

pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) namespace: String,
    deployments: Api<Deployment>,
    deployment: Deployment,
    deployment_name: String,
    pub(super) container: String,
    applied: Vec<Change>,
}

impl Cluster {
    pub(super) async fn connect(options: &Options<'_>) -> Result<Self> {
        let kubeconfig = KubeConfigOptions {
            context: options.cluster.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_kubeconfig(&kubeconfig)
            .await
            .context("cannot read the kubeconfig; KUBECONFIG names another")?;
        let namespace = options.cluster.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("cannot make a client for the cluster")?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
        let name = options.deployment;
        let deployment = deployments.get(name).await.with_context(|| {
            format!(
                "cannot get Deployment {namespace}/{name}; deploy/hog/service.yaml has one to drill on"
            )
        })?;
        let container = container(&deployment, options.cluster.container.as_deref())?
            .name
            .clone();
        Ok(Self {
            client,
            namespace,
            deployments,
            deployment_name: name.to_owned(),
            deployment,
            container,
            applied: Vec::new(),
        })
    }

    pub(super) fn name(&self) -> String {
        format!("Deployment {}/{}", self.namespace, self.deployment_name)
    }

    /// The memory limit that the container has.
    pub(super) fn limit(&self) -> Result<Option<u64>> {
        let container = container(&self.deployment, Some(&self.container))?;
        let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
        let memory = limits.and_then(|limits| limits.get("memory"));
        memory
            .map(adjust::bytes)
            .transpose()
            .map_err(anyhow::Error::msg)
    }

    pub(super) fn changes(&self, options: &Options<'_>) -> Result<Vec<Change>> {
        let container = container(&self.deployment, Some(&self.container))?;
        adjust::changes(&self.deployment, container, options.drill.limit)
            .map_err(anyhow::Error::msg)
    }

    /// The path of the container's readiness probe.
    pub(super) fn readiness_path(&self) -> Option<String> {
        let container = container(&self.deployment, Some(&self.container)).ok()?;
        container
            .readiness_probe
            .as_ref()?
            .http_get
            .as_ref()?
            .path
            .clone()
    }

    /// An error where the drill keeps its hands off.
    pub(super) async fn refuse(&self, changes_it: bool) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = namespaces.get(&self.namespace).await.with_context(|| {
            format!(
                "cannot see whether namespace {} is marked against drills; --force goes on without",
                self.namespace
            )
        })?;
        let metadata = namespace.metadata;
        let name = &self.namespace;
        if let Some(why) = safety::forbidden(name, &metadata.labels, &metadata.annotations) {
            bail!("{why}; --force goes on all the same");
        }
        let metadata = &self.deployment.metadata;
        let controller = safety::gitops(&metadata.labels, &metadata.annotations);
        if let Some(controller) = controller.filter(|_| changes_it) {
            bail!(
                "{} is managed by {controller}, which would revert what the drill changes; leave \
                 limit and replicas as they are, suspend {controller} for it, or insist by --force",
                self.name()
            );
        }
        Ok(())
    }

    /// The Deployment's pods that are ready, by name.
    pub(super) async fn ready_pods(&self) -> Result<Vec<Pod>> {
        let mut pods = self.pods().await?;
        pods.retain(|pod| observe::is_ready(pod, &self.container));
        Ok(pods)
    }

    /// What selects the Deployment's pods.
    pub(super) fn selector(&self) -> Result<ListParams> {
        let selector = self
            .deployment
            .spec
            .as_ref()
            .map(|spec| spec.selector.clone());
        let selector: Selector = selector
            .unwrap_or_default()
            .try_into()
            .context("the Deployment's selector makes no sense")?;
        Ok(ListParams::default().labels_from(&selector))
    }

    /// All of the Deployment's pods, by name.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>> {
        let list = self.pod_api().list(&self.selector()?).await;
        let mut pods = list.context("cannot list the Deployment's pods")?.items;
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Ok(pods)
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The first of these pods.
    pub(super) fn victim(&self, pods: &[Pod], options: &Options<'_>) -> Result<Victim> {
        let pod = pods.first().and_then(|pod| pod.metadata.name.clone());
        Ok(Victim {
            client: self.client.clone(),
            pods: self.pod_api(),
            namespace: self.namespace.clone(),
            pod: pod.with_context(|| format!("no pod of {} is ready", self.name()))?,
            container: self.container.clone(),
            grower: if options.cluster.exec {
                Grower::Exec
            } else {
                Grower::Service
            },
        })
    }

    /// The probe's pod on that node.
    pub(super) async fn probe_on(&self, node: &str, selector: &str) -> Result<Forward> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let parameters = ListParams::default()
            .labels(selector)
            .fields(&format!("spec.nodeName={node}"));
        let found = pods.list(&parameters).await;
        let mut found = found
            .context("cannot look for oom-probe")?
            .items
            .into_iter();
        let metadata = found.next().map(|pod| pod.metadata).with_context(|| {
            format!(
                "no pod with {selector} on node {node}: install oom-probe, name its pods by \
                 --probe-selector, or go without its record by --probe none"
            )
        })?;
        let namespace = metadata.namespace.context("a pod without a namespace")?;
        Ok(Forward {
            pods: Api::namespaced(self.client.clone(), &namespace),
            pod: metadata.name.context("a pod without a name")?,
            port: PROBE_PORT,
        })
    }

    /// Counts changes of the Deployment's spec.
    pub(super) async fn generation(&self) -> Result<Option<i64>> {
        let deployment = self.deployments.get(&self.deployment_name).await;
        Ok(deployment
            .context("cannot get the Deployment")?
            .metadata
            .generation)
    }

    /// Makes the changes and waits until all pods have them.
    pub(super) async fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        for change in changes {
            eprintln!("hog: {}: {}", self.name(), change.what);
            // Remembered first: undoing what was never done does no harm.
            self.applied.push(change.clone());
            let patched = self.patch(&change.patch).await;
            patched.with_context(|| format!("cannot change {}", self.name()))?;
        }
        let rolled_out = timeout(ROLLOUT, self.until_rolled_out()).await;
        match rolled_out {
            Ok(result) => result,
            Err(_) => bail!(
                "{} has not two replicas ready after {} s",
                self.name(),
                ROLLOUT.as_secs()
            ),
        }
    }

    async fn until_rolled_out(&self) -> Result<()> {
        loop {
            let deployment = self.deployments.get(&self.deployment_name).await?;
            if is_rolled_out(&deployment) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// Puts back what was changed, last change first; what was done.
    pub(super) async fn restore(&mut self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        let mut failed = Vec::new();
        while let Some(change) = self.applied.pop() {
            match self.patch(&change.undo).await {
                Ok(()) => {
                    eprintln!("hog: {}: put back ({})", self.name(), change.what);
                    told.push(format!("{}: {}, put back", self.name(), change.what));
                }
                Err(error) => failed.push(format!(
                    "{} is still changed ({}): {error:#}; put it back by `kubectl patch deployment \
                     -n {} {} --patch '{}'`",
                    self.name(),
                    change.what,
                    self.namespace,
                    self.deployment_name,
                    change.undo
                )),
            }
        }
        if failed.is_empty() {
            Ok(told)
        } else {
            bail!("{}", failed.join("\n"))
        }
    }

    async fn patch(&self, patch: &serde_json::Value) -> Result<()> {
        let parameters = PatchParams {
            field_manager: Some("hog-drill".to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(patch);
        let name = &self.deployment_name;
        self.deployments.patch(name, &parameters, &patch).await?;
        Ok(())
    }
}

fn container<'a>(deployment: &'a Deployment, name: Option<&str>) -> Result<&'a Container> {
    let spec = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = spec.map_or(&[][..], |spec| &spec.containers);
    let found = match name {
        Some(name) => containers.iter().find(|container| container.name == name),
        None => containers.first(),
    };
    found.with_context(|| {
        let names: Vec<_> = containers
            .iter()
            .map(|container| &*container.name)
            .collect();
        format!("it has no such container; it has {}", names.join(", "))
    })
}

/// Every pod is of the newest template and ready, and there are two or more.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let Some(status) = &deployment.status else {
        return false;
    };
    let all = |count: Option<i32>| count.unwrap_or(0) == wanted;
    wanted > 1
        && status.observed_generation >= deployment.metadata.generation
        && all(status.updated_replicas)
        && all(status.ready_replicas)
        && all(status.replicas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rolled_out_is_when_all_pods_are_new_and_ready() {
        for (generation, observed, updated, ready, replicas, done) in [
            (2, 2, 2, 2, 2, true),
            (2, 1, 2, 2, 2, false),
            (2, 2, 1, 2, 2, false),
            (2, 2, 2, 1, 2, false),
            (2, 2, 2, 2, 3, false),
        ] {
            let deployment = serde_json::from_value(json!({
                "metadata": {"generation": generation},
                "spec": {"replicas": 2, "selector": {}, "template": {}},
                "status": {"observedGeneration": observed, "updatedReplicas": updated,
                           "readyReplicas": ready, "replicas": replicas},
            }));
            assert_eq!(is_rolled_out(&deployment.unwrap()), done);
        }
    }
}
