//! Memory cgroups made for one purpose and gone afterwards, on cgroup v1, hybrid and v2.
//!
//! ```no_run
//! use std::process::Command;
//! use hog::cgroup::{Cgroup, Hierarchy};
//!
//! let hierarchy = Hierarchy::detect()?;
//! let cgroup = Cgroup::create(&hierarchy, "demo/leaf")?;
//! cgroup.set_limit(32 << 20)?;
//! let mut hog = Command::new("hog");
//! hog.args(["grow", "--interval", "0"]);
//! let status = cgroup.spawn(hog)?.wait();
//! println!("{status:?}, {} kills", cgroup.oom_kill_count()?);
//! cgroup.remove()?;
//! # Ok::<(), hog::cgroup::Error>(())
//! ```

pub mod control;
mod error;
mod group;
mod hierarchy;
mod removal;

pub use error::Error;
pub use group::Cgroup;
pub use hierarchy::{Hierarchy, Version};
pub use removal::remove_tree;
