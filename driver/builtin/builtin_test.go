// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

func TestRangeLimits(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		minimum, maximum float64 // of the DeviceModel
		config           map[string]any
		normal           []float64
		anomalous        []float64
		err              string
	}{
		"of the model":         {0, 50, nil, []float64{0, 25, 50}, []float64{-0.1, 50.1, 1e308}, ""},
		"of the configuration": {0, 50, map[string]any{"lower": -10, "upper": "60"}, []float64{-10, 60}, []float64{-11, 61}, ""},
		"one of each":          {0, nan, map[string]any{"upper": 9}, []float64{0, 9}, []float64{-1, 10}, ""},
		"only a lower one":     {nan, nan, map[string]any{"lower": 0}, []float64{0, 1e300}, []float64{-1}, ""},
		"a single value":       {5, 5, nil, []float64{5}, []float64{4.99, 5.01}, ""},
		"none":                 {nan, nan, nil, nil, nil, `detector "range": detector.lower: a lower or an upper limit`},
		"crossed":              {nan, nan, map[string]any{"lower": 2, "upper": 1}, nil, nil, "detector.lower: got 2, want at most the upper limit, 1"},
		"crossed with model's": {nan, 1, map[string]any{"lower": 2}, nil, nil, "want at most the upper limit, 1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := driver.Member{Key: driver.Key{Property: "temperature"}, Minimum: c.minimum, Maximum: c.maximum}
			d, err := driver.Open(rangeName, driver.Settings{Members: []driver.Member{m}}, c.config)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want one that says %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			fd := newFeeder(d)
			for _, x := range c.normal {
				if r := fd.feed(x); r.Severity != driver.Normal || r.Score != 0 {
					t.Errorf("%v is %v with score %v, want normal", x, r.Severity, r.Score)
				}
			}
			for _, x := range c.anomalous {
				if r := fd.feed(x); r.Severity != driver.Critical || r.Kind != driver.KindRange {
					t.Errorf("%v is %v %q, want critical range", x, r.Severity, r.Kind)
				}
			}
		})
	}
}

func TestAutoKeepsTheLimitsOfTheModel(t *testing.T) {
	m := driver.Member{Minimum: 0, Maximum: 1}
	d, err := driver.Open(autoName, driver.Settings{Members: []driver.Member{m}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fd := newFeeder(d)
	if r := fd.feed(2); r.Severity != driver.Critical || r.Kind != driver.KindRange {
		t.Errorf("the first reading, beyond a limit, is %v %q, want critical range", r.Severity, r.Kind)
	}
}

func TestWhatIsNoReadingIsNotLearned(t *testing.T) {
	for _, f := range univariate() {
		name := f.Info().Name
		a, b := newFeeder(open(t, name, nil)), newFeeder(open(t, name, nil))
		s := gaussian(51)
		for i := range 600 {
			x := s(i)
			want := a.feed(x).Clone()
			if got := b.feed(x); got.Score != want.Score && !math.IsNaN(want.Score) || got.Severity != want.Severity {
				t.Fatalf("%s: reading %d scores %v, want %v as without what is no reading", name, i, got.Score, want.Score)
			}
			for _, sample := range []driver.Sample{
				{Value: math.NaN()}, {Value: math.Inf(1)}, {Value: 1e9, Flags: driver.Duplicate},
				{Value: 1e9, Flags: driver.OutOfOrder | driver.Late}, {Value: 1e9, Flags: driver.Held}, {Value: 1e9, Flags: driver.Stale},
			} {
				row := driver.Row{sample}
				var out driver.Result
				out.Reset(row)
				out.Threshold = driver.DefaultThreshold
				b.d.Detect(row, &out)
				if out.Severity != driver.Unknown || !math.IsNaN(out.Score) {
					t.Fatalf("%s: %+v is %v with score %v, want unknown", name, sample, out.Severity, out.Score)
				}
			}
		}
	}
}

func TestConfigOutOfBoundsIsRefused(t *testing.T) {
	for _, c := range []struct {
		driver string
		config map[string]any
		want   string
	}{
		{ewmaName, map[string]any{"window": 5}, "detector.window: got 5, want at least 20"},
		{ewmaName, map[string]any{"alpha": 0.5}, "detector.alpha: got 0.5, want at most 0.1"},
		{madName, map[string]any{"window": 10}, "want at least 50"},
		{freezeName, map[string]any{"movement": 2}, "want at most 1"},
		{autoName, map[string]any{"peroid": 60}, `did you mean "period"?`},
	} {
		_, err := driver.Open(c.driver, driver.Settings{Members: make([]driver.Member, 1)}, c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: error is %v, want one that says %s", c.driver, c.config, err, c.want)
		}
	}
}

func TestAlphaOverridesWindow(t *testing.T) {
	d := open(t, ewmaName, map[string]any{"alpha": 0.1, "window": 1000}).(*single[ewmaDetector, *ewmaDetector])
	fd := newFeeder(d)
	for range 100 {
		fd.feed(0)
	}
	fd.feed(1)
	if d.of.base.Mean() != 0.1 {
		t.Errorf("mean is %v after a step of 1, want alpha, 0.1", d.of.base.Mean())
	}
}

func TestStateIsSmall(t *testing.T) {
	for name, c := range map[string]struct{ size, most uintptr }{
		ewmaName:   {unsafe.Sizeof(ewmaDetector{}), 200},
		freezeName: {unsafe.Sizeof(freezeDetector{}), 200},
		autoName:   {unsafe.Sizeof(autoDetector{}), 32 << 10},
		madName:    {unsafe.Sizeof(madDetector{}), 200}, // and 16 bytes for each reading in the window
	} {
		t.Logf("%s: %d bytes", name, c.size)
		if c.size > c.most {
			t.Errorf("%s takes %d bytes, want at most %d", name, c.size, c.most)
		}
	}
}

func TestScoreTable(t *testing.T) {
	last := -1.0
	for i := range 200_000 {
		z := float64(i) * 1e-4
		got, want := normalScore(z), exactScore(z)
		if math.Abs(got-want) > 1e-5 {
			t.Fatalf("score of deviate %v is %v, want %v", z, got, want)
		}
		if got < last {
			t.Fatalf("score falls from %v to %v at deviate %v", last, got, z)
		}
		last = got
	}
	if got := normalScore(math.Inf(1)); got != 1 {
		t.Errorf("score of an infinite deviate is %v, want 1", got)
	}
	for _, s := range []float64{0.5, 0.9, 0.95, 0.99, 0.9999} {
		if got := exactScore(math.Sqrt(deviate2(s))); math.Abs(got-s) > 1e-9 {
			t.Errorf("the deviate of score %v scores %v", s, got)
		}
	}
}

func TestSnapshotOfAnotherWindowIsRefused(t *testing.T) {
	long := open(t, madName, map[string]any{"window": 200})
	fd, s := newFeeder(long), gaussian(61)
	for i := range 200 {
		fd.feed(s(i))
	}
	data, err := long.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	err = open(t, madName, nil).(encoding.BinaryUnmarshaler).UnmarshalBinary(data)
	if err == nil || !strings.Contains(err.Error(), `detector "mad": restore snapshot`) {
		t.Errorf("error is %v, want one that names the detector", err)
	}
	err = open(t, ewmaName, nil).(encoding.BinaryUnmarshaler).UnmarshalBinary(data)
	if !errors.Is(err, model.ErrSchema) {
		t.Errorf("error for another driver's snapshot is %v, want ErrSchema", err)
	}
}

// FuzzRestore hands payloads in sound frames to every driver: they are refused, or the detector goes on judging within
// the contract.
func FuzzRestore(f *testing.F) {
	for _, factory := range univariate() {
		d := open(f, factory.Info().Name, nil)
		if m, ok := d.(encoding.BinaryMarshaler); ok {
			fd, s := newFeeder(d), gaussian(71)
			for i := range 150 {
				fd.feed(s(i))
			}
			data, err := m.MarshalBinary()
			if err != nil {
				f.Fatal(err)
			}
			payload, err := model.Unseal("detector/"+factory.Info().Name, snapshotVersion, data)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(payload)
		}
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, factory := range univariate() {
			name := factory.Info().Name
			d := open(t, name, nil)
			u, ok := d.(encoding.BinaryUnmarshaler)
			if !ok {
				continue
			}
			data, err := model.Seal("detector/"+name, snapshotVersion, payload)
			if err != nil {
				t.Fatal(err)
			}
			if u.UnmarshalBinary(data) != nil {
				continue
			}
			fd := newFeeder(d)
			for _, x := range []float64{20, 20, 21, 1e308, -1e308, 0, math.SmallestNonzeroFloat64, 20} {
				if r := fd.feed(x); r.Score < 0 || r.Score > 1 || !(r.Confidence >= 0 && r.Confidence <= 1) {
					t.Errorf("%s: %v scores %v with confidence %v", name, x, r.Score, r.Confidence)
				}
			}
		}
	})
}

// A Device that names a driver of an earlier version is told what to write instead, and that is a driver.
func TestRetiredDriversHaveSuccessors(t *testing.T) {
	quoted := regexp.MustCompile(`"[a-z]+"`)
	for _, name := range []string{"adwin", "cusum", "jump", "mahalanobis", "mset", "novelty", "pagehinkley", "rrcf", "spot"} {
		_, err := driver.Open(name, driver.Settings{Members: make([]driver.Member, 1)}, nil)
		if err == nil || !strings.Contains(err.Error(), `detector "`+name+`" was removed: use "`) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, successor := range quoted.FindAllString(err.Error(), -1)[1:] {
			if _, err := driver.Default.Lookup(strings.Trim(successor, `"`)); err != nil {
				t.Errorf("instead of %s: %v", name, err)
			}
		}
	}
}
