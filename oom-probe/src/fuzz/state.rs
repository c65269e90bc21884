//! Files of `--state-dir`, as a full disk, a lost machine or another version leaves them.

use crate::journal::{
    entry::{Unreadable, check},
    frame,
};

/// Input: a file as it is; or, behind a `#`, its lines without lengths and checksums, which no
/// mutation makes right.
pub(super) fn run(input: &[u8]) {
    let Some(lines) = input.strip_prefix(b"#") else {
        return checked(input);
    };
    let mut file = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        frame::push(&mut file, line);
    }
    assert_ne!(check(&file), Err(Unreadable::Incomplete));
    checked(&file);
    // Cut off within the last line.
    file.pop();
    assert!(check(&file).is_err(), "what is torn is not whole");
}

fn checked(file: &[u8]) {
    if let Err(why) = check(file) {
        super::assert_one_line(&why.to_string());
    }
}
