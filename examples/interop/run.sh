#!/usr/bin/env bash
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of this directory with Python on the other side. Where Debian's
# packages are missing, it installs them if it is root and CI=true; else it
# leaves the tests out, saying why. INTEROP_REQUIRED=1 makes that a failure.
# Arguments go to go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Debian's packages are for Debian's Python, whichever else is first in PATH.
PYTHON="${PYTHON:-/usr/bin/python3}"
PACKAGES=(python3-grpcio python3-grpc-tools)

skip() {
	echo "interop: skipped: $*" >&2
	[[ -z "${INTEROP_REQUIRED:-}" ]] || exit 1
	exit 0
}

missing() {
	[[ -x "$PYTHON" ]] || { echo "$PYTHON is missing"; return; }
	"$PYTHON" -c 'import grpc, grpc_tools.protoc' 2>/dev/null || echo "$PYTHON has no grpc and grpc_tools"
}

why="$(missing)"
if [[ -n "$why" ]]; then
	[[ "$(id -u)" == 0 && "${CI:-}" == true ]] || skip "$why; as root: apt-get install ${PACKAGES[*]}"
	command -v apt-get >/dev/null || skip "$why, and there is no apt-get"
	echo "interop: $why; installing ${PACKAGES[*]}" >&2
	{
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${PACKAGES[@]}"
	} >&2 || skip "apt-get could not install ${PACKAGES[*]}"
	why="$(missing)"
	[[ -z "$why" ]] || skip "$why"
fi

stubs="$(mktemp -d)"
trap 'rm -rf "$stubs"' EXIT
"$PYTHON" -m grpc_tools.protoc -I . --python_out="$stubs" --grpc_python_out="$stubs" proposal.proto
INTEROP_PYTHON="$PYTHON" INTEROP_STUBS="$stubs" "${GO:-go}" test -count=1 -timeout 5m "$@" .
