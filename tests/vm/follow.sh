# shellcheck shell=bash
# Sourced by what runs documents in the virtual machine.

# follow DOCUMENT NAME: runs the block after the line `<!-- run: NAME -->`, as it stands there. What the document may
# take from the situation (a path, a name) is exported before.
follow() {
    local block
    block=$(mktemp)
    awk -v marker="<!-- run: $2 -->" '$0 == marker { at = 1; next }
        /^```/ && at == 2 { exit }
        /^```sh/ && at == 1 { at = 2; next }
        at == 2' "$1" >"$block"
    if [[ ! -s $block ]]; then
        echo "$1 has no block named $2" >&2
        return 1
    fi
    sed 's/^/    $ /' "$block"
    bash -euo pipefail "$block" 2>&1 | sed 's/^/      /'
    return "${PIPESTATUS[0]}"
}
