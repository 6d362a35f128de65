// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"time"
)

// Number reads a whole number of a query; it is usual where the query has none.
func Number(q url.Values, name string, usual, low, high int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s: got %q, want a number from %d to %d", name, text, low, high)
	}
	return n, nil
}

// Span reads from and to, RFC 3339, of a query: the zero time and now where it has none.
func Span(q url.Values, now time.Time) (from, to time.Time, err error) {
	if from, err = moment(q, "from", time.Time{}); err != nil {
		return from, to, err
	}
	if to, err = moment(q, "to", now); err == nil && !from.Before(to) {
		err = fmt.Errorf("to: %s is not after from", to.Format(time.RFC3339))
	}
	return from, to, err
}

func moment(q url.Values, name string, usual time.Time) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return usual, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s: got %q, want a time such as 2026-01-02T15:04:05Z", name, text)
	}
	return t, nil
}

// globs finds what is no glob.
func globs(q url.Values, names ...string) error {
	for _, name := range names {
		if _, err := path.Match(q.Get(name), ""); err != nil {
			return fmt.Errorf("%s: want a glob such as light-*", name)
		}
	}
	return nil
}
