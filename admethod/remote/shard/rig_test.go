// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// detector is one in memory that answers each reading.
type detector struct {
	address string
	silent  bool // knows no sequences and answers in order
	probed  bool // says whether it works

	mu       sync.Mutex
	away     bool
	hung     bool
	denies   bool          // ends sessions at the first reading
	panics   int           // so often, once it is asked
	end      chan struct{} // closed when it is killed
	closed   bool
	sessions int
	devices  map[string]int // readings, by device
}

func newDetector(address string) *detector {
	return &detector{address: address, end: make(chan struct{}), devices: make(map[string]int)}
}

func (d *detector) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *detector) kill() {
	d.set(func() {
		d.away = true
		close(d.end)
		d.end = make(chan struct{})
	})
}

func (d *detector) start() { d.set(func() { d.away, d.hung = false, false }) }

// seen are the devices of which it had readings since the last call.
func (d *detector) seen() (devices []string) {
	d.set(func() {
		for name := range d.devices {
			devices = append(devices, name)
		}
		clear(d.devices)
	})
	slices.Sort(devices)
	return devices
}

func (d *detector) Close() error {
	d.set(func() { d.closed = true })
	return nil
}

func (d *detector) Open(ctx context.Context) (remote.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.panics > 0 {
		d.panics--
		panic("in Open")
	}
	if d.away {
		return nil, errors.New("nobody is there")
	}
	d.sessions++
	return &memory{of: d, ctx: ctx, end: d.end, answers: make(chan uint64, 1<<16)}, nil
}

// prober is a detector that says how it is.
type prober struct{ *detector }

func (p prober) Probe(ctx context.Context) error {
	p.mu.Lock()
	hung := p.hung
	p.mu.Unlock()
	if hung {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

type memory struct {
	of      *detector
	ctx     context.Context
	end     chan struct{}
	answers chan uint64
}

func (m *memory) Send(batch []remote.Request) error {
	m.of.mu.Lock()
	defer m.of.mu.Unlock()
	select {
	case <-m.end:
		return io.EOF
	default:
	}
	for _, r := range batch {
		for i := range r.Row {
			m.of.devices[r.Row[i].Key.Device]++
			if !m.of.hung {
				m.answers <- r.Sequence + uint64(i)
			}
		}
	}
	return nil
}

func (m *memory) Receive() (uint64, func(*remote.Stream, *driver.Result), error) {
	select {
	case sequence := <-m.answers:
		m.of.mu.Lock()
		defer m.of.mu.Unlock()
		if m.of.denies {
			return 0, nil, admethod.Permanent(errors.New("not for you"))
		}
		if m.of.silent {
			sequence = 0
		}
		return sequence, func(s *remote.Stream, r *driver.Result) {
			r.Message = m.of.address
			r.Judge(0.1, driver.KindNone)
		}, nil
	case <-m.end:
		return 0, nil, errors.New("it was killed")
	case <-m.ctx.Done():
		return 0, nil, m.ctx.Err()
	}
}

type settings struct {
	remote.Config `param:""`
}

// rig is an adapter whose streams are spread over detectors. It is used in a bubble.
type rig struct {
	t         *testing.T
	detectors []*detector
	adapter   admethod.Adapter
	streams   []admethod.Stream
	names     []string

	mu      sync.Mutex
	answers map[string][]time.Time // times of the readings that were judged, by device
	judges  map[string]string      // who judged last, by device
	unknown int
	dropped int
	row     int
}

func newRig(t *testing.T, devices int, detectors ...*detector) *rig {
	t.Helper()
	r := &rig{t: t, detectors: detectors, answers: make(map[string][]time.Time), judges: make(map[string]string)}
	kind := remote.Kind[settings]{
		Name: "memory", Defaults: func() settings { return settings{remote.DefaultConfig()} },
		Shared: func(c *settings) *remote.Config { return &c.Config },
		Transport: func(settings, remote.Identity) (remote.Transport, error) {
			var targets []Target
			for _, d := range detectors {
				var transport remote.Transport = d
				if d.probed {
					transport = prober{d}
				}
				targets = append(targets, Target{d.address, transport})
			}
			return New(targets, Options{})
		},
	}
	var err error
	r.adapter, err = kind.Factory().New(admethod.AdapterSettings{
		Hooks: new(admethod.Hooks), Options: map[string]any{"address": "several", "insecure": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.adapter.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range devices {
		r.open(admethod.StreamSettings{Members: []driver.Member{{Key: driver.Key{
			Namespace: "default", Device: fmt.Sprintf("lamp-%d", i), Property: "power",
		}}}})
	}
	return r
}

func (r *rig) open(s admethod.StreamSettings) {
	r.t.Helper()
	name := s.Members[0].Key.Device
	s.Dropped = func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.dropped += n
	}
	s.Deliver = func(res *driver.Result, row driver.Row) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if row == nil || res.Severity == driver.Unknown {
			r.unknown++
			return
		}
		r.answers[name] = append(r.answers[name], row[0].At)
		r.judges[name] = res.Message
	}
	stream, err := r.adapter.Open(s)
	if err != nil {
		r.t.Fatal(err)
	}
	r.streams, r.names = append(r.streams, stream), append(r.names, name)
}

// read takes n readings of each device, one in ten milliseconds.
func (r *rig) read(n int) {
	for range n {
		r.row++
		for i, s := range r.streams {
			s.TrySubmit(driver.Row{{
				Key: driver.Key{Namespace: "default", Device: r.names[i], Property: "power"}, At: time.Unix(int64(r.row), 0), Value: 1,
			}})
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (r *rig) flush() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Hour)
	defer cancel()
	if err := r.adapter.Flush(ctx); err != nil {
		r.t.Error(err)
	}
}

// places forgets what was seen, reads, and returns the devices of each detector, which must be different ones.
func (r *rig) places() [][]string {
	r.t.Helper()
	r.flush()
	for _, d := range r.detectors {
		d.seen()
	}
	r.read(20)
	r.flush()
	var all [][]string
	count := 0
	for _, d := range r.detectors {
		devices := d.seen()
		all = append(all, devices)
		count += len(devices)
	}
	if count != len(r.streams) {
		r.t.Errorf("%d devices are at %d places: %v", len(r.streams), count, all)
	}
	return all
}

// check is called last: each reading was judged at most once, in order, and what is missing was counted.
func (r *rig) check() (lost int) {
	r.t.Helper()
	if err := r.adapter.Shutdown(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	judged := 0
	for name, at := range r.answers {
		if !slices.IsSortedFunc(at, time.Time.Compare) || len(slices.Compact(slices.Clone(at))) != len(at) {
			r.t.Errorf("%s: readings were judged twice or out of order", name)
		}
		judged += len(at)
	}
	if all := r.row * len(r.streams); judged+r.dropped != all {
		r.t.Errorf("of %d readings %d were judged and %d dropped", all, judged, r.dropped)
	}
	for _, d := range r.detectors {
		if !d.closed {
			r.t.Errorf("%s is not closed", d.address)
		}
	}
	return r.dropped
}

func equal(a, b [][]string) bool { return slices.EqualFunc(a, b, slices.Equal) }
