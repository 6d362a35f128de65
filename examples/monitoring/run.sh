#!/usr/bin/env bash
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Runs the tests of sinks and of this directory with real receivers. Installs
# Debian's packages in CI (CI=true) where it is root; elsewhere the tests whose
# programs are missing are left out. MONITORING_REQUIRED=1 makes that a failure.
# Arguments go to go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PACKAGES=(mosquitto prometheus prometheus-alertmanager mariadb-server)
PATH="$PATH:/usr/sbin" # Debian's users do not have it

missing() {
	local program
	for program in mosquitto mosquitto_passwd prometheus promtool prometheus-alertmanager mariadbd; do
		command -v "$program" >/dev/null || echo "$program"
	done
}

if [[ -n "$(missing)" && "${CI:-}" == true && "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
	{
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${PACKAGES[@]}"
	} >&2 || echo "monitoring: apt-get could not install ${PACKAGES[*]}" >&2
fi
if [[ -n "$(missing)" ]]; then
	echo "monitoring: not installed: $(missing | paste -sd' '); their tests are left out. As root: apt-get install ${PACKAGES[*]}" >&2
	[[ -z "${MONITORING_REQUIRED:-}" ]] || exit 1
fi
MONITORING=1 "${GO:-go}" test -count=1 -timeout 5m "$@" ./admethod/sink/latest ./admethod/sink/metrics ./admethod/sink/mqtt \
	./admethod/sink/webhook ./admethod/source/mqtt ./admethod/source/prometheus \
	./admethod/source/remotewrite ./admethod/source/sql ./admethod/source/all ./examples/monitoring
