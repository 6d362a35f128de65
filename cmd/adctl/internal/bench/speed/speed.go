// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package speed measures what a reading and a stream cost, for each detector driver: alone, and on the whole path of a
// reading through an pipeline.Handler.
package speed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Result is what one driver costs. Times are of the processor, in nanoseconds; P99 alone is by the clock.
type Result struct {
	Driver  string `json:"driver"`
	Members int    `json:"members"`         // of a row
	Error   string `json:"error,omitempty"` // why the driver was not measured, or not through Observe

	Detect       float64 `json:"detectNs"` // a call of Detect alone
	DetectAllocs float64 `json:"detectAllocs"`
	P99          float64 `json:"detectP99Ns"` // 99 of 100 calls are faster; includes one look at the clock
	Bytes        float64 `json:"streamBytes"` // of the detector after three days of readings
	DetectFloor  float64 `json:"detectPerFloor"`

	// On the whole path, both sides of the queue together. 0 for rows of several members.
	Observe       float64 `json:"observeNs,omitempty"`
	ObserveAllocs float64 `json:"observeAllocs"`
	ObserveFloor  float64 `json:"observePerFloor,omitempty"`
}

// Report is what all drivers cost on this machine.
type Report struct {
	Floor        float64  `json:"floorNs"`      // the least that a detector can do: a bare EWMA
	Clock        float64  `json:"clockNs"`      // one look at the clock
	BindingBytes float64  `json:"bindingBytes"` // of a bound stream beside its detector
	Results      []Result `json:"drivers"`
}

// Options say what is measured.
type Options struct {
	Drivers *driver.Registry // nil means driver.Default
	Names   []string         // empty means all
	Time    time.Duration    // of each measurement
}

const (
	day     = 1440
	days    = 10
	learned = 3 * day // readings before anything is measured
	cycle   = time.Minute
	streams = 32  // opened to see what one takes
	bound   = 512 // bindings opened to see what one takes
	singles = 20_000
	most    = 8 // members of a row
	// batch is how many readings go through the path between two waits for their verdicts.
	batch = 8192
)

var start = time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)

// readings are ten days of a daily rhythm with noise, one reading a minute; the first follows the last.
func readings() []float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	v := make([]float64, days*day)
	for i := range v {
		v[i] = 20 + 5*math.Sin(2*math.Pi*float64(i)/day) + 0.3*rng.NormFloat64()
	}
	return v
}

// Run measures.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Drivers == nil {
		o.Drivers = driver.Default
	}
	if len(o.Names) == 0 {
		for _, f := range o.Drivers.Factories() {
			o.Names = append(o.Names, f.Info().Name)
		}
	}
	values := readings()
	r := &Report{Floor: floor(values, o.Time), Clock: clock()}
	var err error
	if r.BindingBytes, err = bindingBytes(ctx); err != nil {
		return nil, err
	}
	for _, name := range o.Names {
		f, err := o.Drivers.Lookup(name)
		if err != nil {
			return nil, err
		}
		members := []int{1}
		if n := min(f.Info().Members, most); n > 1 {
			members = append(members, n)
		}
		for _, n := range members {
			result := Result{Driver: name, Members: n}
			if err := result.measure(ctx, f, values, o.Time); err != nil {
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				result.Error = err.Error()
			}
			result.DetectFloor, result.ObserveFloor = result.Detect/r.Floor, result.Observe/r.Floor
			r.Results = append(r.Results, result)
		}
	}
	return r, nil
}

func (r *Result) measure(ctx context.Context, f driver.Factory, values []float64, d time.Duration) error {
	fd, err := newFeeder(f, r.Members, values)
	if err != nil {
		return err
	}
	for range learned {
		fd.feed()
	}
	r.Detect, r.DetectAllocs = Cost(d, fd.feed)
	r.P99 = percentile(fd.feed)
	if r.Bytes, err = streamBytes(f, r.Members, values); err != nil {
		return err
	}
	if r.Members > 1 {
		return nil
	}
	return r.observe(ctx, f, values, d)
}

// observe measures the whole path.
func (r *Result) observe(ctx context.Context, f driver.Factory, values []float64, d time.Duration) (err error) {
	h, err := handler(ctx, driver.NewRegistry(f))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Shutdown(context.WithoutCancel(ctx))) }()
	b, err := bind(h, f.Info().Name, 0) //nolint:contextcheck // Bind takes no context
	if err != nil {
		return err
	}
	i, at := 0, start
	step := func() {
		at = at.Add(cycle)
		b.Observe(at, values[i%len(values)])
		if i++; i%batch == 0 && err == nil {
			err = h.Flush(ctx)
		}
	}
	for range learned {
		step()
	}
	if err := errors.Join(err, h.Flush(ctx)); err != nil {
		return err
	}
	r.Observe, r.ObserveAllocs = Cost(d, step)
	if err := errors.Join(err, h.Flush(ctx)); err != nil {
		return err
	}
	if n := b.Stats().Dropped; n > 0 {
		return fmt.Errorf("%d readings were dropped: the cost of the path is not known", n)
	}
	return nil
}

// feeder hands readings to a detector.
type feeder struct {
	detector driver.Detector
	row      driver.Row
	out      driver.Result
	values   []float64
	i        int
	at       time.Time
}

func newFeeder(f driver.Factory, members int, values []float64) (*feeder, error) {
	fd := &feeder{values: values, at: start, row: make(driver.Row, members)}
	for i := range fd.row {
		fd.row[i].Key = driver.Key{Namespace: "default", Device: "sensor", Property: fmt.Sprint("value-", i)}
	}
	var err error
	fd.detector, err = f.Open(fd.settings(), nil)
	return fd, err
}

func (f *feeder) settings() driver.Settings {
	var s driver.Settings
	for i := range f.row {
		s.Members = append(s.Members, driver.Member{
			Key: f.row[i].Key, DataType: "double", Minimum: limits[0], Maximum: limits[1], Cycle: cycle,
		})
	}
	return s
}

// limits are what the DeviceModel says of the property.
var limits = [2]float64{-1000, 1000}

func (f *feeder) feed() {
	f.at = f.at.Add(cycle)
	for j := range f.row {
		// Members tell of the same rhythm, each with a noise of its own.
		f.row[j].At, f.row[j].Value = f.at, f.values[(f.i+7*day*j)%len(f.values)]
	}
	f.i++
	f.out.Reset(f.row)
	f.out.Threshold = driver.DefaultThreshold
	f.detector.Detect(f.row, &f.out)
}

func floor(values []float64, d time.Duration) float64 {
	var mean, variance, sum float64
	i := 0
	ns, _ := Cost(d, func() {
		dev := values[i%len(values)] - mean
		sum += dev * dev / (variance + 1e-12)
		mean += 0.05 * dev
		variance += 0.05 * (dev*dev - variance)
		i++
	})
	runtime.KeepAlive(sum)
	return ns
}

// Cost calls f for at least d of the processor's time, and returns what a call takes of it, in ns, and its allocations.
func Cost(d time.Duration, f func()) (ns, allocs float64) {
	const round = 1024
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := processorTime()
	var spent time.Duration
	n := 0
	for spent < d {
		for range round {
			f()
		}
		n += round
		spent = processorTime() - begin
	}
	runtime.ReadMemStats(&after)
	return float64(spent) / float64(n), math.Floor(float64(after.Mallocs-before.Mallocs)/float64(n)*1000) / 1000
}

// percentile is the time that 99 of 100 calls do not exceed.
func percentile(f func()) float64 {
	times := make([]time.Duration, singles)
	for i := range times {
		begin := time.Now()
		f()
		times[i] = time.Since(begin)
	}
	slices.Sort(times)
	return float64(times[len(times)*99/100])
}

// clock is what it takes to look at the clock.
func clock() float64 {
	times := make([]time.Duration, singles)
	for i := range times {
		begin := time.Now()
		times[i] = time.Since(begin)
	}
	slices.Sort(times)
	return float64(times[len(times)/2])
}

// streamBytes is the memory of a detector that has learned.
func streamBytes(f driver.Factory, members int, values []float64) (float64, error) {
	feeders := make([]*feeder, streams)
	settings := make([]driver.Settings, streams)
	for i := range feeders { // what belongs to the measurement is there before
		var err error
		if feeders[i], err = newFeeder(f, members, values); err != nil {
			return 0, err
		}
		feeders[i].detector, settings[i] = nil, feeders[i].settings()
	}
	before := heap()
	for i, fd := range feeders {
		var err error
		if fd.detector, err = f.Open(settings[i], nil); err != nil {
			return 0, err
		}
		for range learned {
			fd.feed()
		}
	}
	after := heap()
	runtime.KeepAlive(feeders)
	runtime.KeepAlive(settings)
	return max(after-before, 0) / streams, nil
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what was finalized by the first
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// nothing is a detector without state.
type nothing struct{}

func (nothing) Detect(driver.Row, *driver.Result) {}

// bindingBytes is the memory that a bound stream takes beside its detector.
func bindingBytes(ctx context.Context) (bytes float64, err error) {
	f := driver.NewFactory(driver.Info{Name: "nothing"}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { return nothing{}, nil })
	h, err := handler(ctx, driver.NewRegistry(f))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, h.Shutdown(context.WithoutCancel(ctx))) }()
	bindings := make([]*pipeline.Binding, bound+1)
	// The first one brings what all of them share.
	if bindings[bound], err = bind(h, "nothing", bound); err != nil { //nolint:contextcheck // Bind takes no context
		return 0, err
	}
	before := heap()
	for i := range bound {
		if bindings[i], err = bind(h, "nothing", i); err != nil { //nolint:contextcheck // as above
			return 0, err
		}
	}
	after := heap()
	runtime.KeepAlive(bindings)
	return (after - before) / bound, nil
}

func handler(ctx context.Context, drivers *driver.Registry) (*pipeline.Handler, error) {
	h, err := pipeline.NewHandler(pipeline.Options{
		Drivers: drivers, Sinks: new(admethod.SinkRegistry), Replay: true,
		AdapterOptions: map[string]map[string]any{"inprocess": {"queue": 2 * batch}},
	})
	if err != nil {
		return nil, err
	}
	return h, h.Start(ctx)
}

func bind(h *pipeline.Handler, name string, i int) (*pipeline.Binding, error) {
	c, err := admethod.ParseSettings(map[string]any{"detector": name})
	if err != nil {
		return nil, err
	}
	key := driver.Key{Namespace: "default", Device: fmt.Sprint("sensor-", i), Property: "value"}
	return h.Bind(key, c, admethod.Meta{
		DataType: "double", Minimum: fmt.Sprint(limits[0]), Maximum: fmt.Sprint(limits[1]), Cycle: cycle,
	})
}
