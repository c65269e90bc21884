//! The rungs of the ladder: a hook, what stands against it, what it costs.

use super::obstacle::Obstacle;

/// A rung of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<H> {
    /// What to load.
    pub hook: H,
    /// Why it is no use trying, if so.
    pub obstacle: Option<Obstacle>,
    /// What records lack on this rung.
    pub losses: Vec<Loss>,
}

/// A part of a record that will be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which part.
    pub what: &'static str,
    /// Why, or what takes its place.
    pub why: String,
}
