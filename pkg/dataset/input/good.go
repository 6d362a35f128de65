// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"math"
	"slices"
	"strings"
)

// codes are what stands for no reading where a field must be a number, in the files of historians, loggers and weather
// stations.
var codes = []float64{-999, -999.9, -9999, -99999, 999.9, 9999, 99999, -32768, 32767, -32767, 65535}

const (
	codesLeast = 3  // so often it must come among the cells that are looked at
	codeFar    = 10 // ranges of the other readings that it must be away from them
)

// codeOf is the number that stands for no reading in a column; NaN for none.
func codeOf(cells []string, s style) float64 {
	times := make(map[float64]int)
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range cells {
		v, _, ok := s.parse(c)
		switch {
		case !ok:
		case slices.Contains(codes, v):
			times[v]++
		default:
			low, high = min(low, v), max(high, v)
		}
	}
	for _, code := range codes {
		off := max(code-high, low-code)
		if times[code] >= codesLeast && off > codeFar*(high-low) && len(times) == 1 {
			return code
		}
	}
	return math.NaN()
}

// takes reports whether a number is a reading, and keeps the range of those that are. What stands for none may come for the
// first time after the rows that were looked at; then it is told, once.
func (c *Column) takes(v float64, note func(string, ...any)) bool {
	switch {
	case v == c.code:
		return false
	case c.read == 0:
		c.low, c.high = v, v
	case v >= c.low && v <= c.high:
	case c.read >= sampleRows && math.IsNaN(c.code) && max(v-c.high, c.low-v) > codeFar*(c.high-c.low) && slices.Contains(codes, v):
		c.code = v
		note("column %q: %v is far from all %d readings before it: it counts as none", c.Name, v, c.read)
		return false
	}
	c.read++
	c.low, c.high = min(c.low, v), max(c.high, v)
	return true
}

var (
	qualityNames = []string{"opcquality", "opc quality", "opc_quality", "qualitydetail", "quality", "status", "statuscode", "status_code", "validity", "dataintegrity", "qualität", "质量"}
	goodWords    = []string{"good", "ok", "valid", "gut", "true"}
	badWords     = []string{"bad", "uncertain", "invalid", "error", "fault", "schlecht", "false"}
)

// findQuality finds a column that says which readings are good, as historians and OPC servers write it.
func (p *plan) findQuality(names []string, cells func(int) []string, o *Options, note func(string, ...any)) {
	for _, name := range qualityNames {
		i := index(names, name)
		if i < 0 || i == p.time || slices.Contains(o.Columns, names[i]) || o.Value == names[i] {
			continue
		}
		all := cells(i)
		if len(all) == 0 || slices.ContainsFunc(all, func(c string) bool { _, known := good(c); return !known }) {
			continue
		}
		if !slices.ContainsFunc(all, func(c string) bool { is, _ := good(c); return is }) { // 0 is good where others than OPC write it
			note("column %q says of no reading that it is good (%s): it is left aside", names[i], examples(all))
			p.aside = append(p.aside, i)
			continue
		}
		if bad := slices.IndexFunc(all, func(c string) bool { is, _ := good(c); return !is }); bad >= 0 {
			note("column %q says which readings are good: the others (%q) count as none", names[i], clip(all[bad]))
		} else {
			note("column %q says which readings are good", names[i])
		}
		p.quality = i
		return
	}
}

// good reports what a cell says of a reading: a word, the name of a status of OPC UA, or a number of OPC's, of which 192
// and more are good.
func good(cell string) (is, known bool) {
	word := strings.ToLower(strings.TrimSpace(cell))
	if slices.Contains(goodWords, word) || strings.HasPrefix(word, "good") {
		return true, true
	}
	for _, b := range badWords {
		if word == b || b != "false" && strings.HasPrefix(word, b) {
			return false, true
		}
	}
	switch word {
	case "192", "216":
		return true, true
	case "0", "4", "8", "12", "16", "20", "24", "28", "64", "68", "80", "84", "88":
		return false, true
	}
	return false, false
}
