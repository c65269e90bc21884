//! The pods of a node, from an API server's answers to attributed kills: everything but the kernel.
//!
//! The API server is scripted but real: HTTP on loopback, with all the ways in which it can fail.

mod cases;
mod clock;
mod endless;
mod events;
mod failing;
mod hostile;
mod names;
pub(crate) mod node;
mod shapes;
mod watching;

use crate::apiserver;
