// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire converts between the messages of proto/anomalydetector/v1 and the values of package driver, at both ends.
// What comes from the wire is not trusted.
package wire

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const mostMembers = 256 // of a group

// Key is the property that a reading is of. Its three parts must be set and hold no slash.
func Key(m *pb.DevicePropertyData) (driver.Key, error) {
	return key(m.GetNamespace(), m.GetDeviceName(), m.GetPropertyName())
}

func key(namespace, device, property string) (driver.Key, error) {
	k := driver.Key{Namespace: namespace, Device: device, Property: property}
	for _, part := range []string{namespace, device, property} {
		if part == "" || len(part) > 253 || strings.ContainsAny(part, "/\x00") {
			return k, fmt.Errorf("property %.300q: want namespace, device and property, each of 1 to 253 bytes without a slash", k.String())
		}
	}
	return k, nil
}

// SampleOf is the reading of a message about k. Without a value, the text is converted: numbers, true and false, on and
// off; other text is Unparsable. Without a time it is an error.
func SampleOf(m *pb.DevicePropertyData, k driver.Key) (s driver.Sample, err error) {
	s.Key, s.Flags = k, driver.Flags(m.GetFlags())
	switch {
	case m.GetTimeUnixNano() != 0:
		s.At = time.Unix(0, m.GetTimeUnixNano())
	default:
		if s.At, err = time.Parse(time.RFC3339Nano, m.GetTimestamp()); err != nil {
			return s, fmt.Errorf("%s: timestamp: want RFC 3339: %w", k, err)
		}
	}
	if m.Value != nil {
		s.Value = m.GetValue()
		if text := m.GetPropertyValue(); math.IsNaN(s.Value) || !spells(text, s.Value) {
			s.Text = text
		}
		return s, nil
	}
	text := strings.TrimSpace(m.GetPropertyValue())
	switch strings.ToLower(text) {
	case "true", "on":
		s.Value = 1
		return s, nil
	case "false", "off":
		return s, nil
	}
	if s.Value, err = strconv.ParseFloat(text, 64); err != nil {
		s.Value, s.Text, s.Flags = math.NaN(), m.GetPropertyValue(), s.Flags|driver.Unparsable
	} else if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
		s.Flags |= driver.NotANumber
	}
	return s, nil
}

// spells says that a text is the number itself, and not that of an enumeration, which a detector knows by its text.
func spells(text string, value float64) bool {
	switch text {
	case "", "true", "false":
		return true
	}
	if c := text[0]; c > '9' && c != 'I' { // Inf; this spares most enumerations the error
		return false
	}
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && v == value
}

// Members are the properties of a series, at most 256, all of one namespace.
func Members(info *pb.SeriesInfo) ([]driver.Member, error) {
	if n := len(info.GetMembers()); n == 0 || n > mostMembers || (n > 1 && info.GetGroup() == "") {
		return nil, fmt.Errorf("series: %d members: want 1, or up to %d of a group", n, mostMembers)
	}
	members := make([]driver.Member, 0, len(info.Members))
	for _, m := range info.Members {
		k, err := key(m.GetNamespace(), m.GetDeviceName(), m.GetPropertyName())
		if err != nil {
			return nil, fmt.Errorf("series: %w", err)
		}
		if len(members) > 0 && k.Namespace != members[0].Key.Namespace {
			return nil, errors.New("series: want members of one namespace")
		}
		member := driver.Member{
			Key: k, DataType: m.GetDataType(), Minimum: math.NaN(), Maximum: math.NaN(), Unit: m.GetUnit(),
			Cycle:      time.Duration(min(max(m.GetCycleMs(), 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond,
			Categories: m.GetCategories(),
		}
		if m.Minimum != nil {
			member.Minimum = *m.Minimum
		}
		if m.Maximum != nil {
			member.Maximum = *m.Maximum
		}
		members = append(members, member)
	}
	return members, nil
}

// Config is how a series asks to be scored, over base, by the in-process adapter.
func Config(info *pb.SeriesInfo, base map[string]any) (admethod.ADMethodConfig, error) {
	settings := make(map[string]any, len(base)+4)
	maps.Copy(settings, base)
	if info.GetDetector() != "" {
		settings["detector"] = info.GetDetector()
	}
	if info.GetModel() != "" {
		settings["model"] = info.GetModel()
	}
	if info.GetThreshold() != 0 {
		settings["threshold"] = info.GetThreshold()
	}
	if info.GetAccept() != "" {
		settings["accept"] = info.GetAccept()
	}
	if info.GetLanguage() != "" {
		settings["language"] = info.GetLanguage()
	}
	for k, v := range info.GetParameters() {
		settings["detector."+k] = v
	}
	settings["adMethodName"] = "inprocess"
	c, err := admethod.ParseSettings(settings)
	if err != nil {
		return c, fmt.Errorf("series: %w", err)
	}
	return c, nil
}

func optional(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}
