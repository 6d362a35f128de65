// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Alarms is a number of false alarms in a time: "1/week", "3/day", "0.5/month". The zero value sets none.
type Alarms struct {
	Count float64
	Per   time.Duration
}

var (
	alarmTimes = map[string]time.Duration{
		"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour, "year": 365 * 24 * time.Hour,
	}
	errAlarms = errors.New("a number of false alarms over hour, day, week, month or year, such as 1/week")
)

// UnmarshalText reads a number, a slash and hour, day, week, month or year; "" for none.
func (a *Alarms) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Alarms{}
		return nil
	}
	count, per, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
	time, ok := alarmTimes[strings.TrimSpace(per)]
	if err != nil || !ok || !(n > 0 && n <= 1e6) {
		return errAlarms
	}
	*a = Alarms{n, time}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (a Alarms) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String is as UnmarshalText reads it.
func (a Alarms) String() string {
	for name, per := range alarmTimes {
		if per == a.Per {
			return strconv.FormatFloat(a.Count, 'g', -1, 64) + "/" + name
		}
	}
	if a.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%g/%v", a.Count, a.Per)
}

// The bounds of thresholds.
const (
	leastThreshold = 0.5
	mostThreshold  = 0.9999
)

// Threshold is the score from which readings that come once a cycle give so many false alarms, within the bounds of
// thresholds; 0 where nothing is set or the cycle is not known.
func (a Alarms) Threshold(cycle time.Duration) float64 {
	if a.Count <= 0 || cycle <= 0 {
		return 0
	}
	p := a.Count * float64(cycle) / float64(a.Per)
	return min(max(driver.TailScore(p), leastThreshold), mostThreshold)
}
