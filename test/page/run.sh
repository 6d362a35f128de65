#!/usr/bin/env bash
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Looks at the page for operators in a real Chromium. Installs Debian's package
# in CI (CI=true) where it is root; elsewhere the tests are left out without it.
# PAGE_REQUIRED=1 makes that a failure. Arguments go to go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! command -v chromium >/dev/null && [[ "${CI:-}" == true && "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
	{
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium
	} >&2 || echo "test-page: apt-get could not install chromium" >&2
fi
if ! command -v chromium >/dev/null; then
	echo "test-page: chromium is not installed; its tests are left out. As root: apt-get install chromium" >&2
	[[ -z "${PAGE_REQUIRED:-}" ]] || exit 1
fi
# axe-core finds what a screen reader or a keyboard cannot use. Its licence (MPL-2.0) is no matter of who runs the page.
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
if curl -fsSL -o "$dir/axe.tgz" https://registry.npmjs.org/axe-core/-/axe-core-4.14.1.tgz; then
	echo "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5  $dir/axe.tgz" | sha512sum --check --quiet
	tar -xzf "$dir/axe.tgz" -C "$dir" package/axe.min.js
	export PAGE_AXE="$dir/package/axe.min.js"
else
	echo "test-page: axe-core is not to be had; accessibility is left out" >&2
fi
"${GO:-go}" test -count=1 -timeout 10m "$@" ./...
