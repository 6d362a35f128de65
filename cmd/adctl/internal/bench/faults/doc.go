// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package faults measures detectors on a seeded synthetic suite: faults as sensors and networks have them, on signals
// as devices give them, one reading a minute. An episode is a stream of its own: three days to learn from, one to two
// days on which every alarm is false, and a fault at a random time of day. Sizes of faults are stated in units of the
// signal's own noise.
package faults
