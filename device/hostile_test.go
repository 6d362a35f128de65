// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

const (
	hostileNamespaces = 4
	hostileBudget     = 32 << 20 // bytes, for each namespace
)

// rig is a mapper whose Devices are written by somebody who means it harm: what he must not reach is watched.
type rig struct {
	t         *testing.T
	detection device.Detection
	handler   *pipeline.Handler
	bait      []string        // paths and addresses that a Device must not reach
	watch     func() []string // files of the bait that were opened
	dialled   *atomic.Int64   // connections to addresses of the bait
	before    uint64          // heap
	bound     map[string]device.Watcher
	keys      []string // that a Device may set
}

// place is where the rig is: whoever watches it knows what it may reach.
type place struct {
	dir           string
	own, stranger string // addresses: the operator's detector, and bait
}

// state, models and token are what the mapper may open.
func (p place) state() string  { return filepath.Join(p.dir, "state") }
func (p place) models() string { return filepath.Join(p.dir, "models") }
func (p place) token() string  { return filepath.Join(p.dir, "operators-token") }

// trap holds the bait.
func (p place) trap() string { return filepath.Join(p.dir, "trap") }

var baits = []string{"token", "ca.pem", "room.model"}

// newPlace makes a place; strangers counts connections to the bait.
func newPlace(t *testing.T, strangers *atomic.Int64) place {
	p := place{dir: t.TempDir(), own: listen(t, nil), stranger: listen(t, strangers)}
	for _, d := range []string{p.trap(), p.models(), filepath.Join(p.models(), "ns0")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range baits {
		if err := os.WriteFile(filepath.Join(p.trap(), name), []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(p.trap(), "room.model"), filepath.Join(p.models(), "ns0", "out.model")); err != nil {
		t.Fatal(err)
	}
	// What the operator has configured is away, which is not the point here.
	if err := os.WriteFile(p.token(), []byte("hers\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func newRig(t *testing.T) *rig {
	var strangers atomic.Int64
	r := newRigAt(t, newPlace(t, &strangers))
	r.dialled = &strangers
	return r
}

func newRigAt(t *testing.T, at place) *rig {
	r := &rig{t: t, bound: make(map[string]device.Watcher), dialled: new(atomic.Int64)}
	trap, token, own, stranger := at.trap(), at.token(), at.own, at.stranger
	for _, name := range baits {
		r.bait = append(r.bait, filepath.Join(trap, name))
	}
	r.bait = append(r.bait, stranger, "https://"+stranger+"/v1", "http://"+stranger, "dns:///"+stranger, "passthrough:///"+stranger,
		"unix:"+filepath.Join(trap, "socket"), "unix:///"+filepath.Join(trap, "socket"), "127.0.0.1", "/dev/zero", "/etc/passwd", "/proc/self/mem",
		"../trap/room.model", "ns1/../../trap/room.model", "out.model", "0.0.0.0:0", own+","+stranger, "plant-a,"+stranger, token)
	r.watch = watchOpens(t, trap)
	var err error
	r.handler, err = pipeline.NewHandler(pipeline.Options{
		StateDir: at.state(), ModelDir: filepath.Join(at.models(), "{namespace}"), DefaultSinks: []string{},
		Budget: pipeline.Budget{Bytes: hostileBudget},
		AdapterOptions: map[string]map[string]any{
			"grpc": {"targets.plant-a.address": own, "targets.plant-a.token": token, "allow.ns0": "allowed.invalid:443"},
			"http": {"address": "https://" + own, "token": token},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.handler.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.detection = device.NewDetection(r.handler, config.Fixed(config.Config{AnomalyDetection: config.AnomalyDetection{
		Routes: []config.Route{{Match: config.Match{Device: "routed"}, Settings: map[string]any{"adMethodName": "http", "http.callback.listen": ""}}},
	}}))
	for _, k := range (pipeline.Options{}).DeviceKeys() {
		r.keys = append(r.keys, strings.Replace(k.Key, "*", "window", 1))
	}
	for _, f := range driver.Default.Factories() {
		for _, p := range f.Params() {
			r.keys = append(r.keys, "detector."+p.Key)
		}
	}
	for _, f := range admethod.Adapters.Items() {
		if f.Params != nil {
			for _, p := range f.Params() {
				r.keys = append(r.keys, f.Name+"."+p.Key)
			}
		}
	}
	r.before = heap()
	return r
}

// listen accepts connections, which it counts and closes.
func listen(t *testing.T, count *atomic.Int64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if count != nil {
				count.Add(1)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// bind binds a Device of chance, or what is left of it.
func (r *rig) bind(rnd *rand.Rand) (taken bool) {
	settings := make(map[string]any)
	for range 1 + rnd.IntN(7) {
		settings[r.key(rnd)] = r.value(rnd)
	}
	if rnd.IntN(2) == 0 { // something that works, or nearly
		f := pick(rnd, driver.Default.Factories())
		settings = map[string]any{"detector": f.Info().Name}
		for _, p := range f.Params() {
			if rnd.IntN(3) == 0 {
				settings["detector."+p.Key] = p.Default
			} else if rnd.IntN(6) == 0 {
				settings["detector."+p.Key] = strconv.Itoa(1 << rnd.IntN(17))
			}
		}
		if rnd.IntN(3) == 0 {
			settings[r.key(rnd)] = r.value(rnd)
		}
	}
	if rnd.IntN(8) == 0 {
		text, err := json.Marshal(settings)
		if err != nil {
			r.t.Fatal(err)
		}
		settings = map[string]any{"config": string(text)}
	}
	own, err := json.Marshal(settings)
	if err != nil {
		return false // JSON cannot carry it, so no Device can
	}
	meta := device.PropertyMeta{
		Namespace: fmt.Sprint("ns", rnd.IntN(hostileNamespaces)), Device: pick(rnd, []string{"d", "e", "routed"}),
		Property: fmt.Sprint("p", rnd.IntN(100)), DataType: pick(rnd, []string{"double", "string", "boolean", "bytes", "", "nonsense"}),
		Minimum: pick(rnd, []string{"", "0", "x"}), Maximum: pick(rnd, []string{"", "1", "-1"}), Unit: pick(rnd, []string{"", "K", strings.Repeat("u", 300)}),
		Cycle: pick(rnd, []time.Duration{0, time.Second, 1 << 62}),
	}
	name := meta.Namespace + "/" + meta.Device + "/" + meta.Property
	if old := r.bound[name]; old != nil {
		old.Close()
		delete(r.bound, name)
	}
	layers, err := r.detection.Settings(meta, own)
	if err != nil || layers == nil {
		return false
	}
	w, err := r.detection.Bind(meta, layers)
	if err != nil {
		if len(err.Error()) > 64<<10 {
			r.t.Errorf("%s: an error of %d bytes", own, len(err.Error()))
		}
		return false
	}
	r.bound[name] = w
	for i := range 3 {
		w.ObserveAny(time.Unix(1_800_000_000+int64(i), 0), pick(rnd, []any{1.5, "text", true, []byte{0xff}, nil, -1e300}))
	}
	return true
}

func (r *rig) key(rnd *rand.Rand) string {
	key := pick(rnd, r.keys)
	switch rnd.IntN(12) {
	case 0: // one letter is another
		if i := rnd.IntN(len(key)); true {
			key = key[:i] + string(rune('!'+rnd.IntN(90))) + key[i+1:]
		}
	case 1:
		key = pick(rnd, []string{"grpc.", "http.", "inprocess.", "detector.", "quality.", "recorder.", "", "."}) + key
	case 2:
		key += pick(rnd, []string{".ca", ".x", ".", "\n", "\x00", " ", ".targets.x.address", strings.Repeat("k", 200)})
	case 3:
		key = pick(rnd, []string{"grpc.targets.x.address", "grpc.allow.ns0", "http.targets.x.token", "http.allow.*", "inprocess.lanes", "modelDir", "stateDir", "sinkOptions.log.level", "adapterOptions.grpc.address", "deviceSinks", "budget"})
	case 4:
		key = strings.ToUpper(key)
	}
	return key
}

func (r *rig) value(rnd *rand.Rand) any {
	switch rnd.IntN(9) {
	case 0:
		return pick(rnd, []any{0, 1, -1, 1e308, 100, 1000, 4096, 1_000_000, 0.5, true, false, nil, "", "1e400", "NaN", "9999999999999999999999"})
	case 1:
		return pick(rnd, []any{"1ns", "-1s", "10000h", "1s", "5m", "999999999999h"})
	case 2:
		return pick(rnd, []string{"inprocess", "grpc", "http", "recorder", "api,metrics,history,recorder", "log", "activity", "auto", "ewma", "knn", "autogroup", "plant-a", "true", "up", "each"})
	case 3:
		return strings.Repeat(pick(rnd, []string{"g", "22:00-06:00,", "a,", "\n", "{", "é"}), 1<<rnd.IntN(18))
	case 4:
		return map[string]any{pick(rnd, r.keys): pick(rnd, r.bait)}
	case 5:
		return []any{pick(rnd, r.bait), 1, "x"}
	case 6:
		return strconv.Itoa(rnd.IntN(5000))
	default:
		return pick(rnd, r.bait)
	}
}

// check says what was reached that must not be.
func (r *rig) check() {
	r.t.Helper()
	for _, name := range r.watch() {
		r.t.Errorf("opened %s", name)
	}
	if n := r.dialled.Load(); n > 0 {
		r.t.Errorf("%d connections to an address that is no target", n)
	}
	if sinks := r.handler.Stats().Sinks; len(sinks) > 0 {
		r.t.Errorf("a Device switched on the sinks %v", sinks)
	}
	// Detectors take less than they declare, which leaves room for bindings, states that wait, and the queues of targets.
	if grown := int64(heap()) - int64(r.before); grown > hostileNamespaces*hostileBudget {
		r.t.Errorf("%d MiB more than before, with budgets of %d MiB", grown>>20, hostileNamespaces*hostileBudget>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func pick[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

// Whatever a Device says, the mapper lives, opens no file and no connection that its operator did not give it, starts
// nothing, listens nowhere, and takes no more memory than the budget. Where the system can show every call of a process,
// that of the mapper is one of its own. HOSTILE_DEVICES sets how many there are.
func TestHostileDevices(t *testing.T) {
	if !watchedApart(t, bindHostile) {
		bindHostile(newRig(t))
	}
}

// bindHostile binds hostile Devices.
func bindHostile(r *rig) {
	t := r.t
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	if text := os.Getenv("HOSTILE_DEVICES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	defer r.end()
	rnd := rand.New(rand.NewPCG(1, 2))
	taken := 0
	for i := range n {
		if r.bind(rnd) {
			taken++
		}
		if i%2500 == 0 {
			r.check()
		}
	}
	r.check()
	t.Logf("%d of %d Devices are taken, %d MiB more than before", taken, n, (int64(heap())-int64(r.before))>>20)
	if taken < n/20 || taken > n*9/10 {
		t.Errorf("%d of %d Devices are taken: they try too little", taken, n)
	}
}

// The trap itself works: what reaches for the bait is seen.
func TestTrap(t *testing.T) {
	r := newRig(t)
	defer r.end()
	if _, err := os.ReadFile(r.bait[0]); err != nil {
		t.Fatal(err)
	}
	if opened := r.watch(); !slices.Contains(opened, "token") && runtime.GOOS == "linux" {
		t.Errorf("a file that was opened is not seen: %q", opened)
	}
}

func (r *rig) end() {
	// Readings on their way to targets that are away are no answer to this.
	if err := r.handler.Shutdown(r.t.Context()); err != nil && !strings.Contains(err.Error(), "not answered") {
		r.t.Error(err)
	}
}

func FuzzHostileDevices(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := newRig(t)
		defer r.end()
		rnd := rand.New(rand.NewPCG(a, b))
		for range 50 {
			r.bind(rnd)
		}
		r.check()
	})
}
