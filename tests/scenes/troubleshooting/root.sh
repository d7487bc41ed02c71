# shellcheck shell=bash
follow troubleshooting.md root-see
