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
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/sink/devicestatus"
	"github.com/kubeedge/edge-anomaly/driver"
)

const (
	mapper      = "system:serviceaccount:kubeedge:mapper"
	mapperToken = "mapper-token"
)

// addStatuses creates n DeviceStatuses, by several writers.
func addStatuses(t *testing.T, s *Server, namespace string, n int) {
	t.Helper()
	c := s.Client(t, "").Resource(DeviceStatuses).Namespace(namespace)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				o := &unstructured.Unstructured{Object: map[string]any{
					"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceStatus",
					"metadata": map[string]any{"name": fmt.Sprintf("d-%d", i)},
				}}
				if _, err := c.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func manifest(t *testing.T, s *Server, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../admethod/sink/devicestatus/manifests", name))
	must(t, err)
	s.Apply(t, string(text))
}

// sink writes as the mapper's service account.
func sink(t *testing.T, s *Server, options map[string]any, hooks *admethod.Hooks) *devicestatus.Sink {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(mapperToken), 0o600))
	all := map[string]any{"server": s.URL(), "tokenFile": token, "caFile": s.CAFile()}
	maps.Copy(all, options)
	d, err := devicestatus.New(admethod.SinkSettings{Options: all, Hooks: hooks})
	must(t, err)
	must(t, d.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		defer cancel()
		_ = d.Shutdown(ctx)
	})
	return d
}

func verdict(namespace, device string, score float64) driver.Result {
	var r driver.Result
	r.Reset(driver.Row{{Key: driver.Key{Namespace: namespace, Device: device, Property: "power"}, At: time.Now(), Value: 1}})
	r.Threshold, r.Detector = driver.DefaultThreshold, "ewma"
	r.Judge(score, driver.KindSpike)
	return r
}

func write(t *testing.T, d *devicestatus.Sink, results ...driver.Result) {
	t.Helper()
	must(t, d.Write(t.Context(), results))
}

func severity(o *unstructured.Unstructured) string {
	text, _, _ := unstructured.NestedString(o.Object, "status", "extensions", "anomaly-detector", "data", "severity")
	return text
}

// within polls until f holds.
func within(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func TestDeviceStatus(t *testing.T) {
	s := Start(t, map[string]string{mapperToken: mapper})
	manifest(t, s, "namespaced.yaml")
	t.Run("patch only in one namespace", func(t *testing.T) { testPermissions(t, s) })
	t.Run("kubeconfig and forgetting", func(t *testing.T) { testForgets(t, s) })
	t.Run("others keep what is theirs", func(t *testing.T) { testOthers(t, s) })
	t.Run("outage", func(t *testing.T) { testOutage(t, s) })
	t.Run("flapping", func(t *testing.T) { testFlapping(t, s) })
}

// testPermissions: patch in one namespace suffices there, and is refused elsewhere with the server's words. Server-side
// apply would need create for a status that is missing: it is refused, where a merge patch tells that it is missing.
func testPermissions(t *testing.T, s *Server) {
	s.Apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: elsewhere}}`)
	for _, ns := range []string{"default", "elsewhere"} {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceStatus", "metadata": map[string]any{"name": "light-1"},
		}}
		_, err := s.Client(t, "").Resource(DeviceStatuses).Namespace(ns).Create(t.Context(), o, metav1.CreateOptions{})
		must(t, err)
	}
	var mu sync.Mutex
	var refused error
	d := sink(t, s, nil, &admethod.Hooks{SinkFailed: func(_ string, err error, _ bool) {
		mu.Lock()
		defer mu.Unlock()
		if apierrors.IsForbidden(err) {
			refused = err
		}
	}})
	write(t, d, verdict("default", "light-1", 1), verdict("elsewhere", "light-1", 1), verdict("default", "missing", 1))
	within(t, time.Minute, "written, refused and missing", func() bool {
		stats := d.Stats()
		return stats.Written > 0 && stats.Forbidden > 0 && stats.Missing > 0
	})
	mu.Lock()
	t.Logf("refused: %v", refused)
	if refused == nil || !strings.Contains(refused.Error(), mapper) || !strings.Contains(refused.Error(), `"elsewhere"`) {
		t.Errorf("the error names neither user nor namespace: %v", refused)
	}
	mu.Unlock()
	o, err := s.Client(t, "").Resource(DeviceStatuses).Namespace("default").Get(t.Context(), "light-1", metav1.GetOptions{})
	must(t, err)
	if severity(o) != "critical" {
		t.Errorf("not written: %v", o.Object)
	}
	body := `{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"DeviceStatus","metadata":{"name":"missing"},"status":{"extensions":{"x":{"a":1}}}}`
	mine := s.Client(t, mapperToken).Resource(DeviceStatuses).Namespace("default")
	_, err = mine.Patch(t.Context(), "missing", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "x"})
	t.Logf("server-side apply of a missing status: %v", err)
	if !apierrors.IsForbidden(err) {
		t.Errorf("server-side apply of a missing status: %v, want it to be forbidden", err)
	}
	_, err = mine.Patch(t.Context(), "missing", types.MergePatchType, []byte(body), metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("merge patch of a missing status: %v, want not found", err)
	}
}

// testForgets: by a kubeconfig, a verdict comes, goes with its property, and comes back; what others own stays.
func testForgets(t *testing.T, s *Server) {
	file := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: here, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: mapper, user: {token: %s}}]
contexts: [{name: here, context: {cluster: here, user: mapper}}]
`, s.URL(), s.CAFile(), mapperToken), 0o600))
	d := sink(t, s, map[string]any{"kubeconfig": file, "server": "", "tokenFile": "", "caFile": ""}, nil)
	admin := s.Client(t, "").Resource(DeviceStatuses).Namespace("default")
	_, err := admin.Patch(t.Context(), "light-1", types.MergePatchType, []byte(`{"status":{"extensions":{"another":{"kept":true}}}}`), metav1.PatchOptions{})
	must(t, err)
	r := verdict("default", "light-1", 0.97)
	now := func(what, want string) {
		t.Helper()
		within(t, time.Minute, what, func() bool {
			o, err := admin.Get(t.Context(), "light-1", metav1.GetOptions{})
			must(t, err)
			kept, _, _ := unstructured.NestedBool(o.Object, "status", "extensions", "another", "kept")
			_, there, _ := unstructured.NestedMap(o.Object, "status", "extensions", "anomaly-detector")
			return kept && severity(o) == want && there == (want != "")
		})
	}
	write(t, d, r)
	now("the verdict comes", "warning")
	d.Forget(r.Key)
	now("it goes, and the extension with it", "")
	write(t, d, r)
	now("it comes back", "warning")
}

// testOthers: CloudCore's way of writing twins, an extension of a third, and the sink's, all at a time.
func testOthers(t *testing.T, s *Server) {
	admin := s.Client(t, "").Resource(DeviceStatuses).Namespace("default")
	d := sink(t, s, map[string]any{"interval": "50ms", "rate": 1000}, nil)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 1000 {
			body := fmt.Sprintf(`{"status":{"state":"ok","twins":[{"propertyName":"power","reported":{"value":"%d"}}]}}`, i+1)
			if _, err := admin.Patch(t.Context(), "light-1", types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	third := 0
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			body := fmt.Sprintf(`{"apiVersion":"devices.kubeedge.io/v1beta1","kind":"DeviceStatus","metadata":{"name":"light-1"},"status":{"extensions":{"third":{"count":%d}}}}`, third+1)
			_, err := admin.Patch(t.Context(), "light-1", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "third"})
			if apierrors.IsConflict(err) {
				continue // the server gave up against so many writers
			}
			if err != nil {
				t.Error(err)
				return
			}
			third++
		}
	})
	last := ""
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			r := verdict("default", "light-1", []float64{0.1, 1}[i%2])
			last = r.Severity.String()
			write(t, d, r)
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	wg.Wait()
	within(t, time.Minute, "the last verdict", func() bool { return d.Stats().Waiting == 0 })
	o, err := admin.Get(t.Context(), "light-1", metav1.GetOptions{})
	must(t, err)
	text, _ := json.Marshal(o.Object["status"])
	for _, want := range []string{`"value":"1000"`, fmt.Sprintf(`"third":{"count":%d}`, third), `"severity":"` + last + `"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is lost: %s", want, text)
		}
	}
	t.Logf("1000 twin patches, %d applies of a third, %+v", third, d.Stats())
}

// testOutage: what changed while the API server was away is there soon after it is back.
func testOutage(t *testing.T, s *Server) {
	const devices = 1000
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	addStatuses(t, s, "default", devices)
	d := sink(t, s, map[string]any{"rate": 50}, nil)
	batch := make([]driver.Result, devices)
	fill := func(round int) {
		for i := range batch {
			batch[i] = verdict("default", fmt.Sprintf("d-%d", i), []float64{0.1, 0.97, 1}[(round+i)%3])
		}
		write(t, d, batch...)
	}
	fill(0)
	within(t, 2*time.Minute, "all written before the outage", func() bool { return d.Stats().Waiting == 0 })
	s.Pause()
	tick := time.NewTicker(time.Second)
	for round := range 30 {
		fill(round + 1)
		<-tick.C
	}
	tick.Stop()
	s.Resume(t)
	back, before := time.Now(), d.Stats()
	defer func() { t.Logf("at the end of the outage %+v, later %+v", before, d.Stats()) }()
	within(t, time.Minute, "the final state of all", func() bool { return d.Stats().Waiting == 0 })
	took, after := time.Since(back), d.Stats()
	list, err := s.Client(t, "").Resource(DeviceStatuses).Namespace("default").List(t.Context(), metav1.ListOptions{})
	must(t, err)
	got := make(map[string]string, devices)
	for i := range list.Items {
		got[list.Items[i].GetName()] = severity(&list.Items[i])
	}
	for i := range batch {
		if want := batch[i].Severity.String(); got[batch[i].Key.Device] != want {
			t.Errorf("%s is %q, want %q", batch[i].Key.Device, got[batch[i].Key.Device], want)
		}
	}
	t.Logf("final state of %d devices %v after the server was back, by %d writes", devices, took, after.Written-before.Written)
}

// testFlapping: memory holds the latest only, however long many devices flap.
func testFlapping(t *testing.T, s *Server) {
	d := sink(t, s, map[string]any{"rate": 50}, nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	start, first := heap(), uint64(0)
	for round := range 100 {
		for i := range 10000 {
			write(t, d, verdict("default", fmt.Sprintf("flap-%d", i), []float64{0.1, 1}[round%2]))
		}
		if round == 0 {
			first = heap()
		}
	}
	last := heap()
	t.Logf("10000 devices: %d KiB after one verdict each, %d KiB after a hundred", (first-start)>>10, (last-start)>>10)
	if last-start > 2*(first-start)+8<<20 {
		t.Error("memory grows with the number of verdicts")
	}
}
