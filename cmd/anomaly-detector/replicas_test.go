// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// replica is a detector at a fixed address. Its API tells which devices it judges.
type replica struct {
	room               *room
	address, http, api string
	program            *program
	started            time.Time
}

// newReplica has the certificates of a room.
func newReplica(t *testing.T, of *room) *replica {
	t.Helper()
	r := &replica{room: &room{dir: t.TempDir(), authority: of.authority}, address: proctest.FreeAddress(t), http: proctest.FreeAddress(t), api: proctest.FreeAddress(t)}
	must(t, os.Symlink(filepath.Join(of.dir, "tls"), filepath.Join(r.room.dir, "tls")))
	config := plainConfig + fmt.Sprintf("  sinkOptions: {api: {address: %q}}\n  defaults: {heartbeat: 1ms}\n", r.api)
	config = strings.NewReplacer("sinks: log", "sinks: api", `http: {listen: "127.0.0.1:0"}`, fmt.Sprintf("http: {listen: %q}", r.http)).Replace(config)
	must(t, os.WriteFile(filepath.Join(r.room.dir, "config.yaml"), []byte(config), 0o600))
	r.start(t)
	return r
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	r.started = time.Now()
	r.program = r.room.start(t, "--listen", r.address)
}

func (r *replica) stop(t *testing.T) {
	t.Helper()
	r.program.stop(t)
}

func (r *replica) kill(t *testing.T) {
	t.Helper()
	must(t, r.program.cmd.Process.Kill())
	<-r.program.done
}

func (r *replica) hang(t *testing.T) {
	t.Helper()
	must(t, r.program.cmd.Process.Signal(syscall.SIGSTOP))
}

func (r *replica) goOn(t *testing.T) {
	t.Helper()
	must(t, r.program.cmd.Process.Signal(syscall.SIGCONT))
}

// judged is the time of the latest reading that the replica judged of each device.
func (r *replica) judged(t *testing.T) map[string]time.Time {
	t.Helper()
	client := &http.Client{Transport: new(http.Transport), Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + r.api + "/v1/verdicts")
	if err != nil {
		return nil // the API begins with the first device
	}
	defer resp.Body.Close()
	var out struct {
		Verdicts []struct {
			Device string
			At     time.Time
		}
	}
	must(t, json.NewDecoder(resp.Body).Decode(&out))
	latest := make(map[string]time.Time)
	for _, v := range out.Verdicts {
		if v.At.After(latest[v.Device]) {
			latest[v.Device] = v.At
		}
	}
	return latest
}

// since are the devices of which the replica judged readings after a time.
func (r *replica) since(t *testing.T, after time.Time) []string {
	t.Helper()
	judged := r.judged(t)
	maps.DeleteFunc(judged, func(_ string, at time.Time) bool { return !at.After(after) })
	return slices.Sorted(maps.Keys(judged))
}

// mapper reads devices of two properties each, 50 times a second.
type mapper struct {
	devices []string
	stop    func() error

	mu       sync.Mutex
	verdicts map[driver.Key]map[int64]int // by the time of the reading
}

func newMapper(t *testing.T, of *room, adapter string, devices int, more map[string]any, replicas ...*replica) *mapper {
	t.Helper()
	var addresses []string
	for _, r := range replicas {
		addresses = append(addresses, map[string]string{"grpc": r.address, "http": r.http}[adapter])
	}
	m := &mapper{verdicts: make(map[driver.Key]map[int64]int)}
	h, err := pipeline.NewHandler(pipeline.Options{StateDir: t.TempDir(), DefaultSinks: []string{}, Hooks: admethod.Hooks{Verdict: m.verdict}})
	must(t, err)
	must(t, h.Start(t.Context()))
	settings := map[string]any{
		"adMethodName": adapter, "detector": "ewma", "quality.late": 0, "quality.missing": 0,
	}
	for key, value := range map[string]any{
		"address": strings.Join(addresses, ","), "backoff": "500ms", "tls.serverName": "localhost",
		"tls.ca": of.file("ca.crt"), "tls.cert": of.file("mapper.edge.crt"), "tls.key": of.file("mapper.edge.key"),
	} {
		settings[adapter+"."+key] = value
	}
	for key, value := range more {
		settings[adapter+"."+key] = value
	}
	config, err := admethod.ParseSettings(settings)
	must(t, err)
	var bindings []*pipeline.Binding
	for i := range devices {
		name := fmt.Sprintf("pump-%d", i)
		m.devices = append(m.devices, name)
		for _, property := range []string{"pressure", "flow"} {
			b, err := h.Bind(driver.Key{Namespace: "default", Device: name, Property: property}, config, admethod.Meta{DataType: "float"})
			must(t, err)
			bindings = append(bindings, b)
		}
	}
	slices.Sort(m.devices)
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		wait.Tick(ctx, 20*time.Millisecond, func(now time.Time) {
			for _, b := range bindings {
				b.Observe(now, 1)
			}
		})
	})
	m.stop = sync.OnceValue(func() error {
		cancel()
		reading.Wait()
		last, end := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer end()
		return h.Shutdown(last)
	})
	t.Cleanup(func() {
		if err := m.stop(); err != nil {
			t.Log(err) // of a test that failed already
		}
	})
	return m
}

func (m *mapper) verdict(r *driver.Result) {
	if r.Kind == driver.KindFailed {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.verdicts[r.Key] == nil {
		m.verdicts[r.Key] = make(map[int64]int)
	}
	m.verdicts[r.Key][r.At.UnixNano()]++
}

// Two replicas share the devices of a mapper, each device with all of its properties at one of them. When one is killed,
// its devices go to the other; when it comes back, they return; all others stay where they are.
func TestReplicasShareDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some ten seconds")
	}
	for _, adapter := range []string{"grpc", "http"} {
		t.Run(adapter, func(t *testing.T) {
			t.Parallel() // they wait, mostly
			testSharing(t, adapter)
		})
	}
}

func testSharing(t *testing.T, adapter string) {
	shared := newRoom(t, "")
	a, b := newReplica(t, shared), newReplica(t, shared)
	m := newMapper(t, shared, adapter, 40, nil, a, b)
	defer func() {
		if t.Failed() {
			t.Logf("the log of a:\n%s\nthe log of b:\n%s", a.program.logged(), b.program.logged())
		}
	}()
	together := func(x, y []string) []string { return slices.Sorted(slices.Values(slices.Concat(x, y))) }

	began := time.Now()
	waittest.Eventually(t, "all devices are judged", func() bool {
		return slices.Equal(together(a.since(t, began), b.since(t, began)), m.devices)
	})
	ofA, ofB := a.since(t, began), b.since(t, began)
	t.Logf("of %d devices %d are at a and %d at b", len(m.devices), len(ofA), len(ofB))
	if len(ofA) < 5 || len(ofB) < 5 {
		t.Errorf("%d and %d devices are no fair shares", len(ofA), len(ofB))
	}

	b.kill(t)
	killed := time.Now()
	waittest.Eventually(t, "a judges all devices", func() bool { return slices.Equal(a.since(t, killed), m.devices) })
	t.Logf("a has taken over after %v", time.Since(killed).Round(100*time.Millisecond))

	b.start(t)
	var back time.Time
	waittest.Eventually(t, "b judges its devices again, and a does not", func() bool {
		back = time.Now()
		select {
		case <-time.After(300 * time.Millisecond):
		case <-t.Context().Done():
		}
		return slices.Equal(b.since(t, back), ofB) && slices.Equal(a.since(t, back), ofA)
	})
	t.Logf("b has its devices back after %v", back.Sub(b.started).Round(100*time.Millisecond))
	if strange := b.since(t, b.started); !slices.Equal(strange, ofB) {
		t.Errorf("b judged %v since it is back, want only its own", strange)
	}

	must(t, m.stop())
	m.count(t)
	a.program.stop(t)
	b.program.stop(t)
}

// Where the mapper keeps what is not answered, replicas that are killed, or hang, one after the other lose nothing, and each reading
// has one verdict. Where it does not, replicas that are shut down in order lose no more than what was on its way.
func TestReplicasAreRestarted(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, tt := range []struct {
		name     string
		settings map[string]any
		end      func(*replica, *testing.T)
		begin    func(*replica, *testing.T)
		lost     int
	}{
		{"killed", map[string]any{"delivery": "atLeastOnce"}, (*replica).kill, (*replica).start, 0},
		{"hung", map[string]any{"delivery": "atLeastOnce", "timeout": "2s"}, (*replica).hang, (*replica).goOn, 0},
		{"in order", nil, (*replica).stop, (*replica).start, 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait, mostly
			shared := newRoom(t, "")
			a, b := newReplica(t, shared), newReplica(t, shared)
			m := newMapper(t, shared, "grpc", 20, tt.settings, a, b)
			more := func(n int) {
				t.Helper()
				from, _ := m.count(t)
				waittest.Eventually(t, "more verdicts", func() bool {
					now, _ := m.count(t)
					return now >= from+n
				})
			}
			more(500)
			for _, r := range []*replica{a, b} {
				tt.end(r, t)
				more(1000)
				tt.begin(r, t)
				more(3000)
			}
			must(t, m.stop())
			verdicts, missing := m.count(t)
			t.Logf("%d verdicts, %d are missing", verdicts, missing)
			if missing > tt.lost {
				t.Errorf("%d of %d verdicts are missing, want at most %d", missing, verdicts+missing, tt.lost)
			}
		})
	}
}

// count is how many readings have a verdict, which none has twice, and how many have none of those that were read up to
// the last that has one.
func (m *mapper) count(t *testing.T) (verdicts, missing int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[int64]struct{}) // all properties are read at the same times
	for key, times := range m.verdicts {
		verdicts += len(times)
		for at, n := range times {
			all[at] = struct{}{}
			if n > 1 {
				t.Fatalf("%s: a reading has %d verdicts", key, n)
			}
		}
	}
	return verdicts, len(m.verdicts)*len(all) - verdicts
}
