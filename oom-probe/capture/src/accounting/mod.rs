//! What is known of kills, against the counts of the kernel.

pub mod checkpoint;
pub mod counters;
pub mod reconciler;
pub mod signal_loss;
pub mod tally;
