// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package anomalydetectorv1 is the wire between a mapper and an anomaly
// detector that runs outside of it: the messages and the gRPC service of
// KubeEdge's proposal, extended so that peers that know only the proposal's
// fields go on working. See anomalydetector.proto for what each field means.
//
// To write a detector in another language, generate code from
// anomalydetector.proto; a detector needs no more than fields 1 to 5 of the
// request and 1 to 3 of the response.
package anomalydetectorv1
