// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	_ "github.com/kubeedge/edge-anomaly/admethod/sink/devicestatus" // where verdicts go
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin" // detectors
)

const (
	watcherToken = "watcher-token"
	watcher      = "system:serviceaccount:edge-anomaly:external-anomaly-detector"
	plant        = "default"
	watchedOnes  = 200
	often        = 40  // of them report in each round,
	seldom       = 4   // the others in every fourth one
	learned      = 120 // rounds, after which all have learned
	roundTime    = 400 * time.Millisecond
	allowed      = time.Second // to be offline, or not to do as it was told
)

var watchedProperties = []string{"temperature", "flow", "level", "setpoint"}

// detector is a detector that stands in the cloud.
type detector struct {
	mu    sync.Mutex
	began map[driver.Key]int // incidents
	stop  func()
}

func (d *detector) incidents() map[driver.Key]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.began)
}

// watch starts a detector on the state of another one.
func watch(t *testing.T, s *Server, state string, restarted bool) *detector {
	t.Helper()
	token := filepath.Join(state, "token")
	must(t, os.WriteFile(token, []byte(watcherToken), 0o600))
	server := map[string]any{"server": s.URL(), "tokenFile": token, "caFile": s.CAFile()}
	sink := map[string]any{"interval": "100ms", "rate": 1000, "writers": 8}
	maps.Copy(sink, server)
	options := map[string]any{"desired": allowed.String(), "offline": allowed.String()}
	maps.Copy(options, server)
	d := &detector{began: make(map[driver.Key]int)}
	in, err := intake.New(intake.Config{
		StateDir: state, Sinks: []string{"devicestatus"}, SinkOptions: map[string]map[string]any{"devicestatus": sink},
		Defaults: map[string]any{"detector": "ewma", "detector.warmUp": 20},
		Routes: []intake.Route{
			{Model: "pump", Property: "flow", Settings: map[string]any{"detector": "freeze", "detector.warmUp": 20, "detector.repeats": 4}},
			{Model: "pump", Property: "level", Settings: map[string]any{"detector": "auto", "detector.warmUp": 100}},
		},
		Hooks: admethod.Hooks{Verdict: func(r *driver.Result) {
			if r.Incident.Phase == driver.Began {
				d.mu.Lock()
				d.began[r.Key]++
				d.mu.Unlock()
			}
		}},
	})
	must(t, err)
	f, err := source.Sources.Lookup("source", kubernetes.Name)
	must(t, err)
	src, err := f.New(source.Settings{Name: "cluster", Options: options, StateDir: filepath.Join(state, "source"), Report: in.Report})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- in.Run(ctx, in.Source(in.Client("cluster", []string{"*"}, intake.Limits{}), src))
	}()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(d.stop)
	if restarted {
		within(t, 20*time.Second, "all properties are watched again", func() bool { return in.Properties() == len(watchedProperties)*watchedOnes })
	}
	return d
}

func object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "devices.kubeedge.io/v1beta1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": plant}, "spec": spec,
	}}
}

// fault changes what a device reports, n rounds after it began. It returns the device's state; "" reports nothing.
type fault func(twins map[string]any, n int) (state string)

// reporter patches the statuses of all devices again and again, as CloudCore does it: the first ones in each round, of the
// others a quarter.
type reporter struct {
	statuses dynamic.ResourceInterface
	begun    time.Time

	mu     sync.Mutex
	round  int
	broken map[int]fault
	since  map[int]int                 // round, of those that are broken
	sent   map[int]map[int64]time.Time // likewise: when the reading of a time, in Unix ms, was reported
}

func newReporter(statuses dynamic.ResourceInterface) *reporter {
	return &reporter{
		statuses: statuses, begun: time.Now(),
		broken: make(map[int]fault), since: make(map[int]int), sent: make(map[int]map[int64]time.Time),
	}
}

// report reports until ctx ends.
func (r *reporter) report(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		once sync.Once
		err  error
	)
	next := make(chan int)
	for range 6 {
		wg.Go(func() {
			for i := range next {
				if failed := r.patch(ctx, i); failed != nil && ctx.Err() == nil {
					once.Do(func() { err = failed })
				}
			}
		})
	}
	pace := time.NewTicker(roundTime)
	defer pace.Stop()
	for ctx.Err() == nil {
		for i := range watchedOnes {
			if i < often || (i+r.round)%seldom == 0 {
				next <- i
			}
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
		r.mu.Lock()
		r.round++
		r.mu.Unlock()
	}
	close(next)
	wg.Wait()
	return err
}

// patch reports one device.
func (r *reporter) patch(ctx context.Context, i int) error {
	r.mu.Lock()
	round, broken, since := r.round, r.broken[i], r.since[i]
	r.mu.Unlock()
	noise := rand.New(rand.NewPCG(uint64(round), uint64(i)))
	twins := map[string]any{
		"temperature": 60 + noise.Float64(), "flow": 5 + float64((round*13+i)%7)/10, "level": 4 + 0.05*noise.NormFloat64(), "setpoint": 50.0,
	}
	state := "online"
	if broken != nil {
		if state = broken(twins, round-since); state == "" {
			return nil
		}
	}
	// The mapper reads at an even pace, however long it takes until the cloud hears of it.
	read := r.begun.Add(time.Duration(round) * roundTime).UnixMilli()
	list := make([]any, 0, len(twins))
	for name, value := range twins {
		list = append(list, map[string]any{"propertyName": name, "observedDesired": map[string]any{"value": ""}, "reported": map[string]any{
			"value": fmt.Sprintf("%.2f", value), "metadata": map[string]any{"timestamp": strconv.FormatInt(read, 10), "type": "string"},
		}})
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{
		"twins": list, "state": state, "lastOnlineTime": time.Now().UTC().Format(time.RFC3339),
	}})
	if err != nil {
		return err
	}
	sent := time.Now()
	_, err = r.statuses.Patch(ctx, fmt.Sprint("pump-", i), types.MergePatchType, body, metav1.PatchOptions{})
	if broken != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sent[i][read] = sent
	}
	return err
}

// shown is when the reading of a time was reported.
func (r *reporter) shown(i int, at time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[i][at.UnixMilli()]
}

// inject breaks a device, from the next round on.
func (r *reporter) inject(i int, f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken[i], r.since[i], r.sent[i] = f, r.round, make(map[int64]time.Time)
}

func (r *reporter) rounds() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.round
}

// finding is an incident that an extension tells.
type finding struct {
	property, kind string
	start          time.Time
}

// findings are those of a device; known says that it is judged.
func findings(t *testing.T, statuses dynamic.ResourceInterface, i int) (all []finding, known bool) {
	t.Helper()
	o, err := statuses.Get(t.Context(), fmt.Sprint("pump-", i), metav1.GetOptions{})
	must(t, err)
	data, _, _ := unstructured.NestedMap(o.Object, "status", "extensions", "anomaly-detector", "data")
	incidents, _, _ := unstructured.NestedSlice(data, "incidents")
	for _, one := range incidents {
		m, _ := one.(map[string]any)
		f := finding{}
		f.property, _ = m["property"].(string)
		f.kind, _ = m["kind"].(string)
		start, _ := m["start"].(string)
		f.start, err = time.Parse(time.RFC3339Nano, start)
		must(t, err)
		all = append(all, f)
	}
	severity, _ := data["severity"].(string)
	return all, severity != "" && severity != "unknown"
}

// Devices that no mapper of this project serves are judged by what their DeviceStatuses say: each fault is in the extensions
// of its device within two seconds of the patch that shows it, and in no other's. A restart loses nothing that was learned,
// and tells nothing twice.
func TestDevicesAreWatched(t *testing.T) {
	s := Start(t, map[string]string{watcherToken: watcher})
	prepare(t, s)
	statuses := s.Client(t, "").Resource(DeviceStatuses).Namespace(plant)
	r := newReporter(statuses)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.report(ctx) }()
	defer func() {
		cancel()
		must(t, <-ended)
	}()
	state := t.TempDir()
	d := watch(t, s, state, false)
	within(t, 5*time.Minute, "all is learned", func() bool { return r.rounds() >= learned })
	well := func(i int) {
		t.Helper()
		if found, known := findings(t, statuses, i); len(found) > 0 || !known {
			t.Errorf("pump-%d, which is well: %+v, known %v", i, found, known)
		}
	}
	for i := range watchedOnes {
		well(i)
	}
	told := d.incidents()
	if len(told) > 0 {
		t.Errorf("incidents while all is well: %v", told)
	}
	d.stop()
	d = watch(t, s, state, true) // on what the other one has learned

	broken := make(map[int]bool)
	for _, f := range []struct {
		i        int
		property string
		kinds    []string
		due      time.Duration // after which nothing but time shows it
		fault    fault
	}{
		{17, "level", []string{"drift", "level"}, 0, func(twins map[string]any, n int) string {
			twins["level"] = twins["level"].(float64) + 0.2*float64(n) // a gentler one is a trend to a detector that has seen a minute
			return "online"
		}},
		{37, "", []string{"missing"}, 4*roundTime + time.Second, func(map[string]any, int) string { return "" }}, // and says nothing
		{30, "", []string{"missing"}, allowed, func(map[string]any, int) string { return "offline" }},
		{23, "setpoint", []string{"desired"}, allowed, func(twins map[string]any, _ int) string {
			twins["setpoint"] = 20.0
			return "online"
		}},
		{12, "flow", []string{"freeze"}, 0, func(twins map[string]any, _ int) string {
			twins["flow"] = 5.25
			return "online"
		}},
		{5, "temperature", []string{"spike", "level", "range"}, 0, func(twins map[string]any, _ int) string {
			twins["temperature"] = 95.0
			return "online"
		}},
	} {
		i := f.i
		broken[i] = true
		injected := time.Now()
		r.inject(i, f.fault)
		var found []finding
		within(t, time.Minute, fmt.Sprintf("a fault of pump-%d is in its extensions", i), func() bool {
			found, _ = findings(t, statuses, i)
			return len(found) > 0
		})
		shown := r.shown(i, found[0].start)
		if f.due > 0 {
			shown = injected.Add(2*roundTime + f.due)
		}
		took := time.Since(shown)
		t.Logf("pump-%d: %s %s, %.2f s after it is shown, %.1f s after it began", i, found[0].property, found[0].kind, took.Seconds(), time.Since(injected).Seconds())
		if took > 2*time.Second {
			t.Errorf("pump-%d: told %v after it is shown", i, took)
		}
		for _, one := range found {
			if f.property != "" && one.property != f.property {
				t.Errorf("pump-%d: %+v, want %s", i, one, f.property)
			}
		}
		// What goes on is told at once, by what it looks like then: the first of a drift is a spike.
		within(t, time.Minute, fmt.Sprintf("the fault of pump-%d is of kind %v", i, f.kinds), func() bool {
			found, _ = findings(t, statuses, i)
			return len(found) > 0 && !slices.ContainsFunc(found, func(one finding) bool { return !slices.Contains(f.kinds, one.kind) })
		})
	}
	all := func() {
		t.Helper()
		for i := range watchedOnes {
			if !broken[i] {
				well(i)
			} else if found, _ := findings(t, statuses, i); len(found) == 0 {
				t.Errorf("pump-%d, which is broken, passes for well", i)
			}
		}
	}
	all()
	d.stop()
	for key, n := range d.incidents() {
		if n > 1 {
			t.Errorf("%v: %d incidents", key, n)
		}
	}
	d = watch(t, s, state, true)
	until := r.rounds() + 12
	within(t, time.Minute, "it goes on", func() bool { return r.rounds() >= until })
	all()
	d.stop()
	for key, n := range d.incidents() {
		t.Errorf("%v: told %d times more after the restart", key, n)
	}
}

// prepare makes the devices, and lets the detector watch them.
func prepare(t *testing.T, s *Server) {
	t.Helper()
	for _, part := range []string{"source/kubernetes", "sink/devicestatus"} {
		text, err := os.ReadFile(filepath.Join("../../admethod", part, "manifests/cluster.yaml"))
		must(t, err)
		s.Apply(t, string(text))
	}
	// The sink's manifest names the mapper's account.
	s.Apply(t, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: watcher-devicestatus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edge-anomaly-devicestatus}
subjects: [{kind: ServiceAccount, name: external-anomaly-detector, namespace: edge-anomaly}]`)
	admin := s.Client(t, "")
	put := func(r schema.GroupVersionResource, o *unstructured.Unstructured) {
		t.Helper()
		if _, err := admin.Resource(r).Namespace(plant).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var properties []any
	for _, name := range watchedProperties {
		properties = append(properties, map[string]any{"name": name, "type": "DOUBLE", "accessMode": "ReadWrite"})
	}
	put(DeviceModels, object("DeviceModel", "pump", map[string]any{"properties": properties}))
	for i := range watchedOnes {
		var own []any
		for _, name := range watchedProperties {
			p := map[string]any{"name": name}
			if name == "setpoint" {
				p["desired"] = map[string]any{"value": "50"}
			}
			own = append(own, p)
		}
		put(Devices, object("Device", fmt.Sprint("pump-", i), map[string]any{"deviceModelRef": map[string]any{"name": "pump"}, "properties": own}))
		put(DeviceStatuses, object("DeviceStatus", fmt.Sprint("pump-", i), map[string]any{}))
	}
}
