//! Why an offset is absent.

use crate::capture::btf::Malformed;

/// Why an offset is absent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("BTF has no struct {0}")]
    NoStruct(&'static str),
    #[error("BTF has {1} structs {0}")]
    Ambiguous(&'static str, usize),
    #[error("struct {owner} has no {member}")]
    NoMember { owner: String, member: String },
    #[error("{0} is no struct")]
    NoComposite(String),
    #[error("{0} is no pointer to a struct")]
    NoPointer(String),
    #[error("{0} is no array")]
    NoArray(String),
    #[error("enum {0} has no {1}")]
    NoEnumerator(&'static str, String),
    #[error("{path} is {found}, expected {expected}")]
    Unexpected {
        path: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its offset is not below 2^31")]
    TooFar,
}
