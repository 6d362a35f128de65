// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
)

// BenchmarkRead is the cost of making readings of a message, of a thousand devices.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name    string
		of      map[string]any
		topic   string
		payload string
	}{
		{"plain", plainTopic, "plant/%d/force", "20.5"},
		{"json", map[string]any{"topic": "z/{device}", "payload": "json", "value": "data.temp", "time": "at", "property": "temp"}, "z/%d", `{"at":1772366400000,"data":{"temp":20.5}}`},
		{"twin", twinTopic, "$hw/events/device/%d/twin/update", `{"timestamp":1772366400000,"twin":{"lux":{"actual":{"value":"20.5"},"metadata":{"type":"float"}}}}`},
		{"sparkplug", map[string]any{"payload": "sparkplug"}, "spBv1.0/g/NDATA/n%d", payload(0, double("temp", 0, 20.5))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newReader(b, c.of)
			topics := make([]string, 1000)
			for i := range topics {
				topics[i] = fmt.Sprintf(c.topic, i)
			}
			all := make([]source.Reading, 0, 16)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				var err error
				if all, err = r.Append(all[:0], topics[i%len(topics)], []byte(c.payload), now.Add(time.Duration(i))); err != nil || len(all) != 1 {
					b.Fatal(all, err)
				}
			}
		})
	}
}
