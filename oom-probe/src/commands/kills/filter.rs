//! Which kills are wanted, by what Kubernetes calls their container.

use capture::model::kill::Record;

/// What a kill has to match; what is not given matches all.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Only pods of this namespace
    #[arg(short, long)]
    pub namespace: Option<String>,

    /// Only the pod of this name
    #[arg(long)]
    pub pod: Option<String>,

    /// Only containers of this name
    #[arg(long)]
    pub container: Option<String>,

    /// Only pods of this workload: NAME or KIND/NAME (deployment/cart)
    #[arg(long)]
    pub workload: Option<String>,
}

impl Filter {
    /// Whether nothing is filtered out.
    pub const fn is_empty(&self) -> bool {
        let Self {
            namespace,
            pod,
            container,
            workload,
        } = self;
        namespace.is_none() && pod.is_none() && container.is_none() && workload.is_none()
    }

    /// Whether `record` is wanted.
    pub fn admits(&self, record: &Record) -> bool {
        let pod = record.pod.as_ref();
        let workload = pod.and_then(|pod| pod.workload.as_ref());
        let same = |wanted: &Option<String>, found: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == found
        };
        same(&self.namespace, pod.and_then(|pod| pod.namespace.as_ref()))
            && same(&self.pod, pod.and_then(|pod| pod.name.as_ref()))
            && same(&self.container, pod.and_then(|pod| pod.container.as_ref()))
            && self.workload.as_deref().is_none_or(|wanted| {
                workload.is_some_and(|workload| match wanted.split_once('/') {
                    Some((kind, name)) => {
                        kind.eq_ignore_ascii_case(&workload.kind) && name == workload.name
                    }
                    None => wanted == workload.name,
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::fixture;

    fn filter(namespace: &str, pod: &str, container: &str, workload: &str) -> Filter {
        let given = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        Filter {
            namespace: given(namespace),
            pod: given(pod),
            container: given(container),
            workload: given(workload),
        }
    }

    #[test]
    fn everything_that_is_given_has_to_match() {
        let (pod_kill, host_kill) = (fixture::pod_child(), fixture::host_unit());
        for (namespace, pod, container, workload, admitted) in [
            ("", "", "", "", true),
            ("shop", "", "", "", true),
            ("sho", "", "", "", false),
            ("", "cart-7d9f8b6c5d-x2x9z", "", "", true),
            ("", "cart", "", "", false),
            ("", "", "app", "", true),
            ("", "", "sidecar", "", false),
            ("", "", "", "cart", true),
            ("", "", "", "deployment/cart", true),
            ("", "", "", "Deployment/cart", true),
            ("", "", "", "statefulset/cart", false),
            ("", "", "", "deployment/", false),
            ("shop", "cart-7d9f8b6c5d-x2x9z", "app", "cart", true),
            ("shop", "cart-7d9f8b6c5d-x2x9z", "sidecar", "cart", false),
        ] {
            let filter = filter(namespace, pod, container, workload);
            assert_eq!(filter.admits(&pod_kill), admitted, "{filter:?}");
            assert_eq!(filter.admits(&host_kill), filter.is_empty(), "{filter:?}");
        }
    }
}
