// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/mqtt"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
)

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"nothing":       {map[string]any{"broker": ""}, "broker: must be set"},
		"plaintext":     {map[string]any{"insecure": false}, "insecure: true"},
		"no topics":     {map[string]any{"topics": nil}, "topics: at least one topic"},
		"no list":       {map[string]any{"topics": "a"}, "topics"},
		"no topic":      {topics(map[string]any{}), "topics[0].topic: must be set"},
		"no device":     {topics(map[string]any{"topic": "a/{property}"}), "topics[0].device: must be set, as the topic has no {device}"},
		"no property":   {topics(map[string]any{"topic": "a/{device}"}), "topics[0].property: must be set"},
		"another name":  {topics(map[string]any{"topic": "a/{device}", "property": "{room}"}), `topics[0].property: got "{room}", want names among ["device"]`},
		"a form":        {topics(map[string]any{"topic": "a", "payload": "xml"}), "topics[0].payload"},
		"no path":       {topics(map[string]any{"topic": "{device}/{property}", "payload": "json"}), "topics[0].value: must be set"},
		"a path":        {topics(map[string]any{"topic": "{device}/{property}", "payload": "json", "value": "a..b"}), "topics[0].value"},
		"each":          {topics(map[string]any{"topic": "{device}/{property}", "payload": "json", "value": "*.a"}), "topics[0].value"},
		"path alone":    {topics(map[string]any{"topic": "{device}/{property}", "value": "a"}), "topics[0].payload"},
		"each time":     {topics(map[string]any{"topic": "{device}/{property}", "payload": "json", "value": "a", "time": "*"}), "topics[0].time"},
		"twice":         {topics(map[string]any{"topic": "a/{device}/{property}"}, map[string]any{"topic": "a/b/+", "device": "x", "property": "y"}), `topics[1].topic: got "a/b/+", want topics that topics[0], "a/{device}/{property}", has not`},
		"sparkplug":     {topics(map[string]any{"payload": "sparkplug", "topic": "spBv1.0/{group}/#"}), "topics[0].topic"},
		"shared births": {map[string]any{"share": "g", "topics": []any{map[string]any{"payload": "sparkplug"}}}, "share: got \"g\", want none beside topics[0]"},
		"share":         {map[string]any{"share": "a/b"}, "share"},
		"zone":          {map[string]any{"zone": "Nowhere/Else"}, "zone"},
		"quality":       {map[string]any{"qos": 2}, "qos"},
		"a typo":        {map[string]any{"topics": []any{map[string]any{"topic": "a", "propery": "x"}}}, `topics[0].propery: unknown key; did you mean "property"?`},
		"no password":   {map[string]any{"user": "me", "passwordFile": "/nowhere"}, "passwordFile"},
	} {
		all := map[string]any{"broker": "mqtt://a", "insecure": true, "topics": []any{plainTopic}}
		maps.Copy(all, c.options)
		if _, err := mqtt.New(source.Settings{Name: "test", Options: all, Report: new(sourcetest.Reports).Report}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
