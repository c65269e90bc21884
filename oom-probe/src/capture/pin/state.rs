//! What can be said of a directory of pins without taking it.

use std::path::{Path, PathBuf};

use super::{
    dir::{self, OpenError, PinDir},
    generation::Generation,
};

/// A directory of pins, looked at from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinDirState {
    /// A daemon captures with it: who, in words.
    Held(PathBuf, String),
    /// Programs are pinned in it, and no daemon runs.
    Left(PathBuf),
    /// Nothing is pinned there yet.
    Free(PathBuf),
    /// Nothing can be pinned there: why, and what helps.
    Unusable(String),
}

impl PinDirState {
    /// Looks at a directory.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        match PinDir::open_existing(path) {
            Err(OpenError::Held(held)) => Self::Held(held.path, held.holder),
            Err(why) => Self::Unusable(why.to_string()),
            Ok(Some(_)) if Generation::all(path).is_ok_and(|all| !all.is_empty()) => {
                Self::Left(path.to_owned())
            }
            Ok(Some(_)) => Self::Free(path.to_owned()),
            Ok(None) => match dir::could_be(path) {
                Ok(()) => Self::Free(path.to_owned()),
                Err(why) => Self::Unusable(why.to_string()),
            },
        }
    }
}
