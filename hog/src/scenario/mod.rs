//! The scenarios: whole pods that run out of memory, each in its own way.
//!
//! `hog --list` explains them, `deploy/hog/NAME.yaml` runs them in a cluster, `cargo xtask hog NAME`
//! in plain cgroups. This table is what all three go by; a test holds the manifests against it.

mod stage;
mod table;

pub use stage::Stage;
pub use table::ALL;

/// A pod that runs out of memory, and what that teaches.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line, and that of its manifest.
    pub name: &'static str,
    /// What it does.
    pub happens: &'static str,
    /// Who dies, and where that shows.
    pub shows: &'static str,
    /// What a cluster has to have for it, besides what any has.
    pub needs: &'static str,
    /// The limit of the pod's own cgroup in bytes, where it is the one that is hit.
    pub pod_limit: Option<u64>,
    /// Its containers; init containers first.
    pub containers: &'static [Container],
}

/// One container of a [`Scenario`].
#[derive(Debug)]
pub struct Container {
    /// Its name in the manifest.
    pub name: &'static str,
    /// Its memory limit in bytes.
    pub limit: Option<u64>,
    /// Arguments for hog.
    pub arguments: &'static [&'static str],
    /// Environment for hog: what one may want to vary.
    pub environment: &'static [(&'static str, &'static str)],
    /// How often it is started without a cluster before the scenario counts as over; a kubelet
    /// starts it again and again.
    pub starts: u32,
}

/// The scenario of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
