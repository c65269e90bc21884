//! The closed sets of oom-probe's contract, each with its one spelling.

/// Declares an enum whose variants are label values, JSON values and words of the log at once.
#[macro_export]
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $label)] $variant,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value as it stands in labels, JSON and the log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        $crate::label_value!($name);
    };
}

/// Lets an enum be the value of a label, where that is wanted.
#[cfg(feature = "prometheus-client")]
#[doc(hidden)]
#[macro_export]
macro_rules! label_value {
    ($name:ident) => {
        impl $crate::prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut $crate::prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> std::fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}

/// Nothing is wanted.
#[cfg(not(feature = "prometheus-client"))]
#[doc(hidden)]
#[macro_export]
macro_rules! label_value {
    ($name:ident) => {};
}

pub use closed_set;

closed_set! {
    /// How a process came to be killed by an OOM event.
    Role {
        /// The victim that the kernel chose.
        Primary = "primary",
        /// Killed because of `memory.oom.group`.
        Group = "group",
        /// Killed because it shares the victim's mm.
        SharedMm = "shared_mm",
    }
}

closed_set! {
    /// Where the memory cgroup sits whose limit was hit, seen from the victim.
    Limit {
        /// The victim's container, or a cgroup inside it.
        Container = "container",
        /// The victim's pod.
        Pod = "pod",
        /// Above the pod, or any limit above the unit of a process outside Kubernetes.
        Ancestor = "ancestor",
        /// The whole machine.
        Node = "node",
        /// The memory nodes that a cpuset allows.
        Cpuset = "cpuset",
        /// The memory nodes that a memory policy allows.
        Mempolicy = "mempolicy",
        /// Not known.
        Unknown = "unknown",
    }
}

closed_set! {
    /// What a kill's `limit` rests on.
    LimitSource {
        /// The kernel's own `oom_control`.
        Kernel = "kernel",
        /// The topmost ancestor whose `mem_cgroup.oom_lock` was set.
        OomLock = "oom_lock",
        /// The lowest ancestor whose usage had reached its limit.
        Inferred = "inferred",
    }
}

closed_set! {
    /// Why the OOM killer ran.
    Cause {
        /// An allocation did not fit.
        Charge = "charge",
        /// A limit was lowered below the usage.
        LimitLowered = "limit_lowered",
        /// Somebody asked for it by the SysRq key or `/proc/sysrq-trigger`.
        Sysrq = "sysrq",
    }
}

closed_set! {
    /// `enum oom_constraint` of include/linux/oom.h.
    Constraint {
        /// `CONSTRAINT_NONE`.
        None = "none",
        /// `CONSTRAINT_CPUSET`.
        Cpuset = "cpuset",
        /// `CONSTRAINT_MEMORY_POLICY`.
        MemoryPolicy = "memory_policy",
        /// `CONSTRAINT_MEMCG`.
        Memcg = "memcg",
    }
}

closed_set! {
    /// What the victim was in its container.
    VictimKind {
        /// The container's first process: the container dies with it.
        Init = "init",
        /// Any other process.
        Child = "child",
        /// Cannot be told: shared PID namespace, hostPID, exec.
        Unknown = "unknown",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the variants come from a macro that has no place for #[default]"
)]
impl Default for VictimKind {
    fn default() -> Self {
        Self::Unknown
    }
}

closed_set! {
    /// Whose kill it is.
    Scope {
        /// A pod of this node.
        Pod = "pod",
        /// A process of the node outside Kubernetes.
        Host = "host",
        /// Another node on the same kernel (kind, k3d).
        OtherNode = "other_node",
        /// Not known: its record was dropped, or its cgroup could not be read.
        Unknown = "unknown",
    }
}

closed_set! {
    /// How a kill came to its pod.
    Attribution {
        /// By a pod that was known when the kill was read.
        Live = "live",
        /// By a pod or container that was gone already.
        Tombstone = "tombstone",
        /// By a status that arrived after the kill.
        Late = "late",
        /// It happened outside Kubernetes.
        Host = "host",
        /// Found from the cgroups' own counters after a time without hooks.
        Recovered = "recovered",
        /// The pod is not known; the cgroup path is all there is.
        Unresolved = "unresolved",
    }
}

closed_set! {
    /// What became of the container in an OOM event.
    Outcome {
        /// It lives on: nothing else in the cluster shows such an event.
        Survived = "survived",
        /// It ended with the event.
        Died = "died",
    }
}
