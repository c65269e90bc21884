//! The work of one step alone, for who counts its instructions, which are the same on a busy machine:
//!
//!     valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' \
//!       target/release/deps/instructions-… decode 1000
//!
//! `cargo xtask bench` does that for each step. Without a step it does each once, and shows that
//! they work.

mod items;

use std::hint::black_box;

fn main() {
    // cargo adds `--bench`, and `--test` for a test.
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    match arguments.as_slice() {
        [] => {
            for (name, make_ready) in items::STEPS {
                measured(&mut make_ready(1));
                println!("{name}");
            }
        }
        [step, count] => {
            let found = items::STEPS.iter().find(|(name, _)| name == step);
            let (_, make_ready) = found.expect("it is one of the steps");
            measured(&mut make_ready(count.parse().expect("it is a number")));
        }
        _ => panic!("say: instructions [STEP COUNT]"),
    }
}

/// What is counted; making ready and tidying up are not.
#[inline(never)]
fn measured(work: &mut items::Work) {
    black_box(work)();
}
