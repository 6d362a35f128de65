// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"context"
	"sync"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// asks is a sink that asks what is known of each property that it has a verdict on.
var asks struct {
	sync.Mutex
	about func(driver.Key) admethod.About
	knew  map[driver.Key][]admethod.About
}

type asking struct{}

func (asking) Start(context.Context) error    { return nil }
func (asking) Shutdown(context.Context) error { return nil }

func (asking) Write(_ context.Context, batch []driver.Result) error {
	asks.Lock()
	defer asks.Unlock()
	for i := range batch {
		asks.knew[batch[i].Key] = append(asks.knew[batch[i].Key], asks.about(batch[i].Key))
	}
	return nil
}

func init() {
	admethod.RegisterSink(admethod.SinkFactory{Name: "asks", Summary: "for tests", New: func(s admethod.SinkSettings) (admethod.Sink, error) {
		asks.Lock()
		defer asks.Unlock()
		asks.about, asks.knew = s.About, make(map[driver.Key][]admethod.About)
		return asking{}, nil
	}})
}

// Sinks get to know what a source knows of a property, with the first verdict on it, in a group too, and when it changes;
// nothing is kept of one that is gone.
func TestSinksKnowWhatSourcesKnow(t *testing.T) {
	_, f := running(t, intake.Config{
		Drivers: echo(), Sinks: []string{"asks"}, Defaults: map[string]any{"detector": "echo", "heartbeat": "1ms"},
		Routes: []intake.Route{{Labels: map[string]string{"group": "g"}, Settings: map[string]any{"group": "g"}}},
	}, intake.Limits{})
	knows := func(property, label, want, predicted string) {
		t.Helper()
		waittest.Eventually(t, property, func() bool {
			asks.Lock()
			defer asks.Unlock()
			all := asks.knew[key(property)]
			return len(all) > 0 && all[len(all)-1].Labels[label] == want && all[len(all)-1].Predicted == predicted
		})
	}
	a := at("a", 0, 1)
	a.Property = &source.Property{Labels: map[string]string{"hall": "3"}, Predicted: "a_predicted", Model: "pump", Node: "edge-1"}
	if _, err := take(t, f, a, at("nothing", 0, 1)); err != nil {
		t.Fatal(err)
	}
	knows("a", "hall", "3", "a_predicted")
	knows("nothing", "hall", "", "")
	asks.Lock()
	for _, about := range asks.knew[a.Key] {
		if about.Predicted == "" || about.Model != "pump" || about.Node != "edge-1" {
			t.Error("a verdict came before what is known of its property")
		}
	}
	asks.Unlock()
	a = at("a", 1, 1)
	a.Property = &source.Property{Labels: map[string]string{"hall": "4"}}
	if _, err := take(t, f, a); err != nil {
		t.Fatal(err)
	}
	knows("a", "hall", "4", "")
	labels := &source.Property{Labels: map[string]string{"group": "g"}, Predicted: "both"}
	for i := range 5 {
		for _, name := range []string{"first", "second"} {
			r := at(name, i, 1)
			r.Property = labels
			if err := f.Take(t.Context(), []source.Reading{r}); err != nil {
				t.Fatal(err)
			}
		}
	}
	knows("first", "group", "g", "both")
	knows("second", "group", "g", "both")
	if err := f.Take(t.Context(), []source.Reading{{Key: a.Key, Gone: true}}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it is forgotten", func() bool {
		asks.Lock()
		defer asks.Unlock()
		return asks.about(a.Key).Labels == nil && asks.about(key("first")).Labels != nil
	})
}
