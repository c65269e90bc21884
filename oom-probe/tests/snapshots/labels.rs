//! The values of labels and of records' fields that are closed sets.

use std::fmt::Write;

use capture::model::{
    container::Runtime,
    labels::{
        Attribution, Cause, Constraint, Limit, LimitSource, Outcome, Role, Scope, VictimKind,
    },
    pod::Qos,
};
use oom_probe::oom_group::{annotation::Setting, metrics::Reason};

use super::hold;

macro_rules! values {
    ($($set:ident)+) => {
        [$((stringify!($set), $set::ALL.iter().map(|at| at.as_str()).collect::<Vec<_>>())),+]
    };
}

#[test]
fn label_values() {
    let mut text = String::new();
    let sets = values!(
        Attribution Cause Constraint Limit LimitSource Outcome Qos Reason Role Runtime Scope
        Setting VictimKind
    );
    for (set, values) in sets {
        writeln!(text, "{set}: {}", values.join(", ")).unwrap();
    }
    hold("labels.txt", &text);
}
