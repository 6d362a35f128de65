// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"
)

type judgedBy struct {
	Series   string   `json:"series,omitempty"`
	Columns  []string `json:"columns"`
	Detector string   `json:"detector"`
	Judged   int      `json:"judged"`
	Shows    string   `json:"shows,omitempty"` // what the detector takes the readings for
}

// judgedBy says which detector judged which columns.
func (d *jury) judgedBy(cadence time.Duration) (all []judgedBy) {
	for _, c := range d.order {
		by := judgedBy{Series: c.series, Columns: []string{c.name}, Detector: d.alone.Detector, Judged: c.judged}
		if shower, ok := c.stream.Detector().(interface {
			Shows() (structure string, season int)
		}); ok {
			structure, season := shower.Shows()
			by.Shows = shows(structure, season, cadence)
		}
		all = append(all, by)
	}
	if d.group != nil {
		all = append(all, judgedBy{Columns: d.members, Detector: d.together.Detector, Judged: d.grouped})
	}
	return all
}

// rhythms are what people and plants live by.
var rhythms = [...]struct {
	of   time.Duration
	name string
}{{time.Hour, "an hour"}, {8 * time.Hour, "8 hours"}, {12 * time.Hour, "12 hours"}, {24 * time.Hour, "a day"}, {7 * 24 * time.Hour, "a week"}}

// shows says what readings are taken for. A season is measured, so it may be off by some readings: one that is as near to a
// rhythm of the clock as can be told apart is that.
func shows(structure string, season int, cadence time.Duration) string {
	switch {
	case season > 0 && cadence > 0:
		for _, r := range rhythms {
			n := int(r.of / cadence)
			if off := max(season-n, n-season); r.of%cadence == 0 && off <= 3 && off*100 <= n {
				return fmt.Sprintf("a season of %s, %d readings", r.name, n)
			}
		}
		return fmt.Sprintf("a season of %s, %d readings", lasting(time.Duration(season)*cadence), season)
	case season > 0:
		return fmt.Sprintf("a season of %d readings", season)
	case structure == "plain":
		return "no season"
	case structure == "counter":
		return "a counter"
	}
	return structure
}
