// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Layers are the settings of a property by who says them. What the operator of the mapper says is trusted. A Device is
// written by people of one namespace: it may set the keys whose scope is its, and no other, and wins where both say
// something.
type Layers struct {
	Operator map[string]any `json:"operator,omitempty"` // defaults and routes of the mapper
	Device   map[string]any `json:"device,omitempty"`   // pushMethod.anomalyDetection
}

// MaxSettings is how many bytes of settings, keys and values, a Device may have for a property.
const MaxSettings = 64 << 10

const (
	mostKeys   = 256
	longestKey = 128 // bytes
)

// Parse reads the settings over [DefaultConfig]. That a Device sets nothing that it may not is found by Bind and Check,
// which know what is linked.
func (l Layers) Parse() (ADMethodConfig, error) {
	operator, err := flatten(l.Operator)
	if err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: of the mapper: %w", err)
	}
	if err := bounded(l.Device); err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	device, err := flatten(l.Device)
	if err == nil {
		err = bounded(device)
	}
	if err != nil {
		return ADMethodConfig{}, fmt.Errorf("anomalyDetection: %w", err)
	}
	merged := make(map[string]any, len(operator)+len(device))
	maps.Copy(merged, operator)
	maps.Copy(merged, device)
	c, err := parseFlat(merged)
	if err != nil {
		return ADMethodConfig{}, err
	}
	c.device = slices.Sorted(maps.Keys(device))
	return c, nil
}

// bounded refuses settings that would cost more to look at than they can be worth.
func bounded(settings map[string]any) error {
	if len(settings) > mostKeys {
		return fmt.Errorf("%d keys: want at most %d", len(settings), mostKeys)
	}
	size := 0
	for key, value := range settings {
		if len(key) > longestKey {
			return &params.Error{Key: key, Want: fmt.Sprintf("a key has at most %d bytes, not %d", longestKey, len(key))}
		}
		size += len(key) + sizeOf(value)
	}
	if size > MaxSettings {
		return fmt.Errorf("%d bytes of settings: want at most %d", size, MaxSettings)
	}
	return nil
}

func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		size := 0
		for _, item := range v {
			size += 1 + sizeOf(item)
		}
		return size
	case map[string]any:
		size := 0
		for key, item := range v {
			size += len(key) + sizeOf(item)
		}
		return size
	}
	return 8
}

// DeviceSets lists the keys that the Device set, sorted; whoever asks must not change them.
func (c *ADMethodConfig) DeviceSets() []string { return c.device }

// FromDevice reports whether the Device set the key, as opposed to the mapper's operator. Adapters ask: what is shown to
// a peer that the operator chose must not travel to one that a Device chose.
func (c *ADMethodConfig) FromDevice(key string) bool {
	_, found := slices.BinarySearch(c.device, key)
	return found
}

// notDevice begins the error for a key that is the operator's.
const notDevice = "a Device must not set it: "

// NotDevice is the error for a key that is the operator's; instead says what to write.
func NotDevice(key, instead string) *params.Error {
	return &params.Error{Key: key, Want: notDevice + instead}
}

// IsOperators reports whether err says that a Device sets a key that is the operator's.
func IsOperators(err error) bool {
	switch e := err.(type) { //nolint:errorlint // each of those that are joined is looked at
	case *params.Error:
		return strings.HasPrefix(e.Want, notDevice)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), IsOperators)
	case interface{ Unwrap() error }:
		return IsOperators(e.Unwrap())
	}
	return false
}
