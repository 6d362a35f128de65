#!/usr/bin/env bash
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of this directory with Python on the other side. Installs
# Debian's packages where it may (root, apt), and leaves the tests out, saying
# why, where they cannot be had. INTEROP_REQUIRED=1 makes that a failure.
# Arguments go to go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Debian's packages are for Debian's Python, whichever else is first in PATH.
PYTHON="${PYTHON:-/usr/bin/python3}"
PACKAGES=(python3-grpcio python3-protobuf protobuf-compiler protobuf-compiler-grpc)

skip() {
	echo "interop: skipped: $*" >&2
	[[ -z "${INTEROP_REQUIRED:-}" ]] || exit 1
	exit 0
}

missing() {
	[[ -x "$PYTHON" ]] || { echo "$PYTHON is missing"; return; }
	"$PYTHON" -c 'import grpc, google.protobuf' 2>/dev/null || { echo "$PYTHON has no grpc and google.protobuf"; return; }
	command -v protoc >/dev/null || { echo "protoc is missing"; return; }
	command -v grpc_python_plugin >/dev/null || echo "grpc_python_plugin is missing"
}

why="$(missing)"
if [[ -n "$why" ]]; then
	[[ "$(id -u)" == 0 ]] || skip "$why; as root: apt-get install ${PACKAGES[*]}"
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
protoc -I . --python_out="$stubs" --grpc_python_out="$stubs" \
	--plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" proposal.proto
INTEROP_PYTHON="$PYTHON" INTEROP_STUBS="$stubs" "${GO:-go}" test -count=1 -timeout 5m "$@" .
