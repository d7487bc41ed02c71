#!/bin/bash
# Runs what a document promises, in the virtual machine, each scene with its timeline:
#
#   run.sh [--suite SUITE] drills [NAME...]             docs/drills.md (make drills)
#   run.sh [--suite SUITE] troubleshooting [NAME...]    docs/lvm/troubleshooting.md
#
# A scene is a file in the folder of that name. It makes a situation, follows the document's own commands, and looks
# whether volumes and data are as promised. scene.sh is what they all stand on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
options=(--timeout 1500)
if [[ ${1:-} == --suite ]]; then
    options+=("$1" "$2")
    shift 2
fi
document=${1:?expected drills or troubleshooting}
shift
case $document in
drills) page=docs/drills.md ;;
troubleshooting) page=docs/lvm/troubleshooting.md ;;
*) echo "no such document: $document; expected drills or troubleshooting" >&2 && exit 2 ;;
esac
# shellcheck source=tests/vm/build.sh
. tests/vm/build.sh
build_daemon "$document"
rm -rf "$share/scenes"
cp -r "$here/$document" "$share/scenes"
cp "$here/scene.sh" "$here/guest.sh" tests/vm/follow.sh "$page" "$share/"
exec tests/vm/rig.sh run "${options[@]}" "$share" ./guest.sh "$@"
