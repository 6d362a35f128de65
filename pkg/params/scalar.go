// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package params

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var errNotConvertible = errors.New("not convertible")

func parseFloat(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

// toNumber takes 5, 5.0, "5", json.Number and what protojson makes of wrapper types (int64 as quoted text).
func toNumber(raw any) (float64, error) {
	switch v := raw.(type) {
	case string:
		return parseFloat(strings.TrimSpace(v))
	case json.Number:
		return v.Float64()
	case float32: // the decimal that was written, not its neighbour in binary
		return parseFloat(scalarText(v))
	case bool, nil:
		return 0, errNotConvertible
	}
	switch v := reflect.ValueOf(raw); {
	case v.CanInt():
		return float64(v.Int()), nil
	case v.CanUint():
		return float64(v.Uint()), nil
	case v.CanFloat():
		return v.Float(), nil
	}
	return 0, errNotConvertible
}

func toBool(raw any) (bool, error) {
	switch v := raw.(type) {
	case bool:
		return v, nil
	case string:
		return strconv.ParseBool(strings.TrimSpace(v))
	}
	return false, errNotConvertible
}

func toDuration(raw any) (time.Duration, error) {
	switch v := raw.(type) {
	case time.Duration:
		return v, nil
	case string:
		return time.ParseDuration(strings.TrimSpace(v))
	}
	if n, err := toNumber(raw); err == nil && n == 0 {
		return 0, nil // zero needs no unit
	}
	return 0, errNotConvertible
}

// List reads a list as a setting has it: comma-separated text, or several texts.
func List(raw any) []string { return toList(raw) }

func toList(raw any) []string {
	var items []string
	switch v := raw.(type) {
	case nil:
	case []string:
		items = v
	case []any:
		for _, item := range v {
			items = append(items, scalarText(item))
		}
	default:
		items = strings.Split(scalarText(raw), ",")
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// scalarText writes a scalar as a user would: no exponent for whole numbers.
func scalarText(raw any) string {
	switch v := raw.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32)
	default:
		return fmt.Sprint(v)
	}
}
