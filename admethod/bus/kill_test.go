// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
)

// ordeal is what a bus goes through while readings come.
type ordeal struct {
	series, steps            int
	workers                  int
	kills, nodeKills, leaves int // leaves are joins as well
	heartbeat                string
	last                     time.Duration // of publishing, at least
	partitions               int
	checkpoint               time.Duration
	patience                 time.Duration
}

// Workers are killed, NATS nodes are killed, workers come and go: every verdict is told, once, and says what one process
// without a bus says.
func TestWorkersAndNodesAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	ordeal{
		series: 240, steps: 100, workers: 2, kills: 3, nodeKills: 1, leaves: 1, heartbeat: "30s", last: 16 * time.Second,
		partitions: 12, checkpoint: 2 * time.Second, patience: 3 * time.Minute,
	}.run(t)
}

// The same at length.
func TestWorkersAndNodesAreKilledAtLength(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_HEAVY") == "" {
		t.Skip("takes minutes: EDGE_ANOMALY_HEAVY=1 runs it")
	}
	ordeal{
		series: 20_000, steps: 100, workers: 4, kills: 10, nodeKills: 3, leaves: 5, heartbeat: "10m", last: 150 * time.Second,
		partitions: 64, checkpoint: 30 * time.Second, patience: 10 * time.Minute,
	}.run(t)
}

func (o ordeal) run(t *testing.T) {
	p := &plant{series: o.series, seed: 7}
	settings := map[string]any{"detector": "auto", "heartbeat": o.heartbeat}
	began := time.Now()
	want := p.alone(t, settings, o.steps)
	t.Logf("one process: %d readings of %d series, %d verdicts, in %v", o.series*o.steps, o.series, want.all, time.Since(began).Round(time.Millisecond))
	if want.all < o.series {
		t.Fatalf("%d verdicts of %d series: the plant shows nothing", want.all, o.series)
	}

	began = time.Now()
	c := newCluster(t)
	b := opened(t, connect(t, c.url()), bus.Config{Partitions: o.partitions, Replicas: 3})
	t.Logf("the cluster is there after %v", time.Since(began).Round(time.Millisecond))
	names := 0
	var workers []*process
	join := func() {
		names++
		workers = append(workers, begin(t, role{Worker: &worker{
			Name: fmt.Sprintf("worker-%d", names), URL: c.url(), Settings: settings, Series: 4 * o.series, Checkpoint: o.checkpoint,
		}}))
	}
	for range o.workers {
		join()
	}

	// What happens, spread over the time of publishing.
	var events []func()
	type death struct {
		at   time.Time
		step int
	}
	var deaths []death
	n := 0
	for range o.kills {
		events = append(events, func() {
			deaths = append(deaths, death{time.Now(), n})
			i := rand.IntN(len(workers))
			workers[i].kill()
			workers = slices.Delete(workers, i, i+1)
			join()
		})
	}
	for i := range o.nodeKills {
		events = append(events, func() {
			c.processes[i%3].kill()
			time.Sleep(2 * time.Second) //nolint:forbidigo // a node that is down for a while
			c.start(t, i%3)
		})
	}
	for range o.leaves {
		events = append(events, func() {
			join()
			workers[0].leave(t)
			workers = slices.Delete(workers, 0, 1)
		})
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

	pub := b.Publisher(intake.Config{Defaults: settings})
	stop := background(t, pub.Run)
	defer stop()
	to := pub.Intake(bus.Origin{Name: "plant", Namespaces: []string{"*"}})
	began = time.Now()
	ticker := time.NewTicker(o.last / time.Duration(o.steps))
	defer ticker.Stop()
	happened := 0
	for ; n < o.steps; n++ {
		if err := to.Take(t.Context(), p.step(n)); err != nil {
			t.Fatal(err)
		}
		for happened < len(events) && (happened+1)*o.steps/(len(events)+1) <= n {
			events[happened]()
			happened++
		}
		<-ticker.C
	}
	t.Logf("published in %v, with %d events", time.Since(began).Round(time.Millisecond), happened)
	got := onBus(t, b, want.all, o.patience)
	t.Logf("all told after %v", time.Since(began).Round(time.Millisecond))
	compare(t, want, got)
	var again []time.Duration
	for _, d := range deaths {
		if first, ok := got.after(d.step, o.partitions); ok {
			again = append(again, first.Sub(d.at).Round(10*time.Millisecond))
		}
	}
	slices.Sort(again)
	if len(again) > 0 {
		t.Logf("from the death of a worker until all partitions are judged again: %v, the median is %v", again, again[len(again)/2])
	}
	for _, w := range workers {
		w.leave(t)
	}
}
