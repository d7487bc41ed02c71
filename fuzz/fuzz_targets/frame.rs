#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lvm_autoscaler_fuzz::frame::run(data));
