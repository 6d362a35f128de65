// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

// The sinks of a server hear its verdicts.
func TestSinks(t *testing.T) {
	var mu sync.Mutex
	var heard []driver.Result
	sinks := new(admethod.SinkRegistry)
	sinks.Register("memory", admethod.SinkFactory{Name: "memory", New: func(admethod.SinkSettings) (admethod.Sink, error) {
		return sinkFunc(func(batch []driver.Result) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, batch...)
		}), nil
	}})
	address, stop := serve(t, Config{Insecure: true, Config: intake.Config{SinkRegistry: sinks, Sinks: []string{"memory"}, Defaults: map[string]any{"detector": "ewma"}}})
	stream := dial(t, address, insecure.NewCredentials())
	for i := range 200 {
		value := 20 + float64(i%3)
		if i == 199 {
			value = 1e6
		}
		if _, err := ask(t, stream, of("p", i, value)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	var phases []driver.Phase
	for _, r := range heard {
		if r.Incident.ID != 0 {
			phases = append(phases, r.Incident.Phase)
		}
	}
	if want := []driver.Phase{driver.Began, driver.Abandoned}; !slices.Equal(phases, want) {
		t.Errorf("the sink heard of incidents: %v, want that of the end and that it is given up: %v", phases, want)
	}
}

// The recorder works in a server as it does in a mapper.
func TestRecorder(t *testing.T) {
	dir := t.TempDir()
	address, stop := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Sinks: []string{recorder.Name}, Defaults: map[string]any{"detector": "ewma"}, SinkOptions: map[string]map[string]any{recorder.Name: {"dir": dir}},
		},
	})
	stream := dial(t, address, insecure.NewCredentials())
	const n = 50
	for i := range n {
		if _, err := ask(t, stream, of("p", i, 20)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	got := 0
	err := store.Scan(t.Context(), dir, store.Query{Property: "p"}, func(entries []store.Entry) error {
		got += len(entries)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got != n {
		t.Errorf("%d readings recorded of %d", got, n)
	}
}

type sinkFunc func([]driver.Result)

func (f sinkFunc) Start(context.Context) error { return nil }
func (f sinkFunc) Write(_ context.Context, batch []driver.Result) error {
	f(batch)
	return nil
}
func (f sinkFunc) Shutdown(context.Context) error { return nil }
