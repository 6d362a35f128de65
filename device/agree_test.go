// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// What lint says of a Device is what its mapper says: the one asks Check, the other Bind.
func TestCheckAndBindAgree(t *testing.T) {
	r := newRig(t) // for its keys and values
	defer r.end()
	opts := pipeline.Options{DefaultSinks: []string{}}
	h := sinktest.Handler(t, opts)
	rnd := rand.New(rand.NewPCG(3, 4))
	taken, refused := 0, 0
	for i := range 2000 {
		own, err := json.Marshal(r.nearly(rnd))
		if err != nil {
			continue
		}
		config, err := admethod.Parse(own)
		// Groups and models are the matter of what else is there.
		if err != nil || !config.Configured() || config.Group != "" || config.Model != "" {
			continue
		}
		key := driver.Key{Namespace: "ns0", Device: "d", Property: fmt.Sprint("p", i)}
		meta := admethod.Meta{
			DataType: pick(rnd, []string{"double", "string", "boolean", "int", ""}),
			Minimum:  pick(rnd, []string{"", "0", "Inf", "-Inf", "NaN"}), Maximum: pick(rnd, []string{"", "1", "Inf", "1e309"}),
		}
		check := opts.Check(key, config, meta, 1)
		b, bind := h.Bind(key, config, meta)
		if bind == nil {
			for i := range 3 {
				b.Observe(time.Unix(1_800_000_000+int64(i), 0), 1)
			}
			b.Close()
		}
		switch {
		case (check == nil) != (bind == nil):
			t.Errorf("%.300s %+v\n  Check: %v\n  Bind:  %v", own, meta, check, bind)
		case check == nil:
			taken++
		default:
			refused++
		}
	}
	if taken < 200 || refused < 200 {
		t.Errorf("%d are taken, %d refused: that tries too little", taken, refused)
	}
}

// nearly is what a Device might say, with few mistakes.
func (r *rig) nearly(rnd *rand.Rand) map[string]any {
	settings := make(map[string]any)
	if rnd.IntN(2) == 0 {
		f := pick(rnd, driver.Default.Factories())
		settings["detector"] = f.Info().Name
		for _, p := range f.Params() {
			if rnd.IntN(4) == 0 {
				settings["detector."+p.Key] = r.edge(rnd, p.Default)
			}
		}
	}
	for range rnd.IntN(3) {
		key := r.key(rnd)
		if rnd.IntN(2) == 0 {
			key = pick(rnd, r.keys)
		}
		settings[key] = r.edge(rnd, "")
	}
	return settings
}

// edge is a value at the edge of what is taken.
func (r *rig) edge(rnd *rand.Rand, otherwise string) any {
	switch rnd.IntN(4) {
	case 0:
		return otherwise
	case 1:
		return pick(rnd, []any{
			0, 1, -1, 2, 5, 60, 0.5, 0.9, 0.95, true, false, "", "-0", "NaN", "Inf", "1e309", "1e-320", "0x10", " 5 ", "5", "٥",
			"2562047h47m16s", "-2562047h", "1ns", "1h", "0s", "0",
		})
	case 2:
		return pick(rnd, []string{
			"log", "log,log", " log , log", "nosink", "grpc", "http", "inprocess", "Inprocess", "plant-a", "../plant-a", "up", "each", "en",
			"auto", "never", "Europe/Berlin", "../../etc/passwd", "Local", "Europe", "1/week", "1/w", "22:00-06:00", "Sat-Sun",
			"24:00-24:00", "25:00-1:00", "Mon-", "-", "a,b", "true",
		})
	}
	return r.value(rnd)
}
