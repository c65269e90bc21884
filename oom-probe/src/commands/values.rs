//! The values that flags take, with what `--help` says of them.

use clap::{ValueEnum, builder::PossibleValue};

use crate::{
    kube::client,
    oom_group::Tell,
    sinks::{kube_events, log},
};

macro_rules! values {
    ($($type:ty { $($variant:ident = $name:literal, $help:literal;)* })*) => {
        $(impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),*]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(Self::$variant => PossibleValue::new($name).help($help),)*
                })
            }
        })*
    };
}

values! {
    client::Mode {
        Auto = "auto", "If this is a pod, or `KUBECONFIG` names a cluster";
        On = "on", "Always: refuse to start without a cluster";
        Off = "off", "Never: kills are named by their cgroup paths";
    }
    kube_events::Mode {
        All = "all", "One for each OOM event in a container";
        Survived = "survived", "Only where the container survived";
        None = "none", "None";
    }
    log::Format {
        Text = "text", "One line that a person can read, in local time";
        Json = "json", "The kill record as the API serves it";
        None = "none", "No line at all";
    }
    Tell {
        All = "all", "Each container that is set or put back, each annotation that is not followed";
        None = "none", "None";
    }
}
