// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Property is how one is watched, with the latest verdict, in the answer to GET /v1/property.
type Property struct {
	Watched   bool              `json:"watched"` // what follows but the verdict is known
	Unit      string            `json:"unit,omitempty"`
	Model     string            `json:"model,omitempty"` // of the device
	Labels    map[string]string `json:"labels,omitempty"`
	Cycle     float64           `json:"cycle,omitempty"` // seconds between two readings
	Detector  string            `json:"detector,omitempty"`
	Threshold float64           `json:"threshold,omitempty"`
	Settings  map[string]any    `json:"settings"` // that say how it is judged
	Members   []Member          `json:"members"`  // those that are judged together, itself among them: who is to blame first, then as they are named
	Muted     *admethod.Mute    `json:"muted,omitempty"`
	Verdict   *Verdict          `json:"verdict,omitempty"` // the latest
	Node      string            `json:"node,omitempty"`
	States    []string          `json:"states,omitempty"` // what its numbers stand for, from 0 on; left out where they are numbers
	Found     string            `json:"found,omitempty"`  // what its detector has found it to be like, in the language asked for
}

// Member is one of those that are judged together.
type Member struct {
	Device   string          `json:"device"`
	Property string          `json:"property"`
	Severity driver.Severity `json:"severity"`
	Blame    float64         `json:"blame,omitempty"` // its share
	Value    *float64        `json:"value,omitempty"`
}

// describeLimit is how long a detector may take to have its turn and say what it has found.
const describeLimit = time.Second

// property answers GET /v1/property: how the property of that namespace, device and property is watched, and what its detector
// has found it to be like, in the language that is asked for, en or zh.
func (s *Server) property(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	key := driver.Key{Namespace: q.Get("namespace"), Device: q.Get("device"), Property: q.Get("property")}
	switch {
	case key.Device == "":
		http.Error(w, "device: want the name of one", http.StatusBadRequest)
		return
	case !viewerOf(r).sees(key.Namespace):
		http.Error(w, "namespace: it is not among those that you see", http.StatusForbidden)
		return
	}
	answer := Property{Settings: map[string]any{}, Members: []Member{}}
	latest := func(key driver.Key) (Verdict, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		v, ok := s.latest[key]
		return v, ok
	}
	v, judged := latest(key)
	if judged {
		if known := s.reason(key); known.message != "" { // sinks were told the first one
			v.Message, v.Translated = known.message, known.translated
		}
		answer.Verdict = &v
	}
	var watched admethod.Watched
	if s.watched != nil {
		watched, answer.Watched = s.watched(key)
	}
	if !judged && !answer.Watched {
		http.Error(w, "it is not known here", http.StatusNotFound)
		return
	}
	answer.Unit, answer.Model, answer.Cycle = watched.Meta.Unit, watched.Meta.Model, watched.Meta.Cycle.Seconds()
	answer.Detector, answer.Threshold = watched.Config.Detector, watched.Config.Threshold
	answer.Settings = watched.Config.Settings()
	maps.DeleteFunc(answer.Settings, func(k string, _ any) bool { // where the detector is, and by which credentials, is not for viewers
		prefix, _, dotted := strings.Cut(k, ".")
		return dotted && prefix != "detector" && prefix != "quality" && prefix != "rows"
	})
	answer.States = watched.States
	if s.about != nil {
		about := s.about(key)
		answer.Labels, answer.Node, answer.Model = about.Labels, about.Node, cmp.Or(answer.Model, about.Model)
	}
	if s.describe != nil {
		ctx, cancel := context.WithTimeout(r.Context(), describeLimit)
		answer.Found, _ = s.describe(ctx, key, driver.Language(q.Get("language"))) // a detector that is busy has other things to say
		cancel()
	}
	blame := make(map[[2]string]float64) // by the verdicts on all of them: that on one which is sound blames nobody
	for _, k := range watched.Members {
		m := Member{Device: k.Device, Property: k.Property}
		if of, ok := latest(k); ok {
			m.Severity, m.Value = of.Severity, of.Value
			for _, c := range of.Causes {
				name := [2]string{c.Device, c.Property}
				if of.Severity.Anomalous() {
					blame[name] = max(blame[name], c.Weight)
				}
			}
		}
		answer.Members = append(answer.Members, m)
	}
	for i := range answer.Members {
		m := &answer.Members[i]
		m.Blame = blame[[2]string{m.Device, m.Property}]
	}
	slices.SortStableFunc(answer.Members, func(a, b Member) int { return cmp.Compare(b.Blame, a.Blame) })
	if s.mutes != nil {
		for _, m := range s.mutes() {
			if m.Of(key) {
				answer.Muted = &m
			}
		}
	}
	WriteJSON(w, http.StatusOK, &answer)
}
