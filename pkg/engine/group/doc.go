// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package group watches the numeric members of a group of properties for excursions: sustained departures of a member
// from the level it held, judged against how much that member wandered while it was learned.
//
// A [Monitor] keeps two judges a member and one of all of them together, and joins their alarms. One judge is that of a
// stream in no group, package watch: what stands still or drifts it tells by itself, where it is rarer than a group of so
// many members makes it; how rare each reading is goes into what the members show together, see [Joint]. The other is a
// chart of the level, a small state machine that goes through
//
//		learning → watching → alarm → recovering → watching …
//
//	  - Learning: its first readings give it a centre, a noise scale and σ, the spread of fast mean against baseline. σ²
//	    also holds a fifth of the mean squared change of the fast mean over 100 readings, so that a member that wanders
//	    must go further before it is believed.
//	  - Watching: the deviation is |fast mean − baseline| / σ, and the baseline follows slowly. Above Start the alarm begins.
//	  - Alarm: the baseline stands still, so an anomaly is never learned as normal. The alarm ends when the deviation is
//	    back at Stop, or at 15 % of its peak: after a large excursion members rarely return to exactly where they were.
//	    An alarm older than MaxAge readings is taken for a new normal.
//	  - Recovering: the baseline moves to the present level, for Recover readings, without a new alarm.
//
// The group is in alarm while a member is, or while the members together are unusual, and for Quiet rows more, but for no
// longer than it was. Everything is causal, and invariant under a change
// of unit or offset of a member. The number of a row plays no part.
//
// The fast mean against a baseline that is frozen in alarm is an EWMA control chart (S. W. Roberts, Control Chart Tests
// Based on Geometric Moving Averages, Technometrics 1(3), 1959) with hysteresis; the noise scale is von Neumann's mean
// squared successive difference (Annals of Mathematical Statistics 12(4), 1941), with the differences winsorised.
package group
