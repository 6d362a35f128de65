// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package regime watches one stream for the faults that have a name: spike, level, drift, noise, pattern, state. A
// [Watch] works in three steps, each learned on the stream itself and none with a scale of its own, so that a·x + b is
// judged as x is:
//
//  1. Structure is taken out: what a counter counts, the season, the modes that a process switches between, or the
//     states of a switch. What remains is a residual that wanders about a level.
//  2. Few statistics of the residual each answer one question (did it leap, has it moved, does it scatter more, does
//     the structure last as long as it used to), and each is held against the largest values that it took in the past
//     ([Peaks]).
//  3. What is improbable opens an incident. The incident has a name, which is refined while it lasts: a leap that
//     returns was a spike, one that stays is a level.
//
// It needs some 500 readings before it judges, and 6 KiB at most.
package regime
