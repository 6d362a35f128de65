// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/jsonlines"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Act is what somebody changed: a line of the audit log.
type Act struct {
	At        time.Time `json:"at"`
	By        string    `json:"by"`   // as the proxy, or else who asked, says it
	Role      string    `json:"role"` // by what it was allowed
	From      string    `json:"from"` // address of who asked
	What      string    `json:"what"` // normal, fault, mute or unmute
	Namespace string    `json:"namespace"`
	Device    string    `json:"device"`
	Property  string    `json:"property,omitempty"`
	Incident  string    `json:"incident,omitempty"`
	Begin     time.Time `json:"begin,omitzero"` // of the span that it is about
	End       time.Time `json:"end,omitzero"`
	Note      string    `json:"note,omitempty"`
	Learned   bool      `json:"learned,omitempty"`
}

const (
	auditFile  = "audit.jsonl" // in the state directory; what was before is in the file of the same name with .1
	auditSize  = 4 << 20       // bytes of either
	mostActs   = 1000          // of an answer
	usualActs  = 100
	keptInRAM  = 1000 // where there is no directory
	auditPart  = "audit log"
	auditRisk  = "what people change is in the log of the program only"
	auditPerms = 0o600
)

// audit is the log of what people changed. Its size is bounded.
type audit struct {
	dir string // "" keeps it in memory

	mu   sync.Mutex
	acts []Act // the latest last; where there is no directory
}

// add appends a line, which is on the disk when it returns.
func (a *audit) add(act *Act) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dir == "" {
		if len(a.acts) == keptInRAM {
			a.acts = slices.Delete(a.acts, 0, keptInRAM/4)
		}
		a.acts = append(a.acts, *act)
		return nil
	}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(a.dir, auditFile)
	if info, err := os.Stat(path); err == nil && info.Size() > auditSize {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
	}
	return jsonlines.Append(path, auditPerms, true, *act)
}

// read returns those that fit, the latest first.
func (a *audit) read(most int, fits func(*Act) bool) ([]Act, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.acts
	if a.dir != "" {
		all = nil
		for _, name := range []string{auditFile + ".1", auditFile} {
			err := jsonlines.Read(filepath.Join(a.dir, name), auditSize, func(act *Act) { all = append(all, *act) })
			if err != nil {
				return nil, err
			}
		}
	}
	found := []Act{}
	for _, act := range slices.Backward(all) {
		if fits(&act) {
			if found = append(found, act); len(found) == most {
				break
			}
		}
	}
	return found, nil
}

// acted notes what somebody changed, in the log of the program as well.
func (s *Server) acted(r *http.Request, act Act) {
	v := viewerOf(r)
	act.At, act.Role, act.From = time.Now().UTC(), v.role, r.RemoteAddr
	act.By = cmp.Or(v.name, act.By)
	logs.InfoS("Somebody changed what is detected or told", "what", act.What, "namespace", act.Namespace, "device", act.Device,
		"property", act.Property, "begin", act.Begin.Format(time.RFC3339), "end", act.End.Format(time.RFC3339), "by", act.By, "role", act.Role, "from", act.From, "note", act.Note)
	err := s.audit.add(&act)
	if err != nil {
		err = fmt.Errorf("%s: %w", auditFile, err)
	}
	if s.report != nil {
		s.report(auditPart, auditRisk, err)
	} else if err != nil {
		s.trouble(auditPart)(err)
	}
}

// acts answers GET /v1/audit: what people changed, the latest first. The query may narrow by namespace, device and property
// (globs); limit is how many at most.
func (s *Server) acts(w http.ResponseWriter, r *http.Request) {
	q, v := r.URL.Query(), viewerOf(r)
	most, err := Number(q, "limit", usualActs, 1, mostActs)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found, err := s.audit.read(most, func(a *Act) bool {
		return v.sees(a.Namespace) && fits(q.Get("namespace"), a.Namespace) && fits(q.Get("device"), a.Device) && fits(q.Get("property"), a.Property)
	})
	if err != nil {
		s.trouble(auditPart)(err)
		http.Error(w, "the audit log cannot be read now", http.StatusServiceUnavailable)
		return
	}
	WriteJSON(w, http.StatusOK, map[string]any{"acts": found})
}
