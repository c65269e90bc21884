//! Messages that are worth a line once, however often there is cause for them.

use std::time::{Duration, Instant};

/// The same message is worth another line after this time.
const AGAIN: Duration = Duration::from_secs(600);

/// Remembers the last message.
#[derive(Debug, Default)]
pub struct Repeats {
    last: Option<(String, Instant)>,
}

impl Repeats {
    /// Whether the message differs from the last one that was, or that was ten minutes ago.
    pub fn is_news(&mut self, message: &str, now: Instant) -> bool {
        let is_known = self.last.as_ref().is_some_and(|(last, at)| {
            last == message && now.saturating_duration_since(*at) < AGAIN
        });
        if !is_known {
            self.last = Some((message.to_owned(), now));
        }
        !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_news_when_it_is_another_or_ten_minutes_later() {
        let mut repeats = Repeats::default();
        let began = Instant::now();
        for (message, seconds, expected) in [
            ("a", 0, true),
            ("a", 599, false),
            ("b", 599, true),
            ("a", 599, true),
            ("a", 1198, false),
            ("a", 1199, true),
        ] {
            let now = began + Duration::from_secs(seconds);
            assert_eq!(
                repeats.is_news(message, now),
                expected,
                "{message} {seconds}"
            );
        }
    }
}
