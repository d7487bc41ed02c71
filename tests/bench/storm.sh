#!/bin/bash
# What `make bench` runs in the middle: what answering a storm of alerts costs (tests/edge/storm.rs) while the journal
# is brought to a real disk, with the release binary. Writes its part of docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo test --release --locked --test edge storm:: --no-run
said=$(cargo test --release --locked --test edge storm:: -- --nocapture --test-threads=1 2>&1) || { echo "$said"; exit 1; }
rows=$(sed -nE 's/.*figures: \|/|/p' <<<"$said")
echo "$rows"
(($(grep -c '^|' <<<"$rows") == 2)) || { echo "two rows were expected"; exit 1; }

page=docs/performance.md
before=$(sed '/^## A storm/,$d; /^## An operation/,$d' "$page")
after=$(sed -n '/^## An operation/,$p' "$page")
cat >"$page" <<PAGE
$before

## A storm of alerts

10,000 alerts for 1,000 volumes in 200 requests over 20 connections at once, each request of 50 alerts. A 202
means that the accepted alerts are on disk; one fsync covers all requests that arrived meanwhile. If the queue is full
the answer is 503, and the client retries, here after 100 ms. No alert is lost, and there is one decision for each accepted request.

| queue | all answered 202 after | 503 and retried | p50 | p99 | slowest | memory before | maximum |
|--:|--:|--:|--:|--:|--:|--:|--:|
$rows

The clients share the machine's two cores with the daemon, and a request waits for those before it. The times are those under
full load, not those of one alert.

$after
PAGE
