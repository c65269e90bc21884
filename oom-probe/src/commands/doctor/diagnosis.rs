//! From facts and plan to what is said about a node. Pure.

use std::fmt;

use serde::Serialize;

use super::checks::{self, Check};
use super::containers::Containers;
use crate::capture::{
    environment::Facts,
    pin::PinDirState,
    plan::{Candidate, Loss, Obstacle, Plan, Tried},
};

/// Everything that is said about a node.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Whether kills can be captured, as far as can be told without loading what captures them.
    pub captures: bool,
    /// The same in a sentence, with the remedy if they can't.
    pub verdict: String,
    /// What was looked at, one line each.
    pub checks: Vec<Check>,
    /// The hooks that kills are captured by, best first.
    pub hooks: Vec<Rung>,
    /// The hooks that tell the memory cgroup that ran out, best first.
    pub contexts: Vec<Rung>,
}

/// A hook and what becomes of it here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// Its name in labels.
    pub name: &'static str,
    /// It in words.
    pub hook: &'static str,
    /// Whether it is tried.
    pub state: State,
    /// Why it is not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What records lack with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Lost>,
}

/// Whether a hook is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is tried first.
    First,
    /// It is tried where the kernel refuses those before it.
    Spare,
    /// It is not tried.
    Refused,
    /// It is for another form of the tracepoint.
    Moot,
}

/// A part that records lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Which.
    pub what: &'static str,
    /// Why, or what takes its place.
    pub why: String,
}

/// Says what facts and plan mean. `tried` tells whether the plan's best hooks were attached.
#[must_use]
pub fn diagnose(
    facts: &Facts,
    plan: &Plan,
    tried: Tried,
    pins: &PinDirState,
    containers: &Containers,
) -> Diagnosis {
    let captures = plan.refusal().is_none();
    let hooks = rungs(&plan.marks, |mark| (mark.as_str(), mark.describe()));
    let contexts = rungs(&plan.contexts, |hook| (hook.as_str(), hook.describe()));
    let verdict = match (plan.refusal(), plan.usable_marks().next()) {
        (None, Some(first)) => format!(
            "OOM kills can be captured here, by {}.",
            first.hook.describe()
        ),
        (Some(obstacle), _) => match obstacle.remedy() {
            Some(remedy) => format!("OOM kills cannot be captured here: {obstacle}; {remedy}."),
            None => format!("OOM kills cannot be captured here: {obstacle}."),
        },
        (None, None) => "OOM kills cannot be captured here.".to_owned(),
    };
    Diagnosis {
        captures,
        verdict,
        checks: checks::all(facts, plan, tried, pins, containers),
        hooks,
        contexts,
    }
}

fn rungs<H: Copy>(
    candidates: &[Candidate<H>],
    names: impl Fn(H) -> (&'static str, &'static str),
) -> Vec<Rung> {
    let mut first = State::First;
    let rung = |candidate: &Candidate<H>| {
        let (name, hook) = names(candidate.hook);
        let Candidate {
            hook: _,
            obstacle,
            losses,
        } = candidate;
        let state = match obstacle {
            Some(Obstacle::OtherForm(_)) => State::Moot,
            Some(_) => State::Refused,
            None => std::mem::replace(&mut first, State::Spare),
        };
        Rung {
            name,
            hook,
            state,
            reason: obstacle.as_ref().map(ToString::to_string),
            remedy: obstacle.as_ref().and_then(Obstacle::remedy),
            losses: losses.iter().map(Lost::from).collect(),
        }
    };
    candidates.iter().map(rung).collect()
}

impl From<&Loss> for Lost {
    fn from(loss: &Loss) -> Self {
        Self {
            what: loss.what,
            why: loss.why.clone(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "tried first",
            Self::Spare => "spare",
            Self::Refused => "not here",
            Self::Moot => "moot",
        })
    }
}
