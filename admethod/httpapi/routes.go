// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Routes are what a server answers beside its own paths. A sink adds routes when it starts and takes them back when it
// shuts down; whether a server runs at that time makes no difference. The zero value is empty and ready for use.
type Routes struct {
	mu     sync.Mutex
	routes []*route
	past   []*Incidents
	known  []*Recorded
	mux    *http.ServeMux // of the routes; nil when it has to be built again
}

type route struct {
	pattern string
	handler http.Handler
}

// Default holds the routes of the process.
var Default = new(Routes)

// Handle adds a route. The pattern is one of [http.ServeMux] with a method and a path below /v1/, for example
// "GET /v1/locks"; a later route of the same pattern hides an earlier one. Requests reach the handler only after token,
// host and origin were checked. Who sees some namespaces only is shown none of it, and who only looks changes none of it.
// The route ends when remove is called.
func (rs *Routes) Handle(pattern string, handler http.Handler) (remove func(), err error) {
	if handler == nil {
		return rs.HandleSeen(pattern, nil)
	}
	return rs.HandleSeen(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := viewerOf(r); len(v.namespaces) > 0 || v.role == roleViewer && r.Method != http.MethodGet {
			http.Error(w, "this is for operators", http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

// HandleSeen is Handle for a handler that changes nothing and asks [Sees] itself.
func (rs *Routes) HandleSeen(pattern string, handler http.Handler) (remove func(), err error) {
	if _, path, ok := strings.Cut(pattern, " "); !ok || !strings.HasPrefix(path, "/v1/") || handler == nil {
		return nil, fmt.Errorf("route %q: want a handler for a method and a path below /v1/", pattern)
	}
	r := &route{pattern, handler}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.routes, rs.mux = append(rs.routes, r), nil
	if err := rs.build(); err != nil {
		rs.routes = rs.routes[:len(rs.routes)-1]
		return nil, err
	}
	return func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.routes, rs.mux = slices.DeleteFunc(rs.routes, func(o *route) bool { return o == r }), nil
	}, nil
}

// build makes the mux. A pattern that conflicts with another one is an error.
func (rs *Routes) build() (err error) {
	if rs.mux != nil {
		return nil
	}
	mux := http.NewServeMux()
	var pattern string
	defer func() {
		if p := recover(); p != nil { // the only way in which ServeMux tells
			err = fmt.Errorf("route %q: %v", pattern, p)
		}
	}()
	taken := make(map[string]bool)
	for _, r := range slices.Backward(rs.routes) {
		if pattern = r.pattern; !taken[pattern] {
			taken[pattern] = true
			mux.Handle(pattern, r.handler)
		}
	}
	rs.mux = mux
	return nil
}

// ServeHTTP answers by the route that fits.
func (rs *Routes) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rs.mu.Lock()
	err := rs.build()
	mux := rs.mux
	rs.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	mux.ServeHTTP(w, req)
}
