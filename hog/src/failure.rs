//! Failures that were asked for wrongly: exit code 2, as for a bad flag.

/// What was asked for cannot be meant; the message says what to ask instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// 2 for what was asked wrongly, 1 for what went wrong.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_wrong_questions_are_exit_code_2() {
        assert_eq!(exit_code(&Usage("give --max".to_owned()).into()), 2);
        assert_eq!(exit_code(&anyhow!("out of memory")), 1);
    }
}
