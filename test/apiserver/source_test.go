// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
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
	rounds       = 30 // of reports, until the detectors have learned
)

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
	options := map[string]any{"desired": "1s", "offline": "1s"}
	maps.Copy(options, server)
	d := &detector{began: make(map[driver.Key]int)}
	in, err := intake.New(intake.Config{
		StateDir: state, Sinks: []string{"devicestatus"}, SinkOptions: map[string]map[string]any{"devicestatus": sink},
		Defaults: map[string]any{"detector": "ewma", "detector.warmUp": 20},
		Routes:   []intake.Route{{Model: "pump", Property: "flow", Settings: map[string]any{"detector": "freeze", "detector.warmUp": 20, "detector.repeats": 4}}},
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
	src, err := f.New(source.Settings{Name: "cluster", Options: options, Report: in.Report})
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
		within(t, 20*time.Second, "all properties are watched again", func() bool { return in.Properties() == 3*watchedOnes })
	}
	return d
}

func object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "devices.kubeedge.io/v1beta1", "kind": kind, "metadata": map[string]any{"name": name, "namespace": plant}, "spec": spec,
	}}
}

// report patches the statuses of some devices, as CloudCore does it.
func report(t *testing.T, statuses dynamic.ResourceInterface, state func(i int) (twins map[string]any, offline bool), devices ...int) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 6 {
		wg.Go(func() {
			for i := range next {
				twins, offline := state(i)
				list := make([]any, 0, len(twins))
				for name, value := range twins {
					list = append(list, map[string]any{"propertyName": name, "observedDesired": map[string]any{"value": ""}, "reported": map[string]any{
						"value": fmt.Sprint(value), "metadata": map[string]any{"timestamp": strconv.FormatInt(time.Now().UnixMilli(), 10), "type": "string"},
					}})
				}
				status := map[string]any{"twins": list, "state": "online", "lastOnlineTime": time.Now().UTC().Format(time.RFC3339)}
				if offline {
					status["state"] = "offline"
				}
				body, err := json.Marshal(map[string]any{"status": status})
				if err == nil {
					_, err = statuses.Patch(t.Context(), fmt.Sprint("pump-", i), types.MergePatchType, body, metav1.PatchOptions{})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, i := range devices {
		next <- i
	}
	close(next)
	wg.Wait()
}

// Devices that no mapper of this project serves are judged by what their DeviceStatuses say: each fault is in the extensions
// of its device within two seconds of the patch that shows it, and in no other's. A restart loses nothing that was learned,
// and tells nothing twice.
func TestDevicesAreWatched(t *testing.T) {
	s := Start(t, map[string]string{watcherToken: watcher})
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
	of := func(r schema.GroupVersionResource) dynamic.ResourceInterface {
		return admin.Resource(r).Namespace(plant)
	}
	put := func(r schema.GroupVersionResource, o *unstructured.Unstructured) {
		t.Helper()
		if _, err := of(r).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var properties []any
	for _, name := range []string{"temperature", "flow", "setpoint"} {
		properties = append(properties, map[string]any{"name": name, "type": "DOUBLE", "accessMode": "ReadWrite"})
	}
	put(DeviceModels, object("DeviceModel", "pump", map[string]any{"properties": properties}))
	all := make([]int, watchedOnes)
	for i := range all {
		all[i] = i
		var own []any
		for _, name := range []string{"temperature", "flow", "setpoint"} {
			p := map[string]any{"name": name}
			if name == "setpoint" {
				p["desired"] = map[string]any{"value": "50"}
			}
			own = append(own, p)
		}
		put(Devices, object("Device", fmt.Sprint("pump-", i), map[string]any{"deviceModelRef": map[string]any{"name": "pump"}, "properties": own}))
		put(DeviceStatuses, object("DeviceStatus", fmt.Sprint("pump-", i), map[string]any{}))
	}
	state := t.TempDir()
	d := watch(t, s, state, false)
	round := 0
	healthy := func(i int) (map[string]any, bool) {
		x := float64((round*7919 + i*31) % 101)
		return map[string]any{"temperature": 60 + x/100, "flow": 5 + float64((round*13+i)%7)/10, "setpoint": 50}, false
	}
	began := time.Now()
	for ; round < rounds; round++ {
		report(t, of(DeviceStatuses), healthy, all...)
	}
	t.Logf("%.0f patches a second", float64(rounds*watchedOnes)/time.Since(began).Seconds())

	anomaly := func(i int) (kind string, known bool) {
		o, err := of(DeviceStatuses).Get(t.Context(), fmt.Sprint("pump-", i), metav1.GetOptions{})
		must(t, err)
		data, _, _ := unstructured.NestedMap(o.Object, "status", "extensions", "anomaly-detector", "data")
		severity, _ := data["severity"].(string)
		if severity != "warning" && severity != "critical" {
			return "", severity == "normal"
		}
		all, _, _ := unstructured.NestedMap(data, "properties")
		for _, one := range all {
			if v, ok := one.(map[string]any); ok && v["severity"] == severity {
				kind, _ = v["kind"].(string)
			}
		}
		return kind, true
	}
	within(t, 20*time.Second, "all devices are judged and normal", func() bool {
		for _, i := range []int{0, 7, watchedOnes - 1} {
			if kind, known := anomaly(i); kind != "" || !known {
				return false
			}
		}
		return true
	})
	told := d.incidents()
	d.stop()
	d = watch(t, s, state, true) // on what the other one has learned

	const jumps, freezes, disobeys, leaves = 10, 20, 30, 40
	faults := map[int]func(i int) (map[string]any, bool){
		jumps: func(i int) (map[string]any, bool) {
			twins, _ := healthy(i)
			twins["temperature"] = 95
			return twins, false
		},
		freezes: func(i int) (map[string]any, bool) {
			twins, _ := healthy(i)
			twins["flow"] = 5.25
			return twins, false
		},
		disobeys: func(i int) (map[string]any, bool) {
			twins, _ := healthy(i)
			twins["setpoint"] = 20
			return twins, false
		},
		leaves: func(i int) (map[string]any, bool) {
			twins, _ := healthy(i)
			return twins, true
		},
	}
	want := map[int]string{freezes: "freeze", disobeys: "desired", leaves: "missing"}
	for i, fault := range faults {
		repeats, more := 1, time.Duration(0)
		switch i {
		case freezes:
			repeats = 30 // until it is far longer than usual
		case disobeys, leaves:
			more = time.Second // which it is allowed
		}
		var shown time.Time
		for range repeats {
			round++
			report(t, of(DeviceStatuses), fault, i)
			shown = time.Now()
			if kind, _ := anomaly(i); kind != "" {
				break
			}
		}
		within(t, 2*time.Second+more, fmt.Sprintf("the fault of pump-%d is in its extensions", i), func() bool {
			kind, _ := anomaly(i)
			return kind != "" && (want[i] == "" || kind == want[i])
		})
		kind, _ := anomaly(i)
		t.Logf("pump-%d: %s after %v", i, kind, time.Since(shown).Round(10*time.Millisecond))
	}
	round++
	for i := range all {
		if _, faulty := faults[i]; faulty {
			continue
		}
		if kind, known := anomaly(i); kind != "" || !known {
			t.Errorf("pump-%d, which is well: %q, known %v", i, kind, known)
		}
	}
	d.stop()
	for key, n := range d.incidents() {
		if told[key] > 0 {
			t.Errorf("%v: an incident of before the restart was told again", key)
		}
		if n > 1 && key.Device != "pump-20" {
			t.Errorf("%v: %d incidents", key, n)
		}
	}
	again := watch(t, s, state, true)
	report(t, of(DeviceStatuses), faults[jumps], jumps)
	report(t, of(DeviceStatuses), faults[disobeys], disobeys)
	within(t, 5*time.Second, "both are still anomalous", func() bool {
		jump, _ := anomaly(jumps)
		desired, _ := anomaly(disobeys)
		return jump != "" && desired != ""
	})
	again.stop()
	if n := again.incidents()[driver.Key{Namespace: plant, Device: fmt.Sprint("pump-", jumps), Property: "temperature"}]; n > 0 {
		t.Errorf("the jump was told %d times more after the restart", n)
	}
}
