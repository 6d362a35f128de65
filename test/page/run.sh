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
"${GO:-go}" test -count=1 -timeout 5m "$@" ./...
