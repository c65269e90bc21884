//! Whose a kill is, and what became of the container.

pub mod tracker;
pub mod change;
pub mod attributor;
mod answer;
mod pending;
mod victim;
pub mod recovered;
pub mod outcome;

#[cfg(test)]
pub(crate) mod fixture;
