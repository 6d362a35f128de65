// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// plant is series with faults: spikes, levels and drifts, the same in each run.
type plant struct {
	series int
	seed   uint64
}

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func (p *plant) key(i int) driver.Key {
	return driver.Key{Namespace: fmt.Sprintf("hall-%d", i%3), Device: fmt.Sprintf("pump.%d", i/4), Property: fmt.Sprintf("p%d", i%4)}
}

// step is a reading of each series.
func (p *plant) step(n int) []source.Reading {
	all := make([]source.Reading, p.series)
	for i := range all {
		random := rand.New(rand.NewPCG(p.seed^uint64(i), uint64(n)))
		v := 20 + 3*math.Sin(float64(n)/9+float64(i)) + 0.2*random.NormFloat64()
		switch i % 5 {
		case 1:
			if random.IntN(40) == 0 {
				v += 30
			}
		case 2:
			if n%60 > 40 {
				v += 12
			}
		case 3:
			v += float64(max(n-30, 0)) * 0.1
		}
		all[i] = source.Reading{Key: p.key(i), At: began.Add(time.Duration(n) * time.Minute), Value: math.Round(v*100) / 100}
	}
	return all
}

// verdicts are those that were told, in JSON, in order for each property.
type verdicts struct {
	mu  sync.Mutex
	of  map[string][]string
	all int
	at  []toldAt
}

// toldAt is when a verdict was told.
type toldAt struct {
	key  driver.Key
	step int
	told time.Time
}

// after is when the last of the partitions told a verdict on a reading that came behind a step.
func (v *verdicts) after(step, partitions int) (last time.Time, ok bool) {
	first := make(map[int]time.Time)
	for _, a := range v.at {
		p := bus.Partition(a.key, "", partitions)
		if is, has := first[p]; a.step > step && (!has || a.told.Before(is)) {
			first[p] = a.told
		}
	}
	for _, t := range first {
		if t.After(last) {
			last = t
		}
	}
	return last, len(first) > 0
}

func (v *verdicts) add(told time.Time, data []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = make(map[string][]string)
	}
	var key struct {
		Namespace, Device, Property string
		At                          time.Time
	}
	_ = json.Unmarshal(data, &key)
	name := key.Namespace + "/" + key.Device + "/" + key.Property
	v.of[name] = append(v.of[name], string(data))
	v.all++
	v.at = append(v.at, toldAt{driver.Key{Namespace: key.Namespace, Device: key.Device, Property: key.Property}, int(key.At.Sub(began) / time.Minute), told})
}

func (v *verdicts) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all
}

// alone is what one process says of the plant, without a bus.
func (p *plant) alone(tb testing.TB, settings map[string]any, steps int) *verdicts {
	tb.Helper()
	v := new(verdicts)
	stopped := false
	in, err := intake.New(intake.Config{Defaults: settings, MaxSeries: p.series, Told: func(r *driver.Result) {
		if stopped {
			return
		}
		data, err := json.Marshal(verdict.FromResult(r))
		if err != nil {
			tb.Error(err)
		}
		v.add(time.Now(), data)
	}})
	if err != nil {
		tb.Fatal(err)
	}
	err = in.Run(tb.Context(), func(ctx context.Context) error {
		f, err := in.Feed(in.Client("plant", []string{"*"}, intake.Limits{Rate: -1, Memory: -1, Series: p.series}))
		if err != nil {
			return err
		}
		defer f.Close(ctx)
		for n := range steps {
			if err := f.Take(ctx, p.step(n)); err != nil {
				return err
			}
		}
		err = in.Flush(ctx)
		stopped = true
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// onBus reads what was told on the bus, until there are as many as wanted, and no more for a while.
func onBus(tb testing.TB, b *bus.Bus, want int, patience time.Duration) *verdicts {
	tb.Helper()
	v := new(verdicts)
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	err := b.Read(ctx, bus.Reading{Follow: true}, func(told time.Time, data []byte) error {
		v.add(told, bytes.Clone(data))
		if v.count() >= want { // what is twice comes soon after
			time.AfterFunc(time.Second, cancel)
		}
		return nil
	})
	if v.count() < want {
		tb.Logf("read %d verdicts of %d: %v", v.count(), want, err)
	}
	return v
}

// compare finds verdicts that are lost, told twice, or others.
func compare(tb testing.TB, want, got *verdicts) {
	tb.Helper()
	lost, twice, other := 0, 0, 0
	for name, w := range want.of {
		g := got.of[name]
		if slices.Equal(w, g) {
			continue
		}
		seen := make(map[string]int)
		for _, s := range g {
			if seen[s]++; seen[s] == 2 {
				twice++
			}
		}
		for _, s := range w {
			if seen[s] == 0 {
				lost++
			}
			delete(seen, s)
		}
		other += len(seen)
		if lost+twice+other < 20 {
			for i := range max(len(w), len(g)) {
				if i >= len(w) || i >= len(g) || w[i] != g[i] {
					tb.Logf("%s: verdict %d of %d, got %d:\nwant %s\n got %s", name, i, len(w), len(g), append(w, "none")[min(i, len(w))], append(g, "none")[min(i, len(g))])
					break
				}
			}
		}
	}
	if lost+twice+other > 0 || len(got.of) != len(want.of) {
		tb.Errorf("%d verdicts on %d series: %d lost, %d twice, %d others than on one process; %d series told", want.all, len(want.of), lost, twice, other, len(got.of))
	}
}
