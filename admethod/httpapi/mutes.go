// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Muting is what POST /v1/mutes takes: a [admethod.Mute], until a time or for one.
type Muting struct {
	admethod.Mute
	For string `json:"for,omitempty"` // such as "2h"; "0s" lifts the mute
}

// muted answers GET /v1/mutes: what is muted now.
func (s *Server) muted(w http.ResponseWriter, r *http.Request) {
	v, list := viewerOf(r), []admethod.Mute{}
	if s.mutes != nil {
		for _, m := range s.mutes() {
			if v.sees(m.Namespace) {
				list = append(list, m)
			}
		}
	}
	WriteJSON(w, http.StatusOK, map[string]any{"mutes": list})
}

// setMute answers POST /v1/mutes.
func (s *Server) setMute(w http.ResponseWriter, r *http.Request) {
	if !s.mayChange(w, r, "a mute keeps alerts from people, and") {
		return
	}
	var m Muting
	err := decode(w, r, &m)
	now := time.Now()
	var span time.Duration
	switch {
	case err != nil:
	case len(m.Note) > mostNote:
		err = fmt.Errorf("note: %d bytes, want at most %d", len(m.Note), mostNote)
	case len(m.By) > mostBy:
		err = fmt.Errorf("by: %d bytes, want at most %d", len(m.By), mostBy)
	case m.For != "" && !m.Until.IsZero():
		err = fmt.Errorf("want for or until, not both")
	case m.For != "":
		if span, err = time.ParseDuration(m.For); err != nil || span < 0 {
			err = fmt.Errorf("for: got %q, want a time such as 2h", m.For)
		}
		m.Until = now.Add(span)
	case m.Until.IsZero():
		err = fmt.Errorf("want for, a time such as 2h, or until")
	}
	if err == nil && m.Until.After(now) {
		if err = s.knows(&m.Mute); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.mute == nil {
		http.Error(w, "nothing can be muted here", http.StatusServiceUnavailable)
		return
	}
	if v := viewerOf(r); v.name != "" {
		m.By = v.name
	}
	if err := s.mute(m.Mute); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	what := "mute"
	if !m.Until.After(now) {
		what = "unmute"
	}
	s.acted(r, Act{
		By: m.By, What: what, Namespace: m.Namespace, Device: m.Device, Property: m.Property, Begin: now.UTC(), End: m.Until.UTC(), Note: m.Note,
	})
	s.muted(w, r)
}

// knows reports whether what is to be muted has been heard of: a slip of the pen mutes nothing, and nobody would notice.
func (s *Server) knows(m *admethod.Mute) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Property != "" {
		if _, known := s.latest[driver.Key{Namespace: m.Namespace, Device: m.Device, Property: m.Property}]; known {
			return nil
		}
	} else {
		for k := range s.latest {
			if k.Namespace == m.Namespace && k.Device == m.Device {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not known here", driver.Key{Namespace: m.Namespace, Device: m.Device, Property: m.Property})
}
