#!/bin/bash
# What `make bench` runs in the middle: what answering a storm of alerts costs (tests/storm.rs) while the journal is brought to
# a real disk, with the release binary. Writes its part of docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo test --release --locked --test storm --no-run
said=$(cargo test --release --locked --test storm -- --nocapture --test-threads=1 2>&1) || { echo "$said"; exit 1; }
rows=$(sed -nE 's/.*figures: //p' <<<"$said")
echo "$rows"
(($(grep -c '^|' <<<"$rows") == 2)) || { echo "two rows were expected"; exit 1; }

page=docs/performance.md
before=$(sed '/^## A storm/,$d; /^## An operation/,$d' "$page")
after=$(sed -n '/^## An operation/,$p' "$page")
cat >"$page" <<PAGE
$before

## A storm of alerts

10,000 alerts for 1,000 volumes in 200 requests over 20 connections at once, each request of 50 alerts. Every answer of 202
means that what was accepted is on disk: one fsync brings everything that came meanwhile. Beyond the bound of the queue
the answer is 503 and the request comes again, after 100 ms here. Nothing is lost, and each volume is decided about as often as it was accepted.

| queue | answered 202 after | 503, came again | p50 | p99 | slowest | memory before | at the most |
|--:|--:|--:|--:|--:|--:|--:|--:|
$rows

The clients share the machine's two cores with the daemon, and a request waits for those before it: this is the time under
full load, not that of one alert.

$after
PAGE
