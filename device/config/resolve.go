// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"maps"
	"strconv"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// The keys that Resolve itself understands.
const (
	richKey    = "config"  // settings as one JSON text
	enabledKey = "enabled" // false switches detection off for what a route or a Device says it of
)

// Resolve lays the settings of a property over one another: the defaults and every route that matches, in order, as the
// operator's; apart from them the Device's own, which win where both say something. own is nil where the Device says
// nothing of detection. It returns nil where nobody but the defaults speaks of the property, or where the last word is
// enabled: false. The result belongs to the caller.
func (a *AnomalyDetection) Resolve(t Target, own map[string]any) *admethod.Layers {
	l := &admethod.Layers{Operator: make(map[string]any, len(a.Defaults)), Device: make(map[string]any, len(own))}
	overlay(l.Operator, a.Defaults)
	watched := own != nil
	for i := range a.Routes {
		if a.Routes[i].Match.matches(t) {
			watched = true
			overlay(l.Operator, a.Routes[i].Settings)
		}
	}
	overlay(l.Device, own)
	enabled := true
	for _, layer := range []map[string]any{l.Operator, l.Device} {
		switch v := layer[enabledKey].(type) {
		case bool:
			enabled = v
			delete(layer, enabledKey)
		case string:
			if b, err := strconv.ParseBool(v); err == nil { // anything else stays, and is refused where settings are parsed
				enabled = b
				delete(layer, enabledKey)
			}
		}
	}
	if !watched || !enabled {
		return nil
	}
	return l
}

// overlay writes one layer over those below. Its rich settings are unpacked first: a layer below must not win over what
// is inside.
func overlay(dst, layer map[string]any) {
	if text, ok := layer[richKey].(string); ok {
		var nested map[string]any
		if json.Unmarshal([]byte(text), &nested) == nil {
			if flat, err := params.Flatten(nested); err == nil {
				if _, again := flat[richKey]; !again {
					maps.Copy(dst, flat)
					layer = maps.Clone(layer)
					delete(layer, richKey)
				}
			}
		}
	}
	maps.Copy(dst, layer) // what could not be unpacked is refused where settings are parsed
}
