// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// api is an API server with the three resources: it lists in pages, watches from any version that it still knows, and
// breaks connections.
type api struct {
	*httptest.Server

	mu       sync.Mutex
	version  int
	oldest   int // version that a watch may begin with
	objects  map[string]map[string]json.RawMessage
	log      []event
	changed  chan struct{}
	watching map[string]int // by resource
	lists    int
}

type event struct {
	version  int
	resource string
	Type     string          `json:"type"`
	Object   json.RawMessage `json:"object"`
}

var resources = map[string]string{"DeviceModel": "devicemodels", "Device": "devices", "DeviceStatus": "devicestatuses"}

func newAPI(tb testing.TB) *api {
	tb.Helper()
	a := &api{objects: make(map[string]map[string]json.RawMessage), changed: make(chan struct{}), watching: make(map[string]int)}
	for _, r := range resources {
		a.objects[r] = make(map[string]json.RawMessage)
	}
	a.Server = httptest.NewServer(a)
	tb.Cleanup(a.Close)
	return a
}

func (a *api) change(resource, kind string, name string, raw json.RawMessage) {
	a.log = append(a.log, event{a.version, resource, kind, raw})
	close(a.changed)
	a.changed = make(chan struct{})
	if kind == "DELETED" {
		delete(a.objects[resource], name)
	} else {
		a.objects[resource][name] = raw
	}
}

// put creates an object, or replaces it.
func (a *api) put(tb testing.TB, o metav1.Object, kind string) {
	tb.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	o.SetResourceVersion(strconv.Itoa(a.version))
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "somebody", Operation: metav1.ManagedFieldsOperationUpdate}})
	raw, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	name := o.GetNamespace() + "/" + o.GetName()
	how := "MODIFIED"
	if a.objects[resources[kind]][name] == nil {
		how = "ADDED"
	}
	a.change(resources[kind], how, name, raw)
}

// delete deletes an object.
func (a *api) delete(kind, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.change(resources[kind], "DELETED", name, a.objects[resources[kind]][name])
}

// forget makes the server forget what happened up to now: who has not seen it must list anew.
func (a *api) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.oldest, a.log = a.version, nil
}

// watched waits until all resources are watched.
func (a *api) watched(tb testing.TB) {
	tb.Helper()
	for {
		a.mu.Lock()
		n, changed := len(a.watching), a.changed
		a.mu.Unlock()
		if n == len(resources) {
			return
		}
		select {
		case <-changed:
		case <-tb.Context().Done():
			tb.Fatal("it does not watch")
		}
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path, "/apis/devices.kubeedge.io/v1beta1"), "/"), "/")
	resource, namespace := path[len(path)-1], ""
	if len(path) == 3 {
		namespace = path[1] + "/"
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "true" {
		a.watch(w, r, resource, namespace)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lists++
	var names []string
	for name := range a.objects[resource] {
		if strings.HasPrefix(name, namespace) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	next := ""
	if limit > 0 && from+limit < len(names) {
		next = strconv.Itoa(from + limit)
		names = names[:from+limit]
	}
	items := make([]json.RawMessage, 0, len(names))
	for _, name := range names[from:] {
		items = append(items, a.objects[resource][name])
	}
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may be gone
		"apiVersion": "devices.kubeedge.io/v1beta1", "kind": kindOf(resource) + "List",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(a.version), "continue": next}, "items": items,
	})
}

func kindOf(resource string) string {
	for kind, r := range resources {
		if r == resource {
			return kind
		}
	}
	return ""
}

func (a *api) watch(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	if from < a.oldest {
		a.mu.Unlock()
		w.WriteHeader(http.StatusGone)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: "Expired", Code: 410})
		return
	}
	a.watching[resource]++
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.watching[resource]--; a.watching[resource] == 0 {
			delete(a.watching, resource)
		}
	}()
	flusher := w.(http.Flusher)
	flusher.Flush()
	for {
		a.mu.Lock()
		var news []event
		for _, e := range a.log {
			if e.version > from && e.resource == resource && strings.Contains(string(e.Object), `"namespace":"`+strings.TrimSuffix(namespace, "/")) {
				news = append(news, e)
			}
		}
		from = max(from, a.version)
		changed := a.changed
		a.mu.Unlock()
		for _, e := range news {
			if json.NewEncoder(w).Encode(e) != nil {
				return
			}
		}
		flusher.Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// model is a DeviceModel with a temperature, a setpoint and a picture.
func model(name string) *v1beta1.DeviceModel {
	return &v1beta1.DeviceModel{
		TypeMeta:   metav1.TypeMeta{APIVersion: "devices.kubeedge.io/v1beta1", Kind: "DeviceModel"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name},
		Spec: v1beta1.DeviceModelSpec{Properties: []v1beta1.ModelProperty{
			{Name: "temperature", Type: v1beta1.DOUBLE, AccessMode: v1beta1.ReadOnly, Unit: "°C", Minimum: "-20", Maximum: "120"},
			{Name: "setpoint", Type: v1beta1.INT, AccessMode: v1beta1.ReadWrite},
			{Name: "picture", Type: v1beta1.STREAM, AccessMode: v1beta1.ReadOnly},
		}},
	}
}

// device is a Device of a model.
func device(name, model string) *v1beta1.Device {
	d := &v1beta1.Device{
		TypeMeta:   metav1.TypeMeta{APIVersion: "devices.kubeedge.io/v1beta1", Kind: "Device"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name, Labels: map[string]string{"hall": "3"}},
	}
	d.Spec.DeviceModelRef = new(localObjectReference)
	d.Spec.DeviceModelRef.Name = model
	for _, p := range []string{"temperature", "temperature-anomaly", "setpoint", "picture"} {
		d.Spec.Properties = append(d.Spec.Properties, v1beta1.DeviceProperty{Name: p})
	}
	return d
}

// The times of twins are milliseconds after began: an int may have 32 bits.
const (
	began = int64(1_700_000_000_000)
	noon  = 1 // of twins; 0 is none
)

// status is a DeviceStatus whose twins are property, value and time in milliseconds from noon on, which is began; 0 is none.
func status(name string, twins ...any) *v1beta1.DeviceStatus {
	s := &v1beta1.DeviceStatus{
		TypeMeta:   metav1.TypeMeta{APIVersion: "devices.kubeedge.io/v1beta1", Kind: "DeviceStatus"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name},
	}
	s.Status.Extensions.Data = map[string]any{"anomaly-detector": map[string]any{"data": map[string]any{"severity": "critical"}}}
	for i := 0; i+2 < len(twins); i += 3 {
		t := v1beta1.Twin{PropertyName: twins[i].(string)}
		t.Reported.Value = fmt.Sprint(twins[i+1])
		if ms := twins[i+2].(int); ms != 0 {
			t.Reported.Metadata = map[string]string{"timestamp": strconv.FormatInt(began+int64(ms-noon), 10), "type": "string"}
		}
		s.Status.Twins = append(s.Status.Twins, t)
	}
	return s
}
