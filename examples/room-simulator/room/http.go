// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package room

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
)

// maxBody is more than any request needs.
const maxBody = 64

func (r *Room) route() {
	r.mux.HandleFunc("GET /{$}", r.overview)
	r.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "ok") })
	r.mux.HandleFunc("GET /faults", r.listFaults)
	r.mux.HandleFunc("GET /lights/{id}", r.getLight)
	r.mux.HandleFunc("PUT /lights/{id}", r.setLight(func(l *light, on bool) { l.on = on }))
	r.mux.HandleFunc("POST /lights/{id}/fault", r.setLight(func(l *light, on bool) { l.dark = on }))
	r.mux.HandleFunc("GET /brightness", r.getSensor)
	r.mux.HandleFunc("GET /temperature", r.getSensor)
	r.mux.HandleFunc("GET /replay/{name}", r.getSensor)
	r.mux.HandleFunc("POST /sensors/{name}/fault", r.setSensorFault)
}

// ServeHTTP implements http.Handler.
func (r *Room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, maxBody)
	r.mux.ServeHTTP(w, req)
}

func answer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text) // the client has gone: nobody is left to tell
}

// body returns the trimmed body, or answers the request itself.
func body(w http.ResponseWriter, req *http.Request) (string, bool) {
	b, err := io.ReadAll(req.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, fmt.Sprintf("body: more than %d bytes", tooLarge.Limit), http.StatusRequestEntityTooLarge)
		return "", false
	}
	if err != nil {
		http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
		return "", false
	}
	return strings.TrimSpace(string(b)), true
}

func bit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func (r *Room) getLight(w http.ResponseWriter, req *http.Request) {
	l := r.lights[req.PathValue("id")]
	if l == nil {
		r.noLight(w, req.PathValue("id"))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answer(w, bit(l.on))
}

// setLight returns a handler that applies a body of 0 or 1 to a light.
func (r *Room) setLight(apply func(l *light, on bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		l := r.lights[req.PathValue("id")]
		if l == nil {
			r.noLight(w, req.PathValue("id"))
			return
		}
		text, ok := body(w, req)
		if !ok {
			return
		}
		if text != "0" && text != "1" {
			http.Error(w, fmt.Sprintf("body %q: want 0 or 1", text), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		apply(l, text == "1")
		answer(w, text)
	}
}

func (r *Room) noLight(w http.ResponseWriter, id string) {
	http.Error(w, fmt.Sprintf("no light %q: want one of %s", id, joinNames(slices.Sorted(maps.Keys(r.lights)))), http.StatusNotFound)
}

// getSensor answers with a reading of the sensor whose path was asked for.
func (r *Room) getSensor(w http.ResponseWriter, req *http.Request) {
	name := req.PathValue("name")
	if name == "" {
		name = strings.TrimPrefix(req.URL.Path, "/")
	}
	s := r.sensors[name]
	if s == nil || s.path != req.URL.Path {
		var replays []string
		for name, s := range r.sensors {
			if strings.HasPrefix(s.path, "/replay/") {
				replays = append(replays, name)
			}
		}
		if len(replays) == 0 {
			http.Error(w, fmt.Sprintf("no replay %q: the simulator was started without replays", name), http.StatusNotFound)
			return
		}
		slices.Sort(replays)
		http.Error(w, fmt.Sprintf("no replay %q: want one of %s", name, joinNames(replays)), http.StatusNotFound)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text, ok := s.read(r.noise)
	if !ok {
		http.Error(w, "the sensor does not answer", http.StatusServiceUnavailable)
		return
	}
	answer(w, text)
}

func (r *Room) setSensorFault(w http.ResponseWriter, req *http.Request) {
	name := req.PathValue("name")
	s := r.sensors[name]
	if s == nil {
		http.Error(w, fmt.Sprintf("no sensor %q: want one of %s", name, joinNames(slices.Sorted(maps.Keys(r.sensors)))), http.StatusNotFound)
		return
	}
	text, ok := body(w, req)
	if !ok {
		return
	}
	fault, err := ParseFault(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.inject(fault)
	answer(w, string(fault))
}

// listFaults answers with a line per active fault: the path that it was posted
// to, without /fault, and its body.
func (r *Room) listFaults(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(r.lights)) {
		if r.lights[id].dark {
			fmt.Fprintf(&b, "lights/%s 1\n", id)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.sensors)) {
		if f := r.sensors[name].fault; f != None {
			fmt.Fprintf(&b, "sensors/%s %s\n", name, f)
		}
	}
	answer(w, b.String())
}

// overview shows the room. It takes no readings, so that looking does not move
// a replay on.
func (r *Room) overview(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "LIGHT\tREPORTS\tSHINES")
	for _, id := range slices.Sorted(maps.Keys(r.lights)) {
		l := r.lights[id]
		fmt.Fprintf(t, "/lights/%s\t%s\t%s\n", id, bit(l.on), bit(l.on && !l.dark))
	}
	_ = t.Flush() // a strings.Builder takes everything
	fmt.Fprintln(t, "\nSENSOR\tLAST READING\tFAULT")
	for _, name := range slices.Sorted(maps.Keys(r.sensors)) {
		s := r.sensors[name]
		last := s.last
		if last == "" {
			last = "not read yet"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.path, last, s.fault)
	}
	_ = t.Flush()
	answer(w, b.String()+`
PUT  /lights/light1              0 or 1
POST /lights/light1/fault        1 (reports its state but stays dark) or 0
POST /sensors/temperature/fault  one of `+joinNames(Faults)+`
GET  /faults
`)
}
