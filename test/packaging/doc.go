// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package packaging tests what is installed in clusters: the Helm chart of examples/external-anomaly-detector with
// Helm's own libraries, and manifests against the types of Kubernetes.
package packaging
