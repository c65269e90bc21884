//! Whose a kill is, and what became of the container.

mod answer;
pub mod attributor;
#[cfg(test)]
pub(crate) mod fixture;
pub mod outcome;
mod pending;
pub mod tracker;
mod victim;
