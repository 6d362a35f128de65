// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// answerChunk is what is held of an answer until it is written.
const answerChunk = 32 << 10

// verdicts answers GET /v1/verdicts. The query may narrow by namespace, device and property (globs), and severity (that
// or worse). The answer is written as it is made: however many ask, and however slowly they read, none of it is held but
// a chunk.
func (s *Server) verdicts(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	least := driver.Unknown
	if text := q.Get("severity"); text != "" {
		if err := least.UnmarshalText([]byte(text)); err != nil {
			http.Error(w, "severity: want "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	namespace, device, property := q.Get("namespace"), q.Get("device"), q.Get("property")
	for name, glob := range map[string]string{"namespace": namespace, "device": device, "property": property} {
		if _, err := path.Match(glob, ""); err != nil {
			http.Error(w, name+": want a glob such as light-*", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	control := http.NewResponseController(w)
	out := bufio.NewWriterSize(deadlined{w, func() {
		_ = control.SetWriteDeadline(time.Now().Add(s.answerTimeout)) // not every ResponseWriter has one
	}}, answerChunk)
	_, _ = out.WriteString(`{"verdicts":[`) // a bufio.Writer keeps its first error
	separator := ""
	viewer := viewerOf(r)
	for _, key := range s.keys() {
		if !viewer.sees(key.Namespace) || !fits(namespace, key.Namespace) || !fits(device, key.Device) || !fits(property, key.Property) {
			continue
		}
		s.mu.Lock()
		v, ok := s.latest[key]
		s.mu.Unlock()
		if !ok || v.Severity < least {
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			continue // Write has made the same text before
		}
		_, _ = out.WriteString(separator)
		if _, err := out.Write(data); err != nil {
			return // whom it concerns is gone
		}
		separator = ","
	}
	_, _ = out.WriteString("]}\n")
	_ = out.Flush()
}

// deadlined sets a deadline for each write.
type deadlined struct {
	io.Writer
	extend func()
}

func (d deadlined) Write(p []byte) (int, error) {
	d.extend()
	return d.Writer.Write(p)
}

// keys are the keys of the verdicts, in order. They are shared: nobody changes them.
func (s *Server) keys() []driver.Key {
	s.mu.Lock()
	if order := s.order; order != nil {
		s.mu.Unlock()
		return order
	}
	order, changes := slices.AppendSeq(make([]driver.Key, 0, len(s.latest)), maps.Keys(s.latest)), s.changes
	s.mu.Unlock()
	slices.SortFunc(order, func(a, b driver.Key) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Device, b.Device), strings.Compare(a.Property, b.Property))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == changes {
		s.order = order
	}
	return order
}

func fits(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return pattern == "" || err == nil && ok
}
