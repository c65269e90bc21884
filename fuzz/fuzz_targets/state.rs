#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oom_probe::fuzz::run("state", input));
