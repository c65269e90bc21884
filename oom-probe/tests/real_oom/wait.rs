//! Waiting for a fact, however long a busy machine takes for it.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes as long, on an emulated machine beside other work either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Waits until a state is as wanted; panics with the last one if that does not come.
pub(crate) fn until<T: Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "never: {what}, but {seen:?}");
        thread::sleep(PAUSE);
    }
}

/// Waits until something is so; panics with what `state` tells if that does not come.
pub(crate) fn until_so(
    what: &str,
    mut is_so: impl FnMut() -> bool,
    state: impl FnOnce() -> String,
) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            panic!("never: {what}\n{}", state());
        }
        thread::sleep(PAUSE);
    }
}
