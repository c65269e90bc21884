//! Messages for whoever looks into the programs, with the feature `log`: through a ring of their
//! own into the daemon's log. Without the feature they are no code at all.

/// What happens each time.
macro_rules! debug {
    ($($message:tt)+) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!((), $($message)+);
    };
}

/// What should not happen.
macro_rules! warning {
    ($($message:tt)+) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::warn!((), $($message)+);
    };
}

pub(crate) use {debug, warning};
