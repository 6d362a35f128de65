// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"
)

// fakeDriver makes fake clients and counts everything. Its functions may be nil.
type fakeDriver struct {
	connect func(ctx context.Context, dev *common.DeviceInstance) error
	read    func(ctx context.Context, c *fakeClient, property string) (any, error)
	write   func(ctx context.Context, property string, value any) error
	state   func(ctx context.Context) (string, error)
	closing func(ctx context.Context) error

	mu       sync.Mutex
	connects []time.Time
	reads    map[string]int // by device/property
	writes   []string       // device/property=value (type)
	closes   int

	violations atomic.Int64 // of what Client promises its author
}

func (d *fakeDriver) Connect(ctx context.Context, dev *common.DeviceInstance) (Client, error) {
	d.mu.Lock()
	d.connects = append(d.connects, time.Now())
	d.mu.Unlock()
	if d.connect != nil {
		if err := d.connect(ctx, dev); err != nil {
			return nil, err
		}
	}
	return &fakeClient{driver: d, dev: dev}, nil
}

// fakeClient fails the test when two of its methods run at once, or one runs after Close.
type fakeClient struct {
	driver *fakeDriver
	dev    *common.DeviceInstance
	busy   sync.Mutex
	closed bool
}

func (c *fakeClient) enter() func() {
	if !c.busy.TryLock() {
		c.driver.violations.Add(1)
		panic("two calls at once")
	}
	if c.closed {
		c.driver.violations.Add(1)
		panic("call after Close")
	}
	return c.busy.Unlock
}

func (c *fakeClient) Read(ctx context.Context, p *common.DeviceProperty) (any, error) {
	defer c.enter()()
	d := c.driver
	d.mu.Lock()
	if d.reads == nil {
		d.reads = make(map[string]int)
	}
	d.reads[c.dev.Name+"/"+p.PropertyName]++
	n := d.reads[c.dev.Name+"/"+p.PropertyName]
	d.mu.Unlock()
	if d.read != nil {
		return d.read(ctx, c, p.PropertyName)
	}
	return float64(n), nil
}

func (c *fakeClient) Write(ctx context.Context, p *common.DeviceProperty, value any) error {
	defer c.enter()()
	d := c.driver
	if d.write != nil {
		if err := d.write(ctx, p.PropertyName, value); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes = append(d.writes, fmt.Sprintf("%s/%s=%v (%T)", c.dev.Name, p.PropertyName, value, value))
	return nil
}

func (c *fakeClient) State(ctx context.Context) (string, error) {
	defer c.enter()()
	if c.driver.state != nil {
		return c.driver.state(ctx)
	}
	return common.DeviceStatusOK, nil
}

func (c *fakeClient) Close(ctx context.Context) error {
	defer c.enter()()
	c.closed = true
	c.driver.mu.Lock()
	c.driver.closes++
	c.driver.mu.Unlock()
	if c.driver.closing != nil {
		return c.driver.closing(ctx)
	}
	return nil
}

func (d *fakeDriver) count(property string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads[property]
}

func (d *fakeDriver) written() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.writes)
}

func (d *fakeDriver) connected() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.connects)
}

func (d *fakeDriver) closed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closes
}

// fakeReporter keeps what is reported.
type fakeReporter struct {
	mu     sync.Mutex
	twins  []string // property=value
	states []string
	forgot []string
}

func (r *fakeReporter) Report(_, _ string, twin common.Twin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.twins = append(r.twins, twin.PropertyName+"="+twin.Reported.Value)
}

func (r *fakeReporter) ReportState(_, device, state string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, device+"="+state)
}

func (r *fakeReporter) Forget(_, device string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgot = append(r.forgot, device)
}

func (r *fakeReporter) all() (twins, states, forgot []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.twins), slices.Clone(r.states), slices.Clone(r.forgot)
}

// fakeDetection counts bindings, and refuses settings that say "wrong".
type fakeDetection struct {
	mu     sync.Mutex
	bound  []string // property settings
	closed []string
	forgot []string // properties that were refused
	seen   map[string][]any
	extra  string // what the mapper's configuration adds; changing it needs a refresh
}

func (d *fakeDetection) Settings(_ PropertyMeta, own json.RawMessage) (json.RawMessage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if own == nil {
		return nil, nil
	}
	if string(own) == `"no object"` {
		return nil, errors.New("no object")
	}
	return json.RawMessage(string(own) + d.extra), nil
}

func (d *fakeDetection) Bind(meta PropertyMeta, settings json.RawMessage) (Watcher, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if string(settings) == `"wrong"` {
		return nil, errors.New("wrong settings")
	}
	d.bound = append(d.bound, meta.Property+" "+string(settings))
	return &fakeWatcher{d, meta.Property}, nil
}

func (d *fakeDetection) Forget(meta PropertyMeta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgot = append(d.forgot, meta.Property)
}

type fakeWatcher struct {
	d        *fakeDetection
	property string
}

func (w *fakeWatcher) ObserveAny(_ time.Time, v any) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if w.d.seen == nil {
		w.d.seen = make(map[string][]any)
	}
	w.d.seen[w.property] = append(w.d.seen[w.property], v)
}

func (w *fakeWatcher) Close() {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.d.closed = append(w.d.closed, w.property)
}

func (d *fakeDetection) bindings() (bound, closed []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.bound), slices.Clone(d.closed)
}

type consumerFunc func(Reading)

func (f consumerFunc) Consume(r Reading) { f(r) }

// fakeDevice has properties of type float that are read each second and reported; names with a trailing + are
// ReadWrite.
func fakeDevice(name string, properties ...string) *common.DeviceInstance {
	dev := &common.DeviceInstance{
		ID: "ns/" + name, Name: name, Namespace: "ns", Model: "m",
		PProtocol: common.ProtocolConfig{ProtocolName: "fake", ConfigData: json.RawMessage(`{"configData":{}}`)},
	}
	for _, p := range properties {
		mode := "ReadOnly"
		if n := len(p) - 1; p[n] == '+' {
			p, mode = p[:n], "ReadWrite"
		}
		dev.Properties = append(dev.Properties, common.DeviceProperty{
			Name: p, PropertyName: p, CollectCycle: 1000, ReportToCloud: true,
			PProperty: common.ModelProperty{Name: p, DataType: "float", AccessMode: mode},
		})
	}
	for i := range dev.Properties {
		dev.Twins = append(dev.Twins, common.Twin{PropertyName: dev.Properties[i].Name, Property: &dev.Properties[i]})
	}
	return dev
}

// startPanel runs a panel until the end of the test, and fails the test when it does not end.
func startPanel(t *testing.T, opts PanelOptions, devices ...*common.DeviceInstance) *Panel {
	t.Helper()
	p, err := NewPanel(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range devices {
		p.UpdateDev(nil, dev)
	}
	p.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if d, ok := opts.Driver.(*fakeDriver); ok && d.violations.Load() > 0 {
			t.Errorf("%d calls to a client at once or after Close", d.violations.Load())
		}
	})
	return p
}

// advance lets the fake time of a synctest bubble pass.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// runMapper runs a mapper until stop is called.
func runMapper(t *testing.T, o Options) (m *Mapper, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan *Mapper, 1), make(chan error, 1)
	o.OnStart = func(m *Mapper) { started <- m }
	go func() { ended <- Run(ctx, o) }()
	select {
	case m = <-started:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	return m, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
