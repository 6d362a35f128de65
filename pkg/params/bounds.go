// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package params

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// outside says what was expected when n is out of the bounds in the tags, else "".
func (f field) outside(n float64, parse func(string) (float64, error)) string {
	if lo, err := parse(f.tag.Get("min")); err == nil && n < lo {
		return "at least " + f.tag.Get("min")
	}
	if hi, err := parse(f.tag.Get("max")); err == nil && n > hi {
		return "at most " + f.tag.Get("max")
	}
	return ""
}

// longest is the length of texts, in bytes, and mostEntries that of lists, where tags say nothing else.
const (
	longest     = 1024
	mostEntries = 256
)

// tooLong says what was expected where a text is too long.
func (f field) tooLong(text string) (want string) {
	if most := f.bound("maxlen", longest); len(text) > most {
		return fmt.Sprintf("at most %d bytes, not %d", most, len(text))
	}
	return ""
}

// tooMany says what was expected where a list or one of its entries is too long.
func (f field) tooMany(list []string) (want string) {
	if most := f.bound("max", mostEntries); len(list) > most {
		return fmt.Sprintf("at most %d entries, not %d", most, len(list))
	}
	for _, entry := range list {
		if want := f.tooLong(entry); want != "" {
			return want + ", in each entry"
		}
	}
	return ""
}

func (f field) bound(tag string, otherwise int) int {
	if n, err := strconv.Atoi(f.tag.Get(tag)); err == nil {
		return n
	}
	return otherwise
}

func (f field) enum() []string {
	if e := f.tag.Get("enum"); e != "" {
		return strings.Split(e, ",")
	}
	return nil
}

func (f field) bounds() string {
	lo, hi := f.tag.Get("min"), f.tag.Get("max")
	switch {
	case f.v.Kind() == reflect.Slice && hi != "":
		return "≤ " + hi + " entries"
	case f.v.Kind() == reflect.String && f.tag.Get("maxlen") != "":
		return "≤ " + f.tag.Get("maxlen") + " bytes"
	case len(f.enum()) > 0:
		return strings.Join(f.enum(), " | ")
	case lo != "" && hi != "":
		return lo + " … " + hi
	case lo != "":
		return "≥ " + lo
	case hi != "":
		return "≤ " + hi
	}
	return ""
}

func (f field) boundsSuffix() string {
	if b := f.bounds(); b != "" {
		return " (" + b + ")"
	}
	return ""
}
