// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cloudtest is a simulated API server with the resources that KubeEdge's cloud keeps of devices: Devices,
// DeviceModels and DeviceStatuses of devices.kubeedge.io/v1beta1. It is for tests and demonstrations, as net/http/httptest
// is for HTTP. It lists in pages, watches from any version that it still knows, takes merge patches, as CloudCore and the
// sink devicestatus send them, forgets its past when it is told to, and breaks connections.
//
// It asks nobody who they are, and validates nothing.
package cloudtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The resources.
const (
	Devices        = "devices"
	DeviceModels   = "devicemodels"
	DeviceStatuses = "devicestatuses"
)

var kinds = map[string]string{DeviceModels: "DeviceModel", Devices: "Device", DeviceStatuses: "DeviceStatus"}

const (
	group    = "devices.kubeedge.io/v1beta1"
	prefix   = "/apis/" + group + "/"
	kept     = 20_000 // events, before the oldest are forgotten
	mostBody = 4 << 20
)

// Server is a simulated API server. It is made by [Start], and ended by Close.
type Server struct {
	*httptest.Server

	mu       sync.Mutex
	version  int
	oldest   int // version that a watch may begin with
	objects  map[string]map[string]object
	log      []event
	changed  chan struct{}
	watching map[string]int // by resource
}

type object struct {
	tree map[string]any // never changed
	raw  json.RawMessage
}

type event struct {
	version             int
	resource, namespace string
	Type                string          `json:"type"`
	Object              json.RawMessage `json:"object"`
}

// Start starts a server on a port of this machine.
func Start() *Server {
	s := &Server{objects: make(map[string]map[string]object), changed: make(chan struct{}), watching: make(map[string]int)}
	for r := range kinds {
		s.objects[r] = make(map[string]object)
	}
	s.Server = httptest.NewServer(s)
	return s
}

// Put creates an object, or replaces it: a *v1beta1.Device, DeviceModel or DeviceStatus.
func (s *Server) Put(o metav1.Object) error {
	var resource string
	switch o.(type) {
	case *v1beta1.Device:
		resource = Devices
	case *v1beta1.DeviceModel:
		resource = DeviceModels
	case *v1beta1.DeviceStatus:
		resource = DeviceStatuses
	default:
		return fmt.Errorf("a %T: want a Device, DeviceModel or DeviceStatus", o)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(resource, o.GetNamespace(), o.GetName(), tree)
	return nil
}

// put stores an object. The caller holds the lock, and changes tree no more.
func (s *Server) put(resource, namespace, name string, tree map[string]any) {
	s.version++
	meta, _ := tree["metadata"].(map[string]any)
	meta = maps.Clone(meta)
	if meta == nil {
		meta = make(map[string]any)
	}
	meta["namespace"], meta["name"], meta["resourceVersion"] = namespace, name, strconv.Itoa(s.version)
	meta["managedFields"] = []any{map[string]any{"manager": "somebody", "operation": "Update"}}
	tree["apiVersion"], tree["kind"], tree["metadata"] = group, kinds[resource], meta
	raw, err := json.Marshal(tree)
	if err != nil {
		panic(err) // it came of JSON
	}
	how := "MODIFIED"
	if _, there := s.objects[resource][namespace+"/"+name]; !there {
		how = "ADDED"
	}
	s.objects[resource][namespace+"/"+name] = object{tree, raw}
	s.note(resource, namespace, how, raw)
}

// note tells those who watch. The caller holds the lock.
func (s *Server) note(resource, namespace, how string, raw json.RawMessage) {
	if len(s.log) >= kept {
		n := kept / 2
		s.oldest = s.log[n-1].version
		s.log = slices.Clone(s.log[n:])
	}
	s.log = append(s.log, event{s.version, resource, namespace, how, raw})
	s.wake()
}

func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Delete deletes an object, which must be there.
func (s *Server) Delete(resource, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	key := namespace + "/" + name
	s.note(resource, namespace, "DELETED", s.objects[resource][key].raw)
	delete(s.objects[resource], key)
}

// Lose deletes an object, and forgets that it did, and what happened before: who watches must list anew to see it.
func (s *Server) Lose(resource, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	delete(s.objects[resource], namespace+"/"+name)
	s.oldest, s.log = s.version, nil
}

// Forget makes the server forget what happened up to now: who has not seen it must list anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oldest, s.log = s.version, nil
}

// Status is a DeviceStatus as it is now, nil where there is none. It must not be changed.
func (s *Server) Status(namespace, name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[DeviceStatuses][namespace+"/"+name].tree
}

// Watched waits until all resources are watched.
func (s *Server) Watched(ctx context.Context) error {
	for {
		s.mu.Lock()
		n, changed := len(s.watching), s.changed
		s.mu.Unlock()
		if n == len(kinds) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d resources are watched: %w", n, len(kinds), context.Cause(ctx))
		}
	}
}

// ServeHTTP answers lists, watches and merge patches.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	path := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path, prefix), "/"), "/")
	var resource, namespace, name string
	switch {
	case len(path) == 1:
		resource = path[0]
	case len(path) >= 3 && len(path) <= 4 && path[0] == "namespaces":
		namespace, resource = path[1], path[2]
		if len(path) == 4 {
			name = path[3]
		}
	}
	switch watches := r.URL.Query().Get("watch") == "true"; {
	case kinds[resource] == "":
		refuse(w, http.StatusNotFound, "NotFound", "no such resource")
	case name != "" && r.Method == http.MethodPatch:
		s.patch(w, r, resource, namespace, name)
	case name != "" && r.Method == http.MethodGet:
		s.get(w, resource, namespace, name)
	case name != "" || r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method+" is not simulated")
	case watches:
		s.watch(w, r, resource, namespace)
	default:
		s.list(w, r, resource, namespace)
	}
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.WriteHeader(code)
	answer(w, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Reason: metav1.StatusReason(reason), Message: message, Code: int32(code), //nolint:gosec // of HTTP
	})
}

func answer(w io.Writer, v any) { _ = json.NewEncoder(w).Encode(v) } // the client may be gone

func missing(w http.ResponseWriter, resource, name string) {
	refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s.devices.kubeedge.io %q not found", resource, name))
}

func (s *Server) get(w http.ResponseWriter, resource, namespace, name string) {
	s.mu.Lock()
	o, there := s.objects[resource][namespace+"/"+name]
	s.mu.Unlock()
	if !there {
		missing(w, resource, name)
		return
	}
	answer(w, o.raw)
}

// patch merges a patch into an object, see RFC 7386.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, resource, namespace, name string) {
	if kind := r.Header.Get("Content-Type"); kind != "application/merge-patch+json" {
		refuse(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType", "only merge patches are simulated, not "+kind)
		return
	}
	var patch map[string]any
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err = errors.Join(err, json.Unmarshal(raw, &patch)); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, there := s.objects[resource][namespace+"/"+name]
	if !there {
		missing(w, resource, name)
		return
	}
	s.put(resource, namespace, name, Merge(o.tree, patch))
	answer(w, s.objects[resource][namespace+"/"+name].raw)
}

// Merge is RFC 7386. It changes neither argument.
func Merge(object, patch map[string]any) map[string]any {
	out := maps.Clone(object)
	if out == nil {
		out = make(map[string]any, len(patch))
	}
	for key, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(out, key)
		case map[string]any:
			old, _ := out[key].(map[string]any)
			out[key] = Merge(old, v)
		default:
			out[key] = v
		}
	}
	return out
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.objects[resource] {
		if namespace == "" || strings.HasPrefix(name, namespace+"/") {
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
	for _, name := range names[min(from, len(names)):] {
		items = append(items, s.objects[resource][name].raw)
	}
	answer(w, map[string]any{
		"apiVersion": group, "kind": kinds[resource] + "List",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version), "continue": next}, "items": items,
	})
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	s.mu.Lock()
	if from < s.oldest {
		s.mu.Unlock()
		refuse(w, http.StatusGone, string(metav1.StatusReasonExpired), "what happened since is forgotten")
		return
	}
	s.watching[resource]++
	s.wake()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watching[resource]--; s.watching[resource] == 0 {
			delete(s.watching, resource)
		}
	}()
	control := http.NewResponseController(w)
	for {
		s.mu.Lock()
		if from < s.oldest { // it was too slow
			s.mu.Unlock()
			return
		}
		first, _ := slices.BinarySearchFunc(s.log, from+1, func(e event, version int) int { return e.version - version })
		var news []event
		for _, e := range s.log[first:] {
			if e.resource == resource && (namespace == "" || e.namespace == namespace) {
				news = append(news, e)
			}
		}
		from = max(from, s.version)
		changed := s.changed
		s.mu.Unlock()
		for _, e := range news {
			if json.NewEncoder(w).Encode(e) != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
