// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package speed_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/speed"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type heavyConfig struct {
	Words int `param:"words" doc:"memory"`
}

// heavy keeps memory and wastes time, and allocates in every call if it is told to.
type heavy struct {
	memory []float64
	waste  bool
	last   []byte
}

func (h *heavy) Detect(row driver.Row, out *driver.Result) {
	sum := 0.0
	for i := range h.memory {
		h.memory[i] += row[0].Value
		sum += h.memory[i]
	}
	if h.waste {
		h.last = make([]byte, 64)
	}
	out.Judge(min(max(sum, 0), 0.1), driver.KindNone)
}

func factory(name string, words, members int, waste bool) driver.Factory {
	return driver.NewFactory(driver.Info{Name: name, Members: members}, func() heavyConfig { return heavyConfig{words} },
		func(_ driver.Settings, c heavyConfig) (driver.Detector, error) {
			return &heavy{memory: make([]float64, c.Words), waste: waste}, nil
		})
}

func TestRun(t *testing.T) {
	o := speed.Options{
		Drivers: driver.NewRegistry(factory("light", 16, 1, false), factory("heavy", 1024, 1, false), factory("wasteful", 16, 1, true), factory("wide", 16, 3, false)),
		Time:    20 * time.Millisecond,
	}
	r, err := speed.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Floor <= 0 || r.BindingBytes < 100 || r.BindingBytes > 10_000 {
		t.Errorf("floor %v ns, binding %v bytes", r.Floor, r.BindingBytes)
	}
	by := make(map[string]speed.Result)
	for _, s := range r.Results {
		if s.Error != "" {
			t.Errorf("%s: %s", s.Driver, s.Error)
		}
		if s.Detect <= 0 || s.P99 <= 0 || (s.Observe <= 0) != (s.Members > 1) {
			t.Errorf("not all is measured: %+v", s)
		}
		by[s.Driver] = s
	}
	if len(r.Results) != 5 || by["wide"].Members != 3 {
		t.Errorf("a driver of three members is measured with one and with three: %+v", r.Results)
	}
	if got := by["heavy"].Bytes; got < 8*1024 || got > 9*1024 {
		t.Errorf("a stream of 8 KiB takes %v bytes", got)
	}
	if by["heavy"].Detect < 4*by["light"].Detect {
		t.Errorf("64 times the work takes %v ns, the light one %v", by["heavy"].Detect, by["light"].Detect)
	}
	if by["light"].DetectAllocs > 0 || by["wasteful"].DetectAllocs < 1 {
		t.Errorf("allocations: light %v, wasteful %v", by["light"].DetectAllocs, by["wasteful"].DetectAllocs)
	}
}

func TestRunNamesWhatItCannotMeasure(t *testing.T) {
	refuses := driver.NewFactory(driver.Info{Name: "picky"}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { return nil, context.DeadlineExceeded })
	r, err := speed.Run(t.Context(), speed.Options{Drivers: driver.NewRegistry(refuses), Time: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 1 || !strings.Contains(r.Results[0].Error, "picky") {
		t.Errorf("%+v", r.Results)
	}
	if _, err := speed.Run(t.Context(), speed.Options{Names: []string{"nobody"}, Time: time.Millisecond}); err == nil {
		t.Error("an unknown driver: no error")
	}
}
