//! What an image is called: as people write it, and as runtimes store it.

/// A repository and a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    repository: String,
    tag: String,
}

impl Reference {
    pub(crate) fn new(repository: impl Into<String>, tag: impl Into<String>) -> Self {
        Self {
            repository: repository.into(),
            tag: tag.into(),
        }
    }

    /// `oom-probe:0.1.0`, which `docker` and manifests use.
    pub(crate) fn familiar(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// With what a repository without a host stands for: containerd and the kubelet look images up
    /// by nothing shorter (`ParseNormalizedNamed` of the distribution project).
    pub(crate) fn full(&self) -> String {
        let familiar = self.familiar();
        match self.repository.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => familiar,
            Some(_) => format!("docker.io/{familiar}"),
            None => format!("docker.io/library/{familiar}"),
        }
    }

    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_without_a_host_is_completed_as_runtimes_do() {
        let cases = [
            ("oom-probe", "docker.io/library/oom-probe:1"),
            ("me/oom-probe", "docker.io/me/oom-probe:1"),
            (
                "registry.example.com/me/oom-probe",
                "registry.example.com/me/oom-probe:1",
            ),
            ("localhost/oom-probe", "localhost/oom-probe:1"),
            ("registry:5000/oom-probe", "registry:5000/oom-probe:1"),
        ];
        for (repository, full) in cases {
            let reference = Reference::new(repository, "1");
            assert_eq!(reference.familiar(), format!("{repository}:1"));
            assert_eq!(reference.full(), full);
        }
    }
}
