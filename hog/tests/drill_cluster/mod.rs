//! `hog drill` in a cluster, against the scripted API server with a small shop behind it.

mod drills;
mod shop;
mod sockets;
