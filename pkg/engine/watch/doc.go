// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package watch tells when a stream leaves what was normal, and follows it until it is back or until where it went is
// the new normal. A [Detector] asks of each reading how far the stream has moved within 1, 2, 4 … 128 readings, how much
// it scatters and for how long it has stood still, each as a multiple of what is usual for the stream and each held
// against the tail of its own past.
//
// What is improbable opens an incident. While one is open nothing is learned, and readings are held against where the
// stream stood before, on the scale of how far it usually moves in the time since; so a fault is found the n-th time as
// the first, and its end is none of its own. An incident ends when the stream is back, when it has gone where it goes
// anyway in that time, or when it has behaved for so long that it is the new normal: then what happened is learned.
// Readings are learned late, so that what begins an incident is not.
package watch
