// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import "github.com/kubeedge/edge-anomaly/pkg/engine/regime"

// Shows says what the stream shows: "plain", "counter", "season", "modes" or "states", and the readings of a season.
func (d *autoDetector) Shows() (structure string, season int) {
	r, n := d.stream.Structure()
	switch r {
	case regime.Counting:
		return "counter", 0
	case regime.Seasonal:
		return "season", n
	case regime.Modal:
		return "modes", n
	case regime.Discrete:
		return "states", n
	}
	return "plain", n
}
