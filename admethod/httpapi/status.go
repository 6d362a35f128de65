// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
)

// Status is what GET /v1/status answers: how the mapper itself is.
type Status struct {
	State    string                `json:"state"` // "ok", or "trouble" while something fails beside detection
	Troubles []Trouble             `json:"troubles"`
	Sinks    map[string]SinkStatus `json:"sinks"`
	Readings Readings              `json:"readings"`
}

// Trouble is an [admethod.Trouble].
type Trouble struct {
	Part  string    `json:"part"`
	Risk  string    `json:"risk"`
	Error string    `json:"error"`
	Since time.Time `json:"since"`
	Times uint64    `json:"times"`
}

// SinkStatus is the state of a sink.
type SinkStatus struct {
	Started  bool               `json:"started"`
	Waiting  int                `json:"waiting"`  // verdicts in its queue
	Replaced uint64             `json:"replaced"` // by later ones, for want of room
	Refused  uint64             `json:"refused"`
	Measures map[string]float64 `json:"measures,omitempty"`
}

// Readings counts those of the properties that are watched now.
type Readings struct {
	Properties int    `json:"properties"`
	Observed   uint64 `json:"observed"`
	Dropped    uint64 `json:"dropped"` // for want of room in a detector's queue
}

// StatusOf makes a status of what a handler counted.
func StatusOf(stats *admethod.Stats) Status {
	s := Status{State: "ok", Troubles: make([]Trouble, 0, len(stats.Troubles)), Sinks: make(map[string]SinkStatus, len(stats.Sinks))}
	for _, t := range stats.Troubles {
		s.State = "trouble"
		s.Troubles = append(s.Troubles, Trouble{t.Part, t.Risk, t.Error, t.Since.UTC(), t.Times})
	}
	for name, q := range stats.Sinks {
		s.Sinks[name] = SinkStatus{q.Started, q.Waiting, q.Replaced, q.Refused, q.Own}
	}
	s.Readings.Properties = len(stats.Bindings)
	for _, b := range stats.Bindings {
		s.Readings.Observed += b.Readings
		s.Readings.Dropped += b.Dropped
	}
	return s
}

// you says who asks, and what that may do.
type you struct {
	Name       string   `json:"name,omitempty"` // as a proxy says it
	Role       string   `json:"role"`           // operator, viewer, or anonymous
	Namespaces []string `json:"namespaces,omitempty"`
}

// status answers GET /v1/status. Who sees some namespaces only is not told how the mapper is beside its state.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	stats, v := s.stats(), viewerOf(r)
	answer := struct {
		Status
		You       you  `json:"you"`
		Recording bool `json:"recording"` // GET /v1/readings and /v1/try answer
	}{StatusOf(&stats), you{v.name, v.role, v.namespaces}, stats.Sinks["recorder"].Started}
	if len(v.namespaces) > 0 {
		answer.Status = Status{State: answer.State, Troubles: []Trouble{}, Sinks: map[string]SinkStatus{}}
	}
	WriteJSON(w, http.StatusOK, answer)
}
