//! Where the API server is, and as whom to talk to it.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// `--kubernetes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// If this is a pod, or `KUBECONFIG` names a cluster
    #[default]
    Auto,
    /// Always: refuse to start without a cluster
    On,
    /// Never: kills are named by their cgroup paths
    Off,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Asked for, but nothing says where.
    #[error(
        "--kubernetes on: this is no pod and KUBECONFIG is not set; run as a pod or name a kubeconfig there"
    )]
    NoCluster,
    /// The service account is not complete.
    #[error("cannot use this pod's service account: {0}; is automountServiceAccountToken set?")]
    InCluster(#[from] InClusterError),
    /// The kubeconfig is not usable.
    #[error("cannot use KUBECONFIG={}: {cause}", path.display())]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        cause: Box<KubeconfigError>,
    },
    /// TLS or credentials are not usable.
    #[error("cannot set up the connection to the API server: {0}")]
    Client(Box<kube::Error>),
    /// A node's name is a DNS name, and becomes part of a query.
    #[error("{0:?} is no node name; `kubectl get nodes` shows them")]
    NodeName(String),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is no cluster.
    Nowhere,
    /// This is a pod. Where its cluster was not demanded, a pod without a token goes on alone.
    InCluster {
        /// `--kubernetes on`.
        demanded: bool,
    },
    /// A kubeconfig.
    Kubeconfig(PathBuf),
}

impl Source {
    /// The cluster that this node belongs to.
    ///
    /// A kubeconfig has to be named by `KUBECONFIG`: a daemon that runs as root must not act as
    /// whoever has one in root's home.
    ///
    /// # Errors
    /// When a cluster is demanded and there is none.
    pub fn from_environment(mode: Mode) -> Result<Self, ConnectError> {
        source(
            mode,
            std::env::var_os("KUBECONFIG").as_deref(),
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        )
    }

    /// A client for the pods of `node`; none where there is no cluster. To be called on the
    /// runtime.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub async fn client(self, node: &str) -> Result<Option<Client>, ConnectError> {
        let mut config = match self {
            Self::Nowhere => return Ok(None),
            Self::InCluster { demanded } => match Config::incluster() {
                Ok(config) => config,
                Err(error) if demanded => return Err(error.into()),
                Err(error) => {
                    let error = ConnectError::from(error);
                    tracing::warn!("kills are named by their cgroup paths alone: {error}");
                    return Ok(None);
                }
            },
            Self::Kubeconfig(path) => kubeconfig(&path).await.map_err(|cause| {
                let cause = Box::new(cause);
                ConnectError::Kubeconfig { path, cause }
            })?,
        };
        check_node_name(node)?;
        config.connect_timeout = Some(CONNECT_WITHIN);
        // The watch and the Events have each their own way to try again.
        config.default_retry = false;
        let client = Client::try_from(config);
        client
            .map(Some)
            .map_err(|error| ConnectError::Client(Box::new(error)))
    }
}

async fn kubeconfig(path: &std::path::Path) -> Result<Config, KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}

fn source(
    mode: Mode,
    kubeconfig: Option<&OsStr>,
    in_cluster: bool,
) -> Result<Source, ConnectError> {
    match (mode, kubeconfig.filter(|path| !path.is_empty())) {
        (Mode::Off, _) => Ok(Source::Nowhere),
        (_, Some(path)) => Ok(Source::Kubeconfig(path.into())),
        (mode, None) if in_cluster => Ok(Source::InCluster {
            demanded: mode == Mode::On,
        }),
        (Mode::Auto, None) => Ok(Source::Nowhere),
        (Mode::On, None) => Err(ConnectError::NoCluster),
    }
}

/// RFC 1123, as `k8s.io/apimachinery/pkg/util/validation` has it.
fn check_node_name(node: &str) -> Result<(), ConnectError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |byte: &u8| allowed(*byte) || *byte == b'-';
        bytes.iter().all(inner)
            && bytes.first().is_some_and(|byte| allowed(*byte))
            && bytes.last().is_some_and(|byte| allowed(*byte))
    };
    if node.len() <= 253 && node.split('.').all(label) {
        Ok(())
    } else {
        Err(ConnectError::NodeName(node.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_used_where_there_is_one_and_demanded_only_if_asked_for() {
        let kubeconfig = || Some(OsStr::new("/k"));
        let pod = |demanded| Source::InCluster { demanded };
        let file = || Some(Source::Kubeconfig("/k".into()));
        for (mode, path, in_cluster, expected) in [
            (Mode::Auto, None, false, Some(Source::Nowhere)),
            (Mode::Auto, None, true, Some(pod(false))),
            (Mode::Auto, kubeconfig(), true, file()),
            (Mode::Auto, Some(OsStr::new("")), true, Some(pod(false))),
            (Mode::On, None, false, None),
            (Mode::On, None, true, Some(pod(true))),
            (Mode::On, kubeconfig(), false, file()),
            (Mode::Off, kubeconfig(), true, Some(Source::Nowhere)),
        ] {
            assert_eq!(
                source(mode, path, in_cluster).ok(),
                expected,
                "{mode:?} {path:?} {in_cluster}"
            );
        }
    }

    #[test]
    fn only_a_dns_name_goes_into_the_query() {
        let long = "a".repeat(254);
        for (name, good) in [
            ("node-1", true),
            ("ip-10-0-0-1.eu-central-1.compute.internal", true),
            ("1", true),
            ("", false),
            ("Node-1", false),
            ("-node", false),
            ("node-", false),
            ("a..b", false),
            ("a,spec.nodeName!=a", false),
            ("a&limit=0", false),
            (&long, false),
        ] {
            assert_eq!(check_node_name(name).is_ok(), good, "{name}");
        }
    }

    #[tokio::test]
    async fn a_pod_without_a_token_goes_on_alone_unless_its_cluster_is_demanded() {
        // No test runs in a pod.
        let client = |demanded| Source::InCluster { demanded }.client("node-1");
        assert!(client(false).await.unwrap().is_none());
        let error = client(true).await.err().unwrap().to_string();
        assert!(
            error.starts_with("cannot use this pod's service account"),
            "{error}"
        );
        assert!(!error.contains('\n'));
    }
}
