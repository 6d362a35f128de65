// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// apiServer is as much of a Kubernetes API server as the sink devicestatus needs: it merges patches into the
// DeviceStatuses of the devices, which it has from the beginning.
type apiServer struct {
	url    string
	server *http.Server
	ended  chan error

	mu       sync.Mutex
	statuses map[string]map[string]any // by name
	patches  int
}

const statusesPath = "/apis/devices.kubeedge.io/v1beta1/namespaces/" + namespace + "/devicestatuses/"

func startAPIServer(ctx context.Context, devices []string) (*apiServer, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &apiServer{url: "http://" + l.Addr().String(), statuses: make(map[string]map[string]any), ended: make(chan error, 1)}
	for _, name := range devices {
		a.statuses[name] = map[string]any{
			"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceStatus",
			"metadata": map[string]any{"name": name, "namespace": namespace}, "status": map[string]any{},
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PATCH "+statusesPath+"{name}", a.patch)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { a.ended <- a.server.Serve(l) }()
	return a, nil
}

func (a *apiServer) close() error {
	err := a.server.Close()
	if ended := <-a.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func (a *apiServer) patch(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, reason, message string) {
		answer(w, status, map[string]any{
			"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status,
		})
	}
	var patch map[string]any
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(raw, &patch)
	}
	if err != nil {
		fail(http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/merge-patch+json" {
		fail(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "this server merges patches only, and got "+kind)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	name := r.PathValue("name")
	object, ok := a.statuses[name]
	if !ok {
		fail(http.StatusNotFound, "NotFound", fmt.Sprintf("devicestatuses.devices.kubeedge.io %q not found", name))
		return
	}
	a.patches++
	object = mergePatch(object, patch)
	a.statuses[name] = object
	answer(w, http.StatusOK, object)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whom it concerns is gone
}

// mergePatch is RFC 7386. It changes neither argument.
func mergePatch(object, patch map[string]any) map[string]any {
	merged := maps.Clone(object)
	if merged == nil {
		merged = make(map[string]any, len(patch))
	}
	for key, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			old, _ := merged[key].(map[string]any)
			merged[key] = mergePatch(old, v)
		default:
			merged[key] = v
		}
	}
	return merged
}

// get returns a DeviceStatus, which must not be changed.
func (a *apiServer) get(name string) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.statuses[name]
}

// severity is what the extension of a device says, "" as long as there is none.
func (a *apiServer) severity(name string) string {
	text, _ := field(a.get(name), "status", "extensions", extension, "data", "severity").(string)
	return text
}

const extension = "anomaly-detector"

func field(v any, path ...string) any {
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// fetch reads a page of the mapper.
func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text), nil
}

// freeAddress is one of this machine that nobody listens on right now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// only keeps the lines of a text that contain all of the given parts.
func only(text string, parts ...string) string {
	var b strings.Builder
lines:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		b.WriteString(line)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
