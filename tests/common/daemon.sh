# shellcheck shell=bash
# Sourced from the project's folder: builds the daemon, and $daemon is where it is.
# With a test, or what it needs would be built twice, with other features.
cargo test --quiet --locked --no-run --test shipped
daemon=$(realpath "${CARGO_TARGET_DIR:-target}/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}debug/lvm-autoscaler")
