// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package interop holds clients and servers in Python that know only the fields of KubeEdge's proposal, over gRPC and
// HTTP, and tests that run them against this module. run.sh prepares Python and runs the tests; without it they are skipped.
package interop
