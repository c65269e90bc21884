//! A 403: a missing role, or an API server that has just started and does not know the roles yet.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;

/// What the role allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

/// What was allowed and refused so far.
#[derive(Debug, Default)]
pub(super) struct Roles {
    listed: bool,
    watched: bool,
    /// The refusals since the last request that was allowed.
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    since: Instant,
    /// It was allowed before, or the API server was away just before.
    may_pass: bool,
}

impl Roles {
    /// A request was allowed.
    pub(super) fn allowed(&mut self, verb: Verb) {
        match verb {
            Verb::List => self.listed = true,
            Verb::Watch => self.watched = true,
        }
        self.refused = None;
    }

    /// Tells the 403 of an API server that has just started from that of a missing role. `failures`
    /// are those in a row before this one.
    ///
    /// The authorizer reads roles and bindings after the server has begun to answer
    /// (`plugin/pkg/auth/authorizer/rbac`, whose informers start with all others).
    pub(super) fn judge(
        &mut self,
        failure: Failure,
        verb: Verb,
        failures: u32,
        own_start: Duration,
    ) -> Failure {
        let Failure::Forbidden(message) = failure else {
            self.refused = None;
            return failure;
        };
        let known = match verb {
            Verb::List => self.listed,
            Verb::Watch => self.watched,
        };
        let refused = *self.refused.get_or_insert_with(|| Refused {
            since: Instant::now(),
            may_pass: known || failures > 0,
        });
        if refused.may_pass && refused.since.elapsed() < own_start {
            Failure::NotYetAllowed(message)
        } else {
            Failure::Forbidden(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN_START: Duration = Duration::from_secs(60);

    fn forbidden() -> Failure {
        Failure::Forbidden(String::new())
    }

    /// Whether a 403 is told as a missing role.
    fn is_missing(roles: &mut Roles, verb: Verb, failures: u32) -> bool {
        let failure = roles.judge(forbidden(), verb, failures, OWN_START);
        matches!(failure, Failure::Forbidden(_))
    }

    #[test]
    fn a_role_that_never_allowed_it_is_missing() {
        let mut roles = Roles::default();
        assert!(is_missing(&mut roles, Verb::List, 0));
        assert!(
            is_missing(&mut roles, Verb::List, 1),
            "no outage came first"
        );
        let mut roles = Roles::default();
        roles.allowed(Verb::List);
        assert!(is_missing(&mut roles, Verb::Watch, 0));
    }

    #[test]
    fn what_was_allowed_before_may_be_allowed_again() {
        let mut roles = Roles::default();
        roles.allowed(Verb::Watch);
        assert!(!is_missing(&mut roles, Verb::Watch, 0));
        assert!(is_missing(&mut Roles::default(), Verb::Watch, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_outage_it_is_waited_for_but_not_for_ever() {
        let mut roles = Roles::default();
        let away = Failure::Unreachable(String::new());
        let away = roles.judge(away, Verb::List, 0, OWN_START);
        assert!(matches!(away, Failure::Unreachable(_)));
        assert!(!is_missing(&mut roles, Verb::List, 1));
        tokio::time::advance(OWN_START / 2).await;
        assert!(!is_missing(&mut roles, Verb::List, 2));
        tokio::time::advance(OWN_START / 2).await;
        assert!(is_missing(&mut roles, Verb::List, 3));
        // It goes away and comes back once more.
        let away = Failure::Unreachable(String::new());
        roles.judge(away, Verb::List, 4, OWN_START);
        assert!(!is_missing(&mut roles, Verb::List, 5));
    }
}
