# The project's commands. Each does all its own set-up on a fresh Debian machine with a Rust toolchain.
#
#   make demo            the main job in a throw-away virtual machine; KEEP=1 leaves it up
#   make test            everything; with REQUIRE_ALL=1 what cannot run here is a failure, not a skip
#   make quick           what needs neither root nor network and is done in two minutes once it is built
#   make soak            the long proofs in full, as a table; SOAK=name for some of them
#   make check           format, lints, documents, dependencies, shipped rules and configs
#   make vm-test         the virtual-machine suite alone; FILTER=name for some of it
#   make drills          docs/drills.md, rehearsed in the virtual machine, each with its timeline
#   make package         static program, .deb, .rpm, man pages and completions, into target/package
#   make bench           what a scrape costs beside a report of LVM, a storm of alerts, a growth beside bare commands
#   make tuning          docs/lvm/tuning.md, measured on throttled disks in the virtual machine; a quarter of an hour

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test quick soak vm-test drills package bench tuning check fmt clippy docs deny shipped

help:
	@sed -n 's/^#   //p' Makefile

demo:
	tests/vm/demo.sh

test:
	tests/all.sh

# Without the edges, whose attacks and deadlines take most of the time of `make test`.
quick:
	cargo test --locked --lib --test engine --test shipped

soak:
	SOAK='$(SOAK)' tests/soak.sh

vm-test:
	tests/vm/run.sh $(FILTER)

drills:
	tests/scenes/run.sh drills

package:
	packaging/build.sh

bench:
	tests/bench/run.sh
	tests/bench/storm.sh
	tests/bench/overhead.sh

tuning:
	tests/bench/layouts.sh

check: fmt clippy docs deny shipped

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	@# What is written from the code, and links, commands, paths, metrics and configs in all documents.
	cargo test --locked --quiet --test shipped -- docs:: links:: configs::

deny:
	.ci/tool cargo-deny 0.20.2
	cargo deny --locked check bans licenses sources
	@# Its database is fetched from the network; without one the other checks still count.
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo "SKIPPED: cargo deny check advisories (the advisory database cannot be reached)"; fi

shipped:
	tests/shipped.sh
