// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver runs a real kube-apiserver with etcd for tests. build.sh builds them; the environment variable
// EDGE_ANOMALY_APISERVER names the directory that holds both, as build.sh prints it:
//
//	EDGE_ANOMALY_APISERVER=$(./build.sh) go test ./...
//
// There is no controller manager: nothing is garbage collected, and service accounts are just names.
package apiserver
