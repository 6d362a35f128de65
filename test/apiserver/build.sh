#!/usr/bin/env bash
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Builds kube-apiserver and etcd as tools/go.mod pins them and prints the directory that they are in. They are kept in
# the user's cache directory by the hash of go.sum and the Go version, as a cold build takes some 650 CPU seconds.
# With --cached nothing is built: it fails if they are not there yet. With --within 15m it gives up after that time, by
# exit code 75; what was compiled by then is kept by go, and the next try takes less.
set -euo pipefail

if [[ ${1:-} == --within ]]; then
	code=0
	timeout "$2" "${BASH_SOURCE[0]}" || code=$?
	if ((code == 124)); then
		echo "kube-apiserver and etcd were not built within $2" >&2
		exit 75
	fi
	exit "$code"
fi

cd "$(dirname "${BASH_SOURCE[0]}")/tools"
go="${GO:-go}"

key="$(cat go.mod go.sum <("$go" env GOVERSION GOOS GOARCH) | sha256sum | cut -c1-16)"
cache="${EDGE_ANOMALY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edge-anomaly}"
dir="$cache/apiserver-$key"
if [[ ! -x $dir/kube-apiserver || ! -x $dir/etcd ]]; then
	if [[ ${1:-} == --cached ]]; then
		echo "no API server in $dir: $(dirname "${BASH_SOURCE[0]}")/build.sh builds it" >&2
		exit 1
	fi
	mkdir -p "$cache"
	tmp="$(mktemp -d "$cache/building.XXXXXX")"
	trap 'rm -rf "$tmp"' EXIT
	echo "building kube-apiserver and etcd into $dir, once: some ten minutes" >&2
	export CGO_ENABLED=0
	nice "$go" build -trimpath -ldflags '-s -w' -o "$tmp/etcd" go.etcd.io/etcd/server/v3 >&2
	nice "$go" build -trimpath -ldflags '-s -w' -o "$tmp/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver >&2
	# Another build may have been faster: what is there already stays.
	mv -T "$tmp" "$dir" 2>/dev/null || [[ -x $dir/kube-apiserver && -x $dir/etcd ]]
fi
echo "$dir"
