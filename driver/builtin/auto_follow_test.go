// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// TestAutoFollowsALevel: a new level is told while it lasts, until the stream has been back for some readings, and
// its return is no incident.
func TestAutoFollowsALevel(t *testing.T) {
	after := 0
	for seed := range seeds() {
		r := rand.New(rand.NewPCG(seed, 79))
		x := each(6000, func(i int) float64 {
			if i >= 3000 && i < 5000 {
				return 23 + .5*r.NormFloat64()
			}
			return 20 + .5*r.NormFloat64()
		})
		never := func(s *driver.Settings) { s.Accept = driver.NeverAccept }
		rs := verdicts(t, autoName, made{x: x}, never)
		if got := share(rs[3000:5000]); got < 0.95 {
			t.Errorf("seed %d: %.3f of the readings are told where nothing is accepted, want 0.95", seed, got)
		}
		after += alerts(rs[5064:])
		rs = verdicts(t, autoName, made{x: x})
		accepted := 5000
		for i := 3000; i < 5000; i++ {
			if rs[i].Accepted {
				accepted = i
				break
			}
		}
		if got := share(rs[3000:accepted]); got < 0.95 || accepted < 3100 {
			t.Errorf("seed %d: %.3f of the readings until it was accepted at %d are told, want 0.95", seed, got, accepted)
		}
	}
	if after > 1 { // of ten thousand readings in good order
		t.Errorf("%d alerts after the return", after)
	}
}

// TestAutoHoldsAYoungFault: where a device is read every second, a jump or a freeze right after the warm-up is no new
// normal minutes later.
func TestAutoHoldsAYoungFault(t *testing.T) {
	const faultFrom, faultTo = 110, 110 + 1700 // seconds
	for name, fault := range map[string]func(r *rand.Rand, i int) float64{
		"jump":   func(r *rand.Rand, _ int) float64 { return 31 + .2*r.NormFloat64() },
		"freeze": func(*rand.Rand, int) float64 { return 21.37 },
	} {
		t.Run(name, func(t *testing.T) {
			held := 0.0
			for seed := range seeds() {
				r := rand.New(rand.NewPCG(seed, 83))
				s := made{x: make([]float64, faultTo), at: make([]time.Duration, faultTo)}
				for i := range s.x {
					s.at[i] = time.Duration(i) * time.Second
					if s.x[i] = 21 + .2*r.NormFloat64(); i >= faultFrom {
						s.x[i] = fault(r, i)
					}
				}
				held += share(verdicts(t, autoName, s)[faultFrom+20:]) / float64(seeds())
			}
			if held < .95 {
				t.Errorf("%.3f of the readings are told, want 0.95", held)
			}
		})
	}
}

// TestAutoBand: 99 of 100 readings lie in the band; a spike moves it for 20 readings at most, whatever its size; and a
// step is told within three readings, with a gap before it or without.
func TestAutoBand(t *testing.T) {
	for _, spike := range []float64{15, 1e12, 3.4e38, -3.4e38, 1e155, 1.7e308, -1.7e308} {
		for _, gap := range []int{0, 100} {
			r := rand.New(rand.NewPCG(3, 80))
			var s made
			for i := range 3000 {
				if i >= 2500 && i < 2500+gap {
					continue
				}
				v := 20 + wave(i, 288, 4) + .3*r.NormFloat64()
				if i == 1500 {
					v += spike
				}
				if i >= 2652 {
					v += 8
				}
				s.x, s.at = append(s.x, v), append(s.at, time.Duration(i)*time.Minute)
			}
			rs := verdicts(t, autoName, s)
			if !rs[1500].Severity.Anomalous() {
				t.Errorf("spike of %g is not told", spike)
			}
			in, n := 0, 0
			for i := 1000; i < 2500; i++ {
				b := &rs[i]
				if b.Value >= b.Lower && b.Value <= b.Upper {
					in++
				}
				n++
				if half := (b.Upper - b.Lower) / 2; i >= 1520 && !(half < 1.5) {
					t.Fatalf("spike of %g: half the band is %v, %d readings after", spike, half, i-1500)
				}
			}
			if c := float64(in) / float64(n); c < 0.98 || c > 0.997 {
				t.Errorf("spike of %g: %.4f of the readings are in the band, want 0.98 to 0.997", spike, c)
			}
			at := 2652 - gap
			if !found(rs[at:at+3]) || share(rs[at:at+100]) < 0.9 {
				t.Errorf("spike of %g, gap of %d: of the step %.2f is told", spike, gap, share(rs[at:at+100]))
			}
		}
	}
}

// TestAnyGlitchIsOver: after one reading of any size each of these finds the next fault, and tells nothing between.
func TestAnyGlitchIsOver(t *testing.T) {
	for _, name := range []string{autoName, ewmaName, forecastName} {
		for _, glitch := range []float64{1e12, 3.4e38, -3.4e38, 1e155, 1.7e308, -1.7e308} {
			r := rand.New(rand.NewPCG(4, 81))
			x := each(2600, func(i int) float64 {
				switch {
				case i == 1500:
					return glitch
				case i >= 2500:
					return 35 + .5*r.NormFloat64()
				}
				return 20 + .5*r.NormFloat64()
			})
			rs := verdicts(t, name, made{x: x})
			if !found(rs[2500:2510]) {
				t.Errorf("%s: after %g the fault is not found", name, glitch)
			}
			critical := 0
			for i := 1502; i < 2500; i++ {
				if rs[i].Severity == driver.Critical {
					critical++
				}
			}
			if critical > 0 {
				t.Errorf("%s: after %g %d readings are critical", name, glitch, critical)
			}
		}
	}
}

// TestAutoLearnsWhatWasNormal: what somebody has said was normal begins no incident when it comes again, and a departure
// of another shape does; a restart changes nothing.
func TestAutoLearnsWhatWasNormal(t *testing.T) {
	const n, first, again, other = 6000, 3000, 4000, 5000
	shapes := map[string]func(i int) float64{
		"level": func(int) float64 { return 8 },
		"dip":   func(int) float64 { return -6 },
	}
	others := map[string]func(i int) float64{
		"upside down": func(int) float64 { return -9 },
		"larger":      func(int) float64 { return 20 },
	}
	for name, shape := range shapes {
		for what, different := range others {
			for seed := range seeds() {
				if name == "dip" && what == "upside down" {
					different = func(int) float64 { return 9 }
				}
				r := rand.New(rand.NewPCG(seed, 82))
				x := each(n, func(i int) float64 { return 20 + wave(i, 700, 1) + .3*r.NormFloat64() })
				for i := range 60 {
					x[first+i] += shape(i)
					x[again+i] += shape(i)
					x[other+i] += different(i)
				}
				d := open(t, autoName, nil)
				row, out := make(driver.Row, 1), driver.Result{}
				feed := func(i int) driver.Result {
					row[0] = driver.Sample{At: start.Add(time.Duration(i) * time.Minute), Value: x[i]}
					out.Reset(row)
					out.Threshold = driver.DefaultThreshold
					d.Detect(row, &out)
					return out.Clone()
				}
				var rs []driver.Result
				for i := range n {
					rs = append(rs, feed(i))
					if i != first+80 {
						continue
					}
					span := driver.Span{From: start.Add(first * time.Minute), To: start.Add((first + 59) * time.Minute)}
					if err := d.(driver.Learner).Accept(span); err != nil {
						t.Fatal(err)
					}
					saved, err := d.(encoding.BinaryMarshaler).MarshalBinary()
					if err != nil {
						t.Fatal(err)
					}
					d = open(t, autoName, nil)
					if err := d.(encoding.BinaryUnmarshaler).UnmarshalBinary(saved); err != nil {
						t.Fatal(err)
					}
				}
				if !found(rs[first:first+60]) || found(rs[again:again+100]) || !found(rs[other:other+60]) {
					t.Errorf("%s, then %s, seed %d: told %v first, %v again, the other %v; want true, false, true",
						name, what, seed, found(rs[first:first+60]), found(rs[again:again+100]), found(rs[other:other+60]))
				}
			}
		}
	}
	if err := open(t, autoName, nil).(driver.Learner).Accept(driver.Span{From: start, To: start}); err == nil {
		t.Error("a span without readings is accepted")
	}
}

// TestAutoExplains holds each kind to a sentence with numbers, units and durations, in both languages.
func TestAutoExplains(t *testing.T) {
	base := func(seed uint64) signal { s := gaussian(seed); return func(i int) float64 { return 15 + s(i)/4 } }
	for name, c := range map[string]struct {
		s           signal
		at          int
		english, zh []string
	}{
		"level":  {then(base(1), 2000, constantly(base(2), 9)), 2060, []string{"°C", "for", "from"}, []string{"°C", "处于"}},
		"freeze": {then(base(3), 2000, constant(20.07)), 2060, []string{"stands still at 20.07 °C for"}, []string{"停留在 20.07 °C"}},
		"spike":  {then(base(4), 2000, constant(40)), 2000, []string{"is 40 °C", "usually moves by"}, []string{"为 40 °C"}},
	} {
		d, err := driver.Open(autoName, driver.Settings{Members: []driver.Member{{
			Minimum: math.NaN(), Maximum: math.NaN(), Unit: "°C",
		}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := newFeeder(d)
		var r *driver.Result
		for i := range c.at + 1 {
			r = f.feed(c.s(i))
		}
		for in, want := range map[driver.Language][]string{driver.English: c.english, driver.Chinese: c.zh} {
			got := d.(driver.Explainer).Explain(r, in)
			t.Logf("%s: %s", name, got)
			for _, part := range want {
				if !strings.Contains(got, part) {
					t.Errorf("%s: %q does not say %q", name, got, part)
				}
			}
		}
	}
}

// constantly adds to a stream.
func constantly(s signal, x float64) signal { return func(i int) float64 { return s(i) + x } }

// TestAutoLearnsWhatItRemembersNoMore: of a stretch of which the first readings are forgotten nothing is learned, as the
// rest has another shape; given with the stretch, and with what was before it, they teach as if they were remembered.
func TestAutoLearnsWhatItRemembersNoMore(t *testing.T) {
	const n, first, said, again = 5000, 3000, 3400, 4200
	r := rand.New(rand.NewPCG(7, 82))
	x := each(n, func(i int) float64 { return 20 + .3*r.NormFloat64() })
	for i := range 60 {
		x[first+i] += 8
		x[again+i] += 8
	}
	row := func(i int) driver.Row {
		return driver.Row{{At: start.Add(time.Duration(i) * time.Minute), Value: x[i]}}
	}
	span := driver.Span{From: row(first)[0].At, To: row(said - 100)[0].At}
	for _, given := range []bool{false, true} {
		d := open(t, autoName, nil)
		var rs []driver.Result
		for i := range n {
			var out driver.Result
			out.Reset(row(i))
			out.Threshold = driver.DefaultThreshold
			d.Detect(row(i), &out)
			if rs = append(rs, out); i != said {
				continue
			}
			if err := d.(driver.Learner).Accept(span); err == nil {
				t.Error("a part of the stretch is taken for all of it")
			}
			if given {
				whole := span
				whole.To = row(first + 59)[0].At
				whole.Rows = func(yield func(driver.Row) bool) {
					for k := range 70 {
						if !yield(row(first - 10 + k)) {
							return
						}
					}
				}
				if err := d.(driver.Learner).Accept(whole); err != nil {
					t.Error(err)
				}
			}
		}
		if !found(rs[first:first+60]) || found(rs[again:again+100]) == given {
			t.Errorf("given %v: told %v first, %v again", given, found(rs[first:first+60]), found(rs[again:again+100]))
		}
	}
}
