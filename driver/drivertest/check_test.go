// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// good is a detector that keeps the contract: a z-score against all readings before. The bad drivers below are this
// one with a single fault each.
type good struct{ n, mean, m2 float64 }

func (g *good) Detect(row driver.Row, out *driver.Result) {
	sum := 0.0
	for _, m := range row {
		sum += m.Value
	}
	if len(row) == 0 || !(math.Abs(sum) < 1e100) {
		return
	}
	if d := sum - g.mean; g.n > 20 && g.m2 > 0 {
		out.Confidence = 0.5
		out.Judge(1-math.Exp(-d*d*g.n/g.m2/4), driver.KindSpike)
	}
	g.n++
	d := sum - g.mean
	g.mean += d / g.n
	g.m2 += d * (sum - g.mean)
}

func (g *good) MarshalBinary() ([]byte, error) {
	var w state.Writer
	w.Floats([]float64{g.n, g.mean, g.m2})
	return model.Seal("detector/good", 1, w.Bytes)
}

func (g *good) UnmarshalBinary(data []byte) error {
	payload, err := model.Unseal("detector/good", 1, data)
	if err != nil {
		return err
	}
	v := make([]float64, 3)
	r := state.NewReader(payload)
	r.FloatsTo("state", v)
	if err := r.Close(); err != nil {
		return err
	}
	g.n, g.mean, g.m2 = v[0], v[1], v[2]
	return nil
}

type goodConfig struct {
	Window int `param:"window" max:"100" doc:"of no effect"`
}

func of(open func() driver.Detector) driver.Factory {
	return driver.NewFactory(
		driver.Info{Name: "good", Kinds: []driver.Kind{driver.KindSpike}, Members: 8},
		func() goodConfig { return goodConfig{Window: 5} },
		func(driver.Settings, goodConfig) (driver.Detector, error) { return open(), nil })
}

// with is the good detector with something done after each Detect.
func with(fault func(n int, row driver.Row, out *driver.Result)) driver.Factory {
	return of(func() driver.Detector {
		g, n := new(good), 0
		return detectFunc(func(row driver.Row, out *driver.Result) {
			g.Detect(row, out)
			n++
			fault(n, row, out)
		})
	})
}

func TestCheckPassesAGoodDriver(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	f := of(func() driver.Detector { return new(good) })
	Check(t, f)
	t.Run("group", func(t *testing.T) { Check(t, f, Members(5), WarmUp(500)) })
	t.Run("config", func(t *testing.T) { Check(t, f, Config(map[string]any{"window": 7})) })
}

type halfSnapshot struct{ good }

func (*halfSnapshot) UnmarshalBinary([]byte) error { return nil } // accepts anything, restores nothing

type torn struct{ good }

// UnmarshalBinary changes the detector before it has checked the snapshot.
func (d *torn) UnmarshalBinary(data []byte) error {
	d.mean = 0
	return d.good.UnmarshalBinary(data)
}

type unchecked struct{ good }

func (d *unchecked) MarshalBinary() ([]byte, error) {
	var w state.Writer
	w.Floats([]float64{d.n, d.mean, d.m2})
	return w.Bytes, nil
}

func (d *unchecked) UnmarshalBinary(data []byte) error {
	v := make([]float64, 3)
	r := state.NewReader(data)
	r.FloatsTo("state", v)
	if err := r.Close(); err != nil {
		return err
	}
	d.n, d.mean, d.m2 = v[0], v[1], v[2]
	return nil
}

type writeOnly struct{ g good }

func (d *writeOnly) Detect(row driver.Row, out *driver.Result) { d.g.Detect(row, out) }
func (d *writeOnly) MarshalBinary() ([]byte, error)            { return d.g.MarshalBinary() }

type unmarshalable struct{ good }

func (*unmarshalable) MarshalBinary() ([]byte, error) { return nil, errors.New("disk of glass") }

// follower tells that an incident is ongoing: for ever, or of the first alone.
type follower struct {
	good
	forever, once bool
	away, before  bool
}

func (d *follower) Detect(row driver.Row, out *driver.Result) {
	d.good.Detect(row, out)
	if len(row) == 0 {
		return
	}
	high := row[0].Value > 27
	if !high && d.away {
		d.before = d.before || out.At.Sub(epoch) > 290*cycle // not while it warms up
	}
	if d.away = high || d.forever && d.away; !d.away {
		return
	}
	out.Ongoing = true
	if d.once && d.before {
		out.Judge(0.1, driver.KindNone)
		return
	}
	out.Judge(0.99, driver.KindSpike)
}

// shared makes detectors that are not independent of each other.
var shared float64

var sink []float64

func TestVerifyFindsEveryFault(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for name, c := range map[string]struct {
		factory driver.Factory
		clause  string // that is broken
		says    string
	}{
		"panics on NaN": {with(func(_ int, row driver.Row, _ *driver.Result) {
			if len(row) > 0 && math.IsNaN(row[0].Value) {
				panic("NaN")
			}
		}), "input", "panic: NaN"},
		"panics on an empty row": {with(func(_ int, row driver.Row, _ *driver.Result) { _ = row[0] }), "input", "empty"},
		"judges an empty row": {with(func(_ int, row driver.Row, out *driver.Result) {
			if len(row) == 0 {
				out.Judge(0, driver.KindNone)
			}
		}), "input", "severity of an empty row is normal"},
		"score over 1": {with(func(_ int, row driver.Row, out *driver.Result) {
			if len(row) > 0 && row[0].Value > 1e300 {
				out.Judge(1.5, driver.KindSpike)
			}
		}), "input", "score is 1.5"},
		"score of its own scale": {with(func(_ int, _ driver.Row, out *driver.Result) { out.Judge(-3, driver.KindNone) }), "verdict", "score is -3"},
		"severity without score": {with(func(_ int, _ driver.Row, out *driver.Result) {
			out.Judge(math.NaN(), driver.KindNone)
			out.Severity = driver.Normal
		}), "verdict", "severity is normal with score NaN"},
		"severity over the top": {with(func(_ int, _ driver.Row, out *driver.Result) {
			out.Judge(0.96, driver.KindSpike)
			out.Severity = driver.Critical
		}), "verdict", "want warning"},
		"undeclared kind":       {with(func(_ int, _ driver.Row, out *driver.Result) { out.Judge(1, driver.KindDrift) }), "verdict", `kind is "drift"`},
		"anomalous of no kind":  {with(func(_ int, _ driver.Row, out *driver.Result) { out.Judge(1, driver.KindNone) }), "verdict", `kind is ""`},
		"kind while normal":     {with(func(_ int, _ driver.Row, out *driver.Result) { out.Judge(0, ""); out.Kind = driver.KindSpike }), "verdict", "while normal"},
		"confidence of percent": {with(func(_ int, _ driver.Row, out *driver.Result) { out.Confidence = 50 }), "verdict", "confidence is 50"},
		"confidence NaN":        {with(func(_ int, _ driver.Row, out *driver.Result) { out.Confidence = math.NaN() }), "verdict", "confidence is NaN"},
		"moves the threshold":   {with(func(_ int, _ driver.Row, out *driver.Result) { out.Threshold = 0.5 }), "verdict", "threshold became 0.5"},
		"another name":          {with(func(_ int, _ driver.Row, out *driver.Result) { out.Detector = "bad" }), "verdict", `detector is "bad"`},
		"another device":        {with(func(_ int, _ driver.Row, out *driver.Result) { out.Key.Device = "x" }), "verdict", "want a member's"},
		"heavy causes": {with(func(_ int, _ driver.Row, out *driver.Result) {
			out.Causes = append(out.Causes, driver.Cause{Weight: 0.8}, driver.Cause{Weight: 0.7})
		}), "verdict", "sum to 1.5"},
		"unranked causes": {with(func(_ int, _ driver.Row, out *driver.Result) {
			out.Causes = append(out.Causes, driver.Cause{Weight: 0.1}, driver.Cause{Weight: 0.7})
		}), "verdict", "ranked"},
		"shares state": {with(func(_ int, _ driver.Row, out *driver.Result) {
			shared++
			out.Expected = shared
		}), "deterministic", "verdicts on row 0 differ"},
		"changes the row": {with(func(n int, row driver.Row, _ *driver.Result) {
			if n == 700 {
				row[0].Flags |= driver.Late
			}
		}), "row", "changed row 699"},
		"keeps the row": {of(func() driver.Detector {
			var kept driver.Row
			return detectFunc(func(row driver.Row, out *driver.Result) {
				if len(kept) > 0 {
					out.Expected = kept[0].Value
				}
				kept = row
			})
		}), "row", "memory is used again"},
		"goes by the wall clock": {of(func() driver.Detector {
			last := int64(0)
			return detectFunc(func(row driver.Row, out *driver.Result) {
				if len(row) > 0 {
					out.Expected, last = float64(row[0].At.UnixNano()-last), row[0].At.UnixNano()
				}
			})
		}), "clock", "with one that is set"},
		"allocates": {with(func(int, driver.Row, *driver.Result) { sink = make([]float64, 8) }), "allocations", "allocations"},
		"allocates now and then": {with(func(n int, _ driver.Row, _ *driver.Result) {
			if n%200 == 0 {
				sink = make([]float64, 8)
			}
		}), "allocations", "allocations"},
		"snapshot of nothing":    {of(func() driver.Detector { return new(halfSnapshot) }), "snapshot", "the restored one"},
		"accepts damage":         {of(func() driver.Detector { return new(halfSnapshot) }), "damage", "accepts"},
		"no checksum":            {of(func() driver.Detector { return new(unchecked) }), "damage", "accepts a snapshot with a bit flipped"},
		"half loaded":            {of(func() driver.Detector { return new(torn) }), "damage", "one that never saw any"},
		"cannot be restored":     {of(func() driver.Detector { return new(writeOnly) }), "snapshot", "only one of"},
		"cannot take a snapshot": {of(func() driver.Detector { return new(unmarshalable) }), "snapshot", "disk of glass"},
		"never ends":             {of(func() driver.Detector { return &follower{forever: true} }), "incidents", "still lasts 101 readings after"},
		"learns from faults":     {of(func() driver.Detector { return &follower{once: true} }), "incidents", "the first scores 0.990, the second 0.1"},
		"opens nothing":          {of(func() driver.Detector { return nil }), "config", "neither a detector nor an error"},
		"does not open": {driver.NewFactory(driver.Info{Name: "good"}, func() goodConfig { return goodConfig{} },
			func(driver.Settings, goodConfig) (driver.Detector, error) { return nil, errors.New("no licence") }), "config", "no licence"},
		"default out of bounds": {driver.NewFactory(driver.Info{Name: "good"}, func() goodConfig { return goodConfig{Window: 101} },
			func(driver.Settings, goodConfig) (driver.Detector, error) { return new(good), nil }), "config", `default of "window" is refused`},
		"undocumented key": {driver.NewFactory(driver.Info{Name: "good"}, func() (c struct {
			X int `param:"x"`
		}) {
			return c
		}, func(driver.Settings, struct {
			X int `param:"x"`
		}) (driver.Detector, error) {
			return new(good), nil
		}), "config", `key "x" has no doc`},
	} {
		t.Run(name, func(t *testing.T) {
			if raceEnabled && c.clause == "allocations" {
				t.Skip("allocations are not measured under the race detector")
			}
			err := Verify(c.factory, WarmUp(300))
			if err == nil {
				t.Fatalf("no fault is found, want one in %s", c.clause)
			}
			// The message of a clause runs up to the next one.
			_, message, ok := strings.Cut("\n"+err.Error(), "\n"+c.clause+": ")
			if !ok || !strings.Contains(message, c.says) {
				t.Errorf("error is\n%.2000s\nwant a fault in %s that says %q", err, c.clause, c.says)
			}
		})
	}
}

func TestCheckFailsWhereVerifyDoes(t *testing.T) {
	if err := Verify(Panics(3)); err == nil || strings.Count(err.Error(), "panic: drivertest") < len(contract)/2 {
		t.Errorf("error is %.500v, want every clause broken by panics", err)
	}
	if err := Verify(WrongResults()); err == nil || !strings.Contains(err.Error(), "verdict: ") {
		t.Errorf("error is %.500v, want broken verdicts", err)
	}
}
