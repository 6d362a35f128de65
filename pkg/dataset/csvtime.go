// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// timeLayouts are tried in order. Parsing takes a fraction of a second with any of them; times without a zone are UTC.
var timeLayouts = [...]string{
	time.RFC3339,
	time.DateTime,
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 -0700 MST", // as Go prints it
	"2006-01-02 15:04",
	"2006-01-02T15:04",
	time.DateOnly,
}

// The times that have a number of nanoseconds in an int64.
var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

// timeParser reads times and remembers the layout that fitted last, since a file rarely mixes them.
type timeParser struct{ last int }

func (p *timeParser) parse(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(timeLayouts[p.last], text); err == nil {
		return within(t, text)
	}
	if t, ok := unixTime(text); ok {
		return within(t, text)
	}
	for i, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			p.last = i
			return within(t, text)
		}
	}
	return time.Time{}, fmt.Errorf("time: got %q, want RFC 3339, YYYY-MM-DD HH:MM:SS, or Unix seconds or milliseconds", clip(text))
}

func within(t time.Time, text string) (time.Time, error) {
	if t.Before(earliest) || t.After(latest) {
		return time.Time{}, fmt.Errorf("time: got %q, want a time between the years 1678 and 2262", text)
	}
	return t, nil
}

// unixTime reads seconds, milliseconds, microseconds or nanoseconds since 1970 and tells them by their size: each unit
// is taken up to the year 5138.
func unixTime(text string) (time.Time, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch size := max(n, -n); {
		case size < 0: // the least int64 has no opposite
			return time.Time{}, false
		case size < 1e11:
			return time.Unix(n, 0).UTC(), true
		case size < 1e14:
			return time.UnixMilli(n).UTC(), true
		case size < 1e17:
			return time.UnixMicro(n).UTC(), true
		}
		return time.Unix(0, n).UTC(), true
	}
	// Fractions are of seconds. Nine digits are kept; a float64 would keep six.
	whole, fraction, ok := strings.Cut(text, ".")
	if !ok || len(fraction) == 0 || len(fraction) > 18 {
		return time.Time{}, false
	}
	s, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || max(s, -s) >= 1e11 || max(s, -s) < 0 {
		return time.Time{}, false
	}
	n, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if _, err := strconv.ParseUint(fraction, 10, 64); err != nil {
		return time.Time{}, false
	}
	if strings.HasPrefix(whole, "-") {
		return time.Unix(s, -int64(n)).UTC(), true
	}
	return time.Unix(s, int64(n)).UTC(), true
}
