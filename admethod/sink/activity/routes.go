// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"net/http"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
)

// register adds the routes of activities and locks to the API.
func (s *sink) register() error {
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /v1/activities": s.getActivities, "GET /v1/locks": s.getLocks, "DELETE /v1/locks/{name...}": s.deleteLock,
	} {
		remove, err := s.routes.Handle(pattern, h)
		if err != nil {
			return err
		}
		s.remove = append(s.remove, remove)
	}
	return nil
}

func (s *sink) getActivities(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		Activity
		Timeout string `json:"timeout"`
		After   string `json:"after,omitempty"`
		Status  status `json:"status"`
	}
	list := []entry{}
	s.mu.Lock()
	for i := range s.activities {
		a := &s.activities[i]
		e := entry{Activity: *a, Timeout: a.Timeout.String(), Status: *s.status[a.Name]}
		if a.After > 0 {
			e.After = a.After.String()
		}
		list = append(list, e)
	}
	s.mu.Unlock()
	httpapi.WriteJSON(w, http.StatusOK, map[string]any{"activities": list})
}

func (s *sink) getLocks(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		Name string `json:"name"`
		Lock
	}
	list := []entry{}
	s.mu.Lock()
	s.release()
	for _, l := range s.locks.list() {
		list = append(list, entry{l.id().name(), l})
	}
	s.mu.Unlock()
	httpapi.WriteJSON(w, http.StatusOK, map[string]any{"locks": list})
}

// deleteLock releases a lock by its name, or all locks of an activity by the activity's.
func (s *sink) deleteLock(w http.ResponseWriter, r *http.Request) {
	name, n := r.PathValue("name"), 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.locks.held {
		if id.name() == name || id.activity == name {
			s.locks.drop(id)
			n++
		}
	}
	if n == 0 {
		http.Error(w, "no such lock: "+strings.ToValidUTF8(name, "\uFFFD"), http.StatusNotFound)
		return
	}
	if err := s.locks.save(s.now()); err != nil {
		http.Error(w, "released, but not on disk: "+err.Error(), http.StatusInternalServerError)
		return
	}
	httpapi.WriteJSON(w, http.StatusOK, map[string]int{"released": n})
}
