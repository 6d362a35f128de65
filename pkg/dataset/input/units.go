// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"slices"
	"strings"
)

// prefixes of units, longer ones first.
var prefixes = [...]struct {
	text  string
	scale float64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}, {"h", 1e2}, {"c", 1e-2}, {"m", 1e-3},
	{"µ", 1e-6}, {"\u03bc", 1e-6}, {"u", 1e-6}, {"n", 1e-9}, {"", 1},
}

// scalesOf finds the unit that all units are multiples of by a prefix, as kW and W are, and how much of it each is; "" for
// none.
func scalesOf(units []string) (base string, scales map[string]float64) {
	for _, u := range units {
		for _, p := range prefixes {
			base, ok := strings.CutPrefix(u, p.text)
			if !ok || base == "" {
				continue
			}
			scales := make(map[string]float64)
			for _, other := range units {
				for _, q := range prefixes {
					if other == q.text+base {
						scales[other] = q.scale
					}
				}
			}
			if len(scales) == len(units) {
				return base, scales
			}
		}
	}
	return "", nil
}

// unitsIn are the different units of the numbers, with "" where they have none.
func unitsIn(cells []string, s style) (units []string) {
	for _, c := range cells {
		if _, unit, ok := s.parse(c); ok && len(units) < mostUnits && !slices.Contains(units, unit) {
			units = append(units, unit)
		}
	}
	if units == nil {
		return []string{""}
	}
	return units
}
