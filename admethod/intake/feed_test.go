// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// echo is a driver whose verdict says which values it was on, and the unit of the first one.
func echo() *driver.Registry {
	open := func(s driver.Settings, _ struct{}) (driver.Detector, error) {
		return detects(func(row driver.Row, out *driver.Result) {
			out.Judge(0, driver.KindNone)
			for i := range row {
				out.Message += fmt.Sprintf("%v%s ", row[i].Value, s.Members[i].Unit)
			}
		}), nil
	}
	return driver.NewRegistry(driver.NewFactory(
		driver.Info{Name: "echo", Summary: "for tests", Members: 8}, func() struct{} { return struct{}{} }, open))
}

type detects func(row driver.Row, out *driver.Result)

func (f detects) Detect(row driver.Row, out *driver.Result) { f(row, out) }

// MarshalBinary has nothing to keep, and so what stages know is kept.
func (detects) MarshalBinary() ([]byte, error) { return []byte{}, nil }

func (detects) UnmarshalBinary([]byte) error { return nil }

func TestRoutesDecideByWhatASourceKnows(t *testing.T) {
	route := func(threshold string, r intake.Route) intake.Route {
		r.Settings = map[string]any{"threshold": threshold}
		return r
	}
	_, f := running(t, intake.Config{
		Drivers: echo(), Defaults: map[string]any{"detector": "echo", "threshold": "0.9"},
		Routes: []intake.Route{
			route("0.91", intake.Route{Model: "pump-*"}),
			route("0.92", intake.Route{Labels: map[string]string{"hall": "3", "line": "*"}}),
			route("0.93", intake.Route{Client: "somebody else"}),
			route("0.94", intake.Route{Namespace: "default", Device: "pump-?", Property: "pressure"}),
		},
	}, intake.Limits{})
	for i, c := range []struct {
		about *source.Property
		want  float64
		name  string
	}{
		{nil, 0.9, "nothing known"},
		{&source.Property{Model: "pump-v2"}, 0.91, "model"},
		{&source.Property{Model: "press"}, 0.9, "another model"},
		{&source.Property{Labels: map[string]string{"hall": "3", "line": "a"}}, 0.92, "labels"},
		{&source.Property{Labels: map[string]string{"hall": "3"}}, 0.9, "one of two labels"},
		{&source.Property{Detection: map[string]any{"threshold": "0.95"}}, 0.95, "said by the device"},
		{&source.Property{Detection: map[string]any{"threshold": 0.96, "adMethodName": "grpc"}}, 0.96, "said for a detector elsewhere"},
	} {
		r := at(fmt.Sprint("p", i), 0, 1)
		r.Property = c.about
		got, err := take(t, f, r)
		if err != nil || got[0] == nil || got[0].Threshold != c.want {
			t.Errorf("%s: %v, %+v: want threshold %v", c.name, err, got[0], c.want)
		}
	}
	if got, err := take(t, f, at("pressure", 0, 1)); err != nil || got[0].Threshold != 0.94 {
		t.Errorf("by name: %v, %+v: want threshold 0.94", err, got[0])
	}
}

func TestWhatIsRefused(t *testing.T) {
	_, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}}, intake.Limits{})
	foreign, nameless, slashed, timeless, wrong, huge := at("a", 0, 1), at("", 0, 1), at("a/b", 0, 1), at("c", 0, 1), at("d", 0, 1), at("e", 0, 1)
	foreign.Key.Namespace = "kube-system"
	timeless.At = time.Time{}
	wrong.Property = &source.Property{Detection: map[string]any{"detector": "ecko", "grpc.target": "evil:1"}}
	huge.Property = &source.Property{Unit: strings.Repeat("x", 1000)}
	got, err := take(t, f, foreign, at("good", 0, 1), nameless, slashed, timeless, wrong, huge, at("good", 1, 2))
	refused, rest := source.Refused(err)
	if rest != nil {
		t.Fatal(rest)
	}
	want := []struct {
		index int
		says  string
	}{
		{0, `client "plant" may not send for namespace "kube-system"`}, {2, "want namespace, device and property"}, {3, "without a slash"},
		{4, "without a time"}, {5, "grpc.target"}, {6, "unit of 1000 bytes"},
	}
	if len(refused) != len(want) {
		t.Fatalf("refused: %v", err)
	}
	for i, w := range want {
		if r := refused[i]; r.Index != w.index || !strings.Contains(r.Err.Error(), w.says) {
			t.Errorf("reading %d: %v: want %d, %q", r.Index, r.Err, w.index, w.says)
		}
	}
	if got[1] == nil || got[7] == nil || got[7].Message != "2 " {
		t.Errorf("the good ones: %v, %v", got[1], got[7])
	}
}

// What a source knows of a property may change: its series begins anew with it, and goes on where nothing of it changed.
func TestWhatIsKnownChanges(t *testing.T) {
	opened := 0
	drivers := driver.NewRegistry(driver.NewFactory(driver.Info{Name: "opened", Summary: "for tests", Members: 8}, func() struct{} { return struct{}{} },
		func(s driver.Settings, _ struct{}) (driver.Detector, error) {
			opened++
			n := opened
			return detects(func(_ driver.Row, out *driver.Result) { out.Message = fmt.Sprint(n, s.Members[0].Unit) }), nil
		}))
	_, f := running(t, intake.Config{Drivers: drivers, Defaults: map[string]any{"detector": "opened"}}, intake.Limits{})
	for i, c := range []struct {
		about *source.Property
		want  string
	}{
		{nil, "1"}, {nil, "1"}, {&source.Property{Unit: "bar"}, "2bar"}, {&source.Property{Unit: "bar"}, "2bar"},
		{&source.Property{Unit: "bar", Labels: map[string]string{"hall": "3"}}, "2bar"}, {&source.Property{Unit: "psi"}, "3psi"},
		{&source.Property{Unit: "psi", Detection: map[string]any{"threshold": 0.99}}, "4psi"},
	} {
		r := at("p", i, 1)
		r.Property = c.about
		if got, err := take(t, f, r); err != nil || got[0].Message != c.want {
			t.Errorf("reading %d: %v, %q: want %q", i, err, got[0].Message, c.want)
		}
	}
}

func TestGroupsByRoute(t *testing.T) {
	in, f := running(t, intake.Config{
		Drivers: echo(), Defaults: map[string]any{"detector": "echo"},
		Routes: []intake.Route{{Property: "g*", Settings: map[string]any{"group": "press"}}},
	}, intake.Limits{})
	for i := range 3 {
		if _, err := take(t, f, at("ga", i, float64(i)), at("gb", i, float64(10+i))); err != nil {
			t.Fatal(err)
		}
	}
	bar := &source.Property{Unit: "bar"}
	a, b := at("ga", 3, 3), at("gb", 3, 13)
	a.Property, b.Property = bar, bar
	if _, err := take(t, f, a, b); err != nil { // both are opened anew
		t.Fatal(err)
	}
	a.At, b.At = a.At.Add(time.Second), b.At.Add(time.Second)
	if got, err := take(t, f, a, b); err != nil || got[0] != nil || got[1] == nil || got[1].Message != "3bar 13bar " {
		t.Errorf("%v, %v: want one verdict, on both, with what became known of them", err, got)
	}
	if n := in.Properties(); n != 2 {
		t.Errorf("%d properties, want 2", n)
	}
	gone := a
	gone.Gone = true
	if err := f.Take(t.Context(), []source.Reading{gone}); err != nil {
		t.Fatal(err)
	}
	b.At = b.At.Add(time.Second)
	if got, err := take(t, f, b); err != nil || got[0] == nil || got[0].Message != "13bar " {
		t.Errorf("%v, %v: want a group of the one that is left", err, got)
	}
	single := a // its author takes it out of the group
	single.At, single.Property = b.At, &source.Property{Detection: map[string]any{"group": ""}}
	if got, err := take(t, f, single); err != nil || got[0] == nil || got[0].Message != "3 " {
		t.Errorf("%v, %v: want a verdict of its own", err, got)
	}
}

// A group of many members that come one by one is complete after two rounds.
func TestManyMembersByRoute(t *testing.T) {
	_, f := running(t, intake.Config{
		Drivers: echo(), Defaults: map[string]any{"detector": "echo", "group": "press"},
	}, intake.Limits{})
	var got []*driver.Result
	for second := range 3 {
		var err error
		var round []source.Reading
		for i := range 5 {
			round = append(round, at(fmt.Sprint("g", i), second, float64(10*second+i)))
		}
		if got, err = take(t, f, round...); err != nil {
			t.Fatal(err)
		}
	}
	if got[3] != nil || got[4] == nil || got[4].Message != "20 21 22 23 24 " {
		t.Errorf("%v: want one verdict on all five", got)
	}
}

// History warms detectors up, and nothing is told of it.
func TestPast(t *testing.T) {
	var told verdicts
	_, f := running(t, intake.Config{Defaults: map[string]any{"detector": "ewma"}, Hooks: told.hooks()}, intake.Limits{})
	var history []source.Reading
	for i := range 2000 {
		r := at("p", i, 20+float64(i*7919%101)/100)
		if r.Past = true; i == 1900 {
			r.Value = 90 // of which nobody is to hear
		}
		history = append(history, r)
	}
	if _, err := take(t, f, history...); err != nil {
		t.Fatal(err)
	}
	if n := len(told.told(key("p"))); n > 0 {
		t.Fatalf("%d verdicts on history were told", n)
	}
	if got, err := take(t, f, at("p", 2000, 20.5)); err != nil || got[0].Severity != driver.Normal || got[0].Confidence < 0.9 {
		t.Errorf("%v: the first reading is judged %+v: want it normal, by a detector that is warm", err, got[0])
	}
	if got, err := take(t, f, at("p", 2001, 80)); err != nil || !got[0].Severity.Anomalous() {
		t.Errorf("%v: a jump is judged %+v", err, got[0])
	}
	told.await(t, key("p"), func(r *driver.Result) bool { return r.Incident.Phase == driver.Began && r.Value == 80 })
}

// Take waits for detectors that are behind, and loses nothing.
func TestBackpressure(t *testing.T) {
	release, stuck := make(chan struct{}), make(chan struct{})
	var judged atomic.Int64
	slow := driver.NewRegistry(drivertest.Func("slow", func(_ driver.Row, out *driver.Result) {
		if judged.Add(1) == 1 {
			close(stuck)
			<-release
		}
		out.Judge(0, driver.KindNone)
	}))
	_, f := running(t, intake.Config{Drivers: slow, Defaults: map[string]any{"detector": "slow"}, Deadline: time.Minute}, intake.Limits{Rate: -1})
	const n = 20_000
	var a answers
	a.all.Add(n)
	readings := make([]source.Reading, n)
	for i := range readings {
		readings[i] = at("p", i, float64(i))
		readings[i].Answer, readings[i].Token = &a, uint64(i)
	}
	taken := make(chan error, 1)
	go func() { taken <- f.Take(t.Context(), readings) }()
	<-stuck
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.Take(impatient, []source.Reading{at("q", 0, 1)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while all is behind: %v, want it to wait until its context ends", err)
	}
	close(release)
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	a.all.Wait()
	lost := 0
	for _, r := range a.got {
		if r == nil {
			lost++
		}
	}
	if lost > 0 || judged.Load() != n {
		t.Errorf("%d judged, %d lost, of %d", judged.Load(), lost, n)
	}
}

// beyond is how many of a batch are refused as more series than a source may have; none is for another reason.
func beyond(t *testing.T, f *intake.Feed, batch []source.Reading) int {
	t.Helper()
	refused, err := source.Refused(f.Take(t.Context(), batch))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range refused {
		if !strings.Contains(r.Err.Error(), "limits.series") {
			t.Fatal(r.Err)
		}
	}
	return len(refused)
}

// What a source offers is bounded, however many different names it has.
func TestManyNames(t *testing.T) {
	in, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}}, intake.Limits{Series: 100})
	refusals := 0
	batch := make([]source.Reading, 1000)
	for round := range 20 {
		for i := range batch {
			batch[i] = at(fmt.Sprint("p", round*len(batch)+i), round, 1)
		}
		refusals += beyond(t, f, batch)
	}
	if refusals != 20*len(batch)-100 || in.Properties() != 100 {
		t.Errorf("%d refused, %d scored, of %d: want 100 scored", refusals, in.Properties(), 20*len(batch))
	}
	if got, err := take(t, f, at("p50", 99, 7)); err != nil || got[0].Message != "7 " {
		t.Errorf("one that is scored: %v, %v", err, got)
	}
	gone := at("p50", 0, 0)
	gone.Gone = true
	if err := f.Take(t.Context(), []source.Reading{gone}); err != nil {
		t.Fatal(err)
	}
	if got, err := take(t, f, at("p5000", 99, 7)); err != nil || got[0].Message != "7 " {
		t.Errorf("another in place of one that is gone: %v, %v", err, got)
	}
}

// Silence is told, whatever time the readings have; that of a property that is gone is not.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told verdicts
		in, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}, Hooks: told.hooks()}, intake.Limits{})
		for i := range 100 {
			if _, err := take(t, f, at("silent", i, 1), at("gone", i, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) //nolint:forbidigo // in a bubble
		}
		gone := at("gone", 0, 0)
		gone.Gone = true
		if err := f.Take(t.Context(), []source.Reading{gone}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // in a bubble
		r := told.await(t, key("silent"), func(r *driver.Result) bool { return r.Kind == driver.KindMissing })
		if !r.Severity.Anomalous() || r.Incident.Phase != driver.Began || !strings.Contains(r.Message, "no reading since") {
			t.Errorf("silence: %+v", r)
		}
		for _, r := range told.told(key("gone")) {
			if r.Kind == driver.KindMissing {
				t.Errorf("one that is gone: %+v", r)
			}
		}
		if n := in.Properties(); n != 1 {
			t.Errorf("%d properties", n)
		}
		if _, err := take(t, f, at("silent", 111, 1)); err != nil {
			t.Fatal(err)
		}
	})
}

// A property that its source would tell to be gone is watched for as long as that takes: its silence is not forgotten.
func TestLasting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told verdicts
		in, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}, Hooks: told.hooks(), Idle: time.Minute}, intake.Limits{})
		about := &source.Property{Lasting: true}
		for i := range 100 {
			lasting, other := at("lasting", i, 1), at("other", i, 1)
			lasting.Property = about
			if _, err := take(t, f, lasting, other); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) //nolint:forbidigo // in a bubble
		}
		time.Sleep(10 * time.Minute) //nolint:forbidigo // in a bubble
		if n := in.Properties(); n != 1 {
			t.Errorf("%d properties are left, want one", n)
		}
		for property, open := range map[string]bool{"lasting": true, "other": false} {
			all := told.told(key(property))
			if last := all[len(all)-1].Incident; last.Kind != driver.KindMissing || last.Phase.Open() != open {
				t.Errorf("%s: %+v, want it open: %v", property, last, open)
			}
		}
		gone := at("lasting", 0, 0)
		gone.Gone = true
		if err := f.Take(t.Context(), []source.Reading{gone}); err != nil || in.Properties() != 0 {
			t.Errorf("%v, %d properties after it is gone", err, in.Properties())
		}
	})
}

// Silence is told after a restart too, whatever time the readings have; what a source brings again, as it was, ends none and
// begins none.
func TestSilenceOverARestart(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after time.Duration // of silence
		began         []int         // incidents, before and after the restart
	}{
		{"silent before", 10 * time.Second, time.Minute, []int{1, 0}},
		{"silent since", time.Second, 10 * time.Second, []int{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				ago := time.Now().Add(-time.Hour) // by the clock of the device
				reading := func(i int) source.Reading {
					return source.Reading{Key: key("silent"), At: ago.Add(time.Duration(i) * time.Second), Value: 1}
				}
				began := func(told *verdicts) (n int, last driver.Phase) {
					for _, r := range told.told(key("silent")) {
						if r.Incident.Phase == driver.Began {
							n++
						}
						if r.Incident.ID != 0 {
							last = r.Incident.Phase
						}
					}
					return n, last
				}
				for i := range 2 {
					var told verdicts
					_, f, stop := restartable(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}, Hooks: told.hooks(), StateDir: dir})
					silence := tt.before
					if i > 0 {
						silence = tt.after
						if _, err := take(t, f, reading(99)); err != nil {
							t.Fatal(err)
						}
					} else {
						for n := range 100 {
							if _, err := take(t, f, reading(n)); err != nil {
								t.Fatal(err)
							}
							time.Sleep(time.Second) //nolint:forbidigo // in a bubble
						}
					}
					time.Sleep(silence) //nolint:forbidigo // in a bubble
					if n, last := began(&told); n != tt.began[i] || tt.began[0]+tt.began[i] > 0 && !last.Open() {
						t.Errorf("run %d: %d incidents, the last one %v, want %d", i, n, last, tt.began[i])
					}
					if i > 0 {
						for n := range 30 {
							if _, err := take(t, f, reading(200+n)); err != nil {
								t.Fatal(err)
							}
							time.Sleep(time.Second) //nolint:forbidigo // in a bubble
						}
						if _, last := began(&told); last != driver.Returned {
							t.Errorf("it speaks again: %v", last)
						}
					}
					stop()
				}
			})
		})
	}
}

// What a source finds beside readings is one incident of its property, for as long as it stands.
func TestFindings(t *testing.T) {
	var told verdicts
	_, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}, Hooks: told.hooks()}, intake.Limits{})
	found := func(second int, kind driver.Kind, strength float64) {
		t.Helper()
		r := at("p", second, 0)
		r.Finding = &source.Finding{Kind: kind, Strength: strength, Message: "42 is desired"}
		if err := f.Take(t.Context(), []source.Reading{r}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(second int) {
		t.Helper()
		if _, err := take(t, f, at("p", second, 1)); err != nil {
			t.Fatal(err)
		}
	}
	found(0, driver.KindNone, 0)
	read(1)
	if got := told.told(key("p")); len(got) != 1 || got[0].Kind != driver.KindNone {
		t.Fatalf("while all is well: %v", got)
	}
	found(2, driver.KindDesired, 1)
	for i := range 10 {
		read(3 + 2*i)
		found(4+2*i, driver.KindDesired, float64(i))
	}
	found(30, driver.KindNone, 0)
	read(31)
	began, ended := 0, 0
	for _, r := range told.told(key("p")) {
		switch r.Incident.Phase {
		case driver.Began:
			if began++; r.Kind != driver.KindDesired || r.Message != "42 is desired" {
				t.Errorf("began with %+v", r)
			}
		case driver.Returned:
			if ended++; r.Incident.Severity != driver.Critical {
				t.Errorf("ended with %+v", r.Incident)
			}
		}
	}
	if began != 1 || ended != 1 {
		t.Errorf("%d incidents began, %d ended: want one", began, ended)
	}
}

// A device's author sees in the verdicts what is wrong with what he said.
func TestWrongKeysOfADevice(t *testing.T) {
	var told verdicts
	_, f := running(t, intake.Config{Drivers: echo(), Defaults: map[string]any{"detector": "echo"}, Hooks: told.hooks()}, intake.Limits{})
	r := at("p", 0, 1)
	r.Property = &source.Property{Detection: map[string]any{"treshold": 0.9}}
	for range 10 {
		if err := f.Take(t.Context(), []source.Reading{r}); err == nil || !strings.Contains(err.Error(), "treshold") {
			t.Fatalf("%v: want the key", err)
		}
	}
	if got := told.told(key("p")); len(got) != 1 || got[0].Kind != driver.KindFailed || !strings.Contains(got[0].Message, "treshold") {
		t.Errorf("told: %v", got)
	}
	r.Property = &source.Property{Detection: map[string]any{"threshold": 0.9}}
	if got, err := take(t, f, r); err != nil || got[0].Threshold != 0.9 {
		t.Errorf("once it is mended: %v, %v", err, got)
	}
}
