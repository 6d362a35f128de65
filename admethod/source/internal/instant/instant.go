// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package instant reads times as origins write them.
package instant

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// earliest is the first time of all calendars, in Unix seconds.
const earliest = -62135596800

// Parse reads a time: Unix seconds, milliseconds, microseconds or nanoseconds, told apart by their size, RFC 3339, or
// a date and a time of day in the zone.
func Parse(text string, zone *time.Location) (time.Time, error) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		size := math.Abs(float64(n))
		switch {
		case size < 1e11:
			return time.Unix(n, 0).UTC(), nil
		case size < 1e14:
			return time.UnixMilli(n).UTC(), nil
		case size < 1e17:
			return time.UnixMicro(n).UTC(), nil
		}
		return time.Unix(0, n).UTC(), nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		for size := math.Abs(f); size >= 1e11 && size <= 1e20; size = math.Abs(f) {
			f /= 1000
		}
		if f >= earliest && f < 1e11 {
			whole := math.Floor(f)
			return time.Unix(int64(whole), int64((f-whole)*1e6)*1000).UTC(), nil
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700 MST"} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q: want Unix time, RFC 3339, or %s", text, time.DateTime)
}
