// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source/prometheus"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// bench is a source that asks a store, in a bubble of time.
type bench struct {
	*testing.T
	store   *store
	reports sourcetest.Reports
	in      *sourcetest.Intake
	dir     string
	behind  time.Duration // what detectors keep, after a crash
	stop    func() error
}

const part = "source test: query x"

// start makes a source, again as after a restart of the program, and runs it.
func (b *bench) start(options map[string]any) {
	b.Helper()
	of := settings(b.T, b.dir, &b.reports, options)
	of.Behind = b.behind
	s, err := prometheus.NewWith(of, func(_ context.Context, form url.Values) (*promapi.Answer, error) {
		return b.store.decode(form)
	})
	if err != nil {
		b.Fatal(err)
	}
	b.stop = sourcetest.Run(b.T, s, b.in)
	synctest.Wait()
}

func inBubble(t *testing.T, f func(b *bench)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { f(&bench{T: t, store: new(store), in: new(sourcetest.Intake), dir: dir}) })
}

func (b *bench) sleep(d time.Duration) {
	b.Helper()
	if err := wait.Sleep(b.Context(), d); err != nil {
		b.Fatal(err)
	}
}

// pass lets time pass, with a sample of the series every second whose value counts on.
func (b *bench) pass(d time.Duration, series ...string) {
	b.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		b.sleep(time.Second)
		for _, name := range series {
			b.store.add(name, time.Now().Add(-time.Millisecond), float64(len(b.store.series[name])+1))
		}
	}
	synctest.Wait()
}

// last is the time of the newest reading.
func (b *bench) last() time.Time {
	all := b.in.Readings()
	return all[len(all)-1].At
}

// complete checks that a device has the values 1 to n, one a second, and returns how many of them are of the past.
func (b *bench) complete(device string, n int) (past int) {
	b.Helper()
	want, live := 1, false
	var last time.Time
	for _, r := range b.in.Readings() {
		if r.Key.Device != device {
			continue
		}
		if r.Value != float64(want) || !last.IsZero() && r.At.Sub(last) != time.Second {
			b.Fatalf("%s: %v at %v behind one at %v: want %d a second later", device, r.Value, r.At, last, want)
		}
		if r.Past && live {
			b.Errorf("%s: %v is of the past, and the one before it is not", device, r.Value)
		}
		if live = !r.Past; r.Past {
			past++
		}
		last, want = r.At, want+1
	}
	if want != n+1 {
		b.Errorf("%s: %d readings, want %d", device, want-1, n)
	}
	return past
}

// What the server has of the past comes first, then what comes, at the times of the scrapes.
func TestPastThenLive(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(10*time.Minute, "a", "b")
		b.start(nil)
		if past := b.complete("a", 600); past != 600 {
			b.Errorf("%d readings are of the past, want 600", past)
		}
		b.pass(5*time.Minute, "a", "b")
		b.pass(15*time.Second, "late") // for the last to be asked for
		if past := b.complete("a", 900); past != 600 {
			b.Errorf("%d readings are of the past, want 600", past)
		}
		b.complete("b", 900)
		r := b.in.Readings()[0]
		if want := (driver.Key{Namespace: "default", Device: "a", Property: "x"}); r.Key != want || r.Property.Labels["i"] != "a" {
			b.Errorf("%v with the labels %v, want %v", r.Key, r.Property.Labels, want)
		}
	})
}

// Before history there is nothing, not even what the overlap would find.
func TestNoHistory(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(time.Minute, "a")
		b.start(map[string]any{"history": "0s"})
		b.pass(time.Minute, "a")
		for _, r := range b.in.Readings() {
			if r.Past || r.Value <= 60 {
				b.Errorf("%v of %v was not asked for", r.Value, r.At)
			}
		}
		if n := len(b.in.Readings()); n < 45 {
			b.Errorf("%d readings, want those of a minute", n)
		}
	})
}

// A scrape that is missing is no reading; one that the server has late is one, within the overlap.
func TestMissingAndLate(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start(nil)
		b.pass(time.Minute, "a")
		began := time.Now()
		b.pass(50 * time.Second)
		n := len(b.in.Readings())
		if n != 60 {
			b.Errorf("%d readings, want the 60 that were scraped", n)
		}
		for i := range 40 {
			b.store.add("a", began.Add(time.Duration(i)*time.Second), 100)
		}
		b.pass(15 * time.Second)
		if got := len(b.in.Readings()) - n; got != 40 {
			b.Errorf("%d of 40 readings that came late", got)
		}
	})
}

// After a crash, what detectors may not have kept comes again, in order and without a gap; after an end in order nothing does.
func TestReplayAfterACrash(t *testing.T) {
	for _, query := range []string{"x", "x+0"} {
		inBubble(t, func(b *bench) {
			options := map[string]any{"step": "1s", "delay": "0s", "queries": []any{map[string]any{"query": query, "metric": "x"}}}
			b.behind = 2 * time.Minute
			b.start(options)
			b.pass(10*time.Minute, "a")
			left := b.TempDir() // what a crash leaves
			if err := os.CopyFS(left, os.DirFS(b.dir)); err != nil {
				b.Fatal(err)
			}
			if err := b.stop(); err != nil {
				b.Error(err)
			}
			known := b.last()
			for _, life := range []struct {
				dir         string
				least, most int
			}{{left, 120, 135}, {left, 0, 0}} {
				b.dir, b.in = life.dir, new(sourcetest.Intake)
				b.start(options)
				b.pass(time.Minute, "a")
				if err := b.stop(); err != nil {
					b.Error(err)
				}
				all := b.in.Readings()
				again := 0
				for i, r := range all {
					if !r.At.After(known) {
						again++
					}
					if want := all[0].At.Add(time.Duration(i) * time.Second); !r.At.Equal(want) || r.Past {
						b.Fatalf("%s: reading %d is of %v, want %v; past %v", query, i, r.At, want, r.Past)
					}
				}
				if again < life.least || again > life.most {
					b.Errorf("%s: %d readings come again, want %d to %d", query, again, life.least, life.most)
				}
				known = b.last()
			}
		})
	}
}

// While the server is away, and while the program is, nothing is lost, and nothing comes twice.
func TestServerAndProgramAway(t *testing.T) {
	for _, query := range []string{"x", "x+0"} {
		inBubble(t, func(b *bench) {
			options := map[string]any{"step": "1s", "queries": []any{map[string]any{"query": query, "metric": "x"}}}
			b.pass(time.Minute, "a", "b")
			b.start(options)
			b.pass(time.Minute, "a", "b")
			b.store.breaks(errors.New("away"))
			b.pass(20*time.Minute, "a", "b")
			if ever, now := b.reports.Told(part); !strings.Contains(now, "away") || ever != now {
				b.Errorf("told %q, want that it is away", now)
			}
			b.store.breaks(nil)
			b.pass(2*time.Minute, "a", "b")
			if now := b.reports.Now(part); now != "" {
				b.Errorf("still told: %q", now)
			}
			if err := b.stop(); err != nil {
				b.Error(err)
			}
			b.pass(10*time.Minute, "a", "b")
			b.start(options)
			b.pass(20 * time.Second) // the delay of an expression
			n := 60 + 60 + 20*60 + 120 + 600
			// An expression repeats what the server has looked up, within its lookback.
			if query == "x+0" {
				n += 5
			}
			got := b.in.Readings()
			seen := make(map[string]bool)
			for _, r := range got {
				id := r.Key.Device + r.At.String()
				if seen[id] {
					b.Fatalf("%s: %v twice", query, r.At)
				}
				seen[id] = true
			}
			if query == "x" {
				b.complete("a", n)
				b.complete("b", n)
			} else if len(got) < 2*(n-10) || len(got) > 2*(n+10) {
				b.Errorf("%d readings, want 2 × %d", len(got), n)
			}
			for i, r := range got {
				if r.Past != (i < 2*60) && query == "x" {
					b.Fatalf("reading %d, %v: of the past: %v", i, r.At, r.Past)
				}
			}
		})
	}
}

// A gap beyond history is bounded, and told.
func TestLongGap(t *testing.T) {
	inBubble(t, func(b *bench) {
		options := map[string]any{"history": "5m"}
		b.start(options)
		b.pass(time.Minute, "a")
		if err := b.stop(); err != nil {
			b.Error(err)
		}
		b.pass(time.Hour, "a")
		n := len(b.in.Readings())
		b.start(options)
		if got := len(b.in.Readings()) - n; got < 300 || got > 361 {
			b.Errorf("%d readings of a gap, want those of five minutes and the overlap", got)
		}
		if ever, _ := b.reports.Told(part + ": gap"); !strings.Contains(ever, "nothing was read since") {
			b.Errorf("told %q", ever)
		}
	})
}

// What a server finds too much is asked for in parts.
func TestTooMuch(t *testing.T) {
	for _, query := range []string{"x", "x+0"} {
		inBubble(t, func(b *bench) {
			b.pass(time.Hour, "a")
			s := settings(b.T, "", &b.reports, map[string]any{
				"step": "1s", "queries": []any{map[string]any{"query": query, "metric": "x"}},
			})
			b.store.most = 100
			source, err := prometheus.NewWith(s, func(_ context.Context, form url.Values) (*promapi.Answer, error) {
				answer, err := b.store.decode(form)
				if errors.Is(err, errTooMany) {
					err = prometheus.ErrTooLong
				}
				return answer, err
			})
			if err != nil {
				b.Fatal(err)
			}
			sourcetest.Run(b.T, source, b.in)
			b.pass(4 * time.Minute)
			if n := len(b.in.Readings()); n < 3600 {
				b.Errorf("%s: %d readings, want those of an hour", query, n)
			}
		})
	}
}

// No more steps are asked for at once than Prometheus answers.
func TestMostPoints(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start(map[string]any{"history": "24h", "step": "1s", "queries": []any{map[string]any{"query": "x+0", "metric": "x"}}})
		n := 0
		for _, form := range b.store.queries() {
			step, start, end := number(b.T, form, "step"), number(b.T, form, "start"), number(b.T, form, "end")
			points := int((end-start)/step) + 1
			if n += points; points > 11000 || math.Mod(start, step) != 0 || math.Mod(end, step) != 0 {
				b.Errorf("asks for %d points from %v to %v", points, start, end)
			}
		}
		if n != 24*3600 {
			b.Errorf("asked for %d points, want %d", n, 24*3600)
		}
	})
}

func number(t *testing.T, form url.Values, key string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(form.Get(key), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// NaN and infinities are readings; series that cannot be told apart, or are too many, are named, and spoil no other.
func TestOddSeries(t *testing.T) {
	inBubble(t, func(b *bench) {
		values := []float64{math.NaN(), math.Inf(1), math.Inf(-1)}
		for i, v := range values {
			b.store.add("a", time.Now().Add(time.Duration(i)*time.Second), v)
		}
		b.store.add("hall/3", time.Now(), 1)
		b.pass(time.Minute)
		b.start(map[string]any{"series": 3})
		got := b.in.Readings()
		if len(got) != 4 || !math.IsNaN(got[0].Value) || got[1].Key.Device != "hall%2F3" || got[2].Value != values[1] || got[3].Value != values[2] {
			b.Errorf("got %v", got)
		}
		for i := range 5 {
			b.store.add(fmt.Sprint("more", i), time.Now(), 1)
		}
		b.pass(30*time.Second, "a")
		if now := b.reports.Now(part + ": answer"); !strings.Contains(now, `"more1"`) || !strings.Contains(now, "more series than the key series allows, 3") {
			b.Errorf("told %q", now)
		}
		if n := len(b.in.Readings()); n < 4+15 {
			b.Errorf("%d readings: others suffered", n)
		}
	})
	inBubble(t, func(b *bench) {
		b.pass(time.Minute, "a", "b")
		b.start(map[string]any{"device": "same"})
		if now := b.reports.Now(part + ": answer"); !strings.Contains(now, `x{i="b"} is default/same/x, and so is x{i="a"}`) {
			b.Errorf("told %q", now)
		}
		b.complete("same", 60)
	})
	inBubble(t, func(b *bench) {
		b.pass(time.Minute, "a")
		b.start(map[string]any{"device": "{room}"})
		if now := b.reports.Now(part + ": answer"); !strings.Contains(now, `x{i="a"}: device: {room} in "{room}" means nothing`) {
			b.Errorf("told %q", now)
		}
	})
}

// Series that ended make room for others.
func TestSeriesComeAndGo(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start(map[string]any{"series": 2, "step": "1m"})
		for _, name := range []string{"a", "b", "c", "d"} {
			b.pass(10*time.Minute, name)
			b.sleep(2 * time.Hour)
			b.complete(name, 600)
		}
	})
}

// Readings of one time come together, in the order of time, so that the members of a group do.
func TestInOrderOfTime(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(time.Hour, "a", "b", "c")
		b.start(nil)
		var last time.Time
		for _, r := range b.in.Readings() {
			if r.At.Before(last) {
				b.Fatalf("%v behind %v", r.At, last)
			}
			last = r.At
		}
	})
}

func TestPartialAnswers(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.store.extra = `,"isPartial":true,"warnings":["a store is away"]`
		b.pass(time.Minute, "a")
		b.start(nil)
		if now := b.reports.Now(part); !strings.Contains(now, "partial") || len(b.in.Readings()) > 0 {
			b.Errorf("told %q, %d readings", now, len(b.in.Readings()))
		}
		if err := b.stop(); err != nil {
			b.Error(err)
		}
		b.start(map[string]any{"partial": true})
		if now := b.reports.Now(part + ": answer"); !strings.Contains(now, "a store is away") || len(b.in.Readings()) != 60 {
			b.Errorf("told %q, %d readings", now, len(b.in.Readings()))
		}
	})
	inBubble(t, func(b *bench) {
		b.store.extra = `,"warnings":["PromQL warning: odd"],"infos":["PromQL info: not a counter"]`
		b.pass(time.Minute, "a")
		b.start(nil)
		if now := b.reports.Now(part + ": answer"); !strings.Contains(now, "odd; PromQL info: not a counter") || len(b.in.Readings()) != 60 {
			b.Errorf("told %q, %d readings: a warning about the query takes nothing from an answer", now, len(b.in.Readings()))
		}
	})
}

// A series that a server did not show for a while, as its store was away, comes back whole: what was scraped meanwhile is asked
// for, of that series alone, up to history. The others wait for nothing.
func TestSeriesThatWasSilent(t *testing.T) {
	for name, c := range map[string]struct {
		away, want time.Duration
		restart    bool
	}{
		"for a while":                  {away: 20 * time.Minute, want: 20 * time.Minute},
		"while the program was, too":   {away: 20 * time.Minute, want: 20 * time.Minute, restart: true},
		"for longer than history goes": {away: 3 * time.Hour, want: time.Hour},
		"no longer than the overlap":   {away: 30 * time.Second, want: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				options := map[string]any{"history": "1h"}
				b.pass(time.Minute, "a", "b")
				b.start(options)
				b.pass(15*time.Second, "a", "b")
				b.store.hides("b")
				b.pass(c.away/2, "a", "b")
				if c.restart {
					if err := b.stop(); err != nil {
						b.Error(err)
					}
					b.start(options)
				}
				b.pass(c.away-c.away/2, "a", "b")
				var count, before = make(map[string]int), b.in.Readings()
				for _, r := range before {
					count[r.Key.Device]++
				}
				if count["b"] > 75 || count["a"] < 75+int(c.away.Seconds())-30 {
					b.Errorf("%v readings: want those of a, and of b none since it is away", count)
				}
				asked := len(b.store.queries())
				b.store.hides("")
				b.pass(45*time.Second, "a", "b")
				b.pass(15 * time.Second)
				var narrow int
				for _, form := range b.store.queries()[asked:] {
					if query := form.Get("query"); strings.HasPrefix(query, `x{i="b"}[`) {
						narrow++
					} else if window, _ := time.ParseDuration(query[len("x[") : len(query)-1]); window > 135*time.Second {
						b.Errorf("asked for %s", query)
					}
				}
				if c.away > 2*time.Minute && narrow == 0 || c.away < time.Minute && narrow > 0 {
					b.Errorf("asked for b alone %d times", narrow)
				}
				b.complete("a", 75+int(c.away.Seconds())+45)
				if c.want == c.away {
					b.complete("b", 75+int(c.away.Seconds())+45)
					return
				}
				var since int
				var last float64
				for _, r := range b.in.Readings()[len(before):] {
					if r.Key.Device == "b" {
						if last != 0 && r.Value != last+1 || r.Past {
							b.Fatalf("%v behind %v, past: %v", r.Value, last, r.Past)
						}
						since, last = since+1, r.Value
					}
				}
				if got := time.Duration(since) * time.Second; got < c.want || got > c.want+2*time.Minute {
					b.Errorf("the readings of %v, want %v", got, c.want)
				}
			})
		})
	}
}

// Of two that scrape the same, Thanos answers with one, from its first sample on: readings are those of one of them.
func TestReplicas(t *testing.T) {
	inBubble(t, func(b *bench) {
		s, err := prometheus.NewWith(settings(b.T, "", &b.reports, nil), func(_ context.Context, form url.Values) (*promapi.Answer, error) {
			all, err := b.store.decode(form)
			if err == nil && len(all.Series) == 2 {
				one := slices.MinFunc(all.Series, func(a, b promapi.Series) int { return strings.Compare(a.Points[0].Time, b.Points[0].Time) })
				one.Labels = promapi.Labels{"__name__": "x", "i": "one"}
				all.Series = []promapi.Series{one}
			}
			return all, err
		})
		if err != nil {
			b.Fatal(err)
		}
		sourcetest.Run(b.T, s, b.in)
		b.sleep(time.Second)
		for range 100 {
			b.store.add("a", time.Now(), 1)
			b.sleep(20 * time.Second)
			b.store.add("b", time.Now(), 1)
			b.sleep(10 * time.Second)
		}
		all := b.in.Readings()[2:]
		for i, r := range all[1:] {
			if gap := r.At.Sub(all[i].At); gap != 30*time.Second {
				b.Fatalf("%v behind the last one, at %v", gap, r.At)
			}
		}
		if len(all) < 90 {
			b.Errorf("%d readings, want 98", len(all))
		}
	})
}

// An intake that ended ends the source.
func TestIntakeEnds(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(time.Minute, "a")
		s, err := prometheus.NewWith(settings(b.T, "", &b.reports, nil), func(_ context.Context, form url.Values) (*promapi.Answer, error) {
			return b.store.decode(form)
		})
		if err != nil {
			b.Fatal(err)
		}
		why := errors.New("the intake has ended")
		if err := s.Run(b.Context(), sourcetest.Ended{Err: why}); !errors.Is(err, why) {
			b.Errorf("Run: %v, want %v", err, why)
		}
	})
}

// The list of the detectors for Prometheus that came before is taken as it is, and says under which name what is expected
// of each series is shown.
func TestPredicted(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.pass(time.Minute, "a")
		b.start(map[string]any{"queries": nil, "delay": "0s", "prometheus_metric_list": []any{
			map[string]any{"metric_query": "x", "predicted_metric_name": "x_prophet"},
			map[string]any{"metric_query": "x+0", "predicted_metric_name": "sum_prophet"},
		}})
		b.pass(time.Minute, "a")
		got := make(map[string]string)
		for _, r := range b.in.Readings() {
			got[r.Key.Property] = r.Property.Predicted
		}
		if want := map[string]string{"x": "x_prophet", "sum_prophet": "sum_prophet"}; !maps.Equal(got, want) {
			b.Errorf("predicted metrics by property: %v, want %v", got, want)
		}
	})
	inBubble(t, func(b *bench) {
		b.pass(time.Minute, "press/1")
		b.start(map[string]any{"predicted": "{i}:{metric}_predicted", "namespace": "{i}"})
		if got := b.in.Readings()[0].Property.Predicted; got != "press_2F1:x_predicted" {
			b.Errorf("predicted %q", got)
		}
	})
}
