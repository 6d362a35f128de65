// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// acts are what the audit log has, in short, the latest first.
func (f *fixture) acts(t *testing.T, query string) string {
	t.Helper()
	code, body := f.ask(t, http.MethodGet, "/v1/audit"+query, "")
	var answer struct{ Acts []Act }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
		t.Fatal(code, body, err)
	}
	var words []string
	for _, a := range answer.Acts {
		words = append(words, a.By+" "+a.What+" "+a.Device)
		if a.At.IsZero() || a.Role != "operator" || a.From == "" {
			t.Errorf("who and when is not noted: %+v", a)
		}
	}
	return strings.Join(words, ", ")
}

// What people say and mute is in the audit log, over a restart, and past a line that a crash tore.
func TestAudit(t *testing.T) {
	f := newFixture(t, during(7, "light-1", 0, driver.Began), during(7, "light-1", 5, driver.Returned), verdict("light-2", driver.Normal))
	var muted []admethod.Mute
	f.mute = func(m admethod.Mute) error { muted = append(muted, m); return nil }
	f.mutes = func() []admethod.Mute { return muted }
	post := func(path, body string, want int) {
		t.Helper()
		if code, answer := f.ask(t, http.MethodPost, path, body); code != want {
			t.Errorf("%s %s: %d %s", path, body, code, answer)
		}
	}
	post("/v1/feedback", `{"incident":"0000000000000007","verdict":"fault","by":"Ada"}`, http.StatusOK)
	torn, err := os.OpenFile(filepath.Join(f.dir, auditFile), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = torn.WriteString(`{"by":"torn`)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = torn.Close()
	post("/v1/mutes", `{"namespace":"default","device":"light-2","for":"2h","by":"Bob","note":"new bulb"}`, http.StatusOK)
	post("/v1/mutes", `{"namespace":"default","device":"light-2","for":"0s","by":"Bob"}`, http.StatusOK)
	for _, bad := range []string{
		`{"namespace":"default","device":"light-2"}`, `{"namespace":"default","device":"light-2","for":"soon"}`,
		`{"namespace":"default","device":"light-2","for":"1h","until":"2026-01-01T00:00:00Z"}`, `{"device":`, `{"when":1}`,
		`{"namespace":"default","device":"light-2","for":"1h","note":"` + strings.Repeat("x", 2000) + `"}`,
	} {
		post("/v1/mutes", bad, http.StatusBadRequest)
	}
	post("/v1/mutes", `{"namespace":"default","device":"light-22","for":"1h"}`, http.StatusNotFound)
	post("/v1/mutes", `{"namespace":"default","device":"light-2","property":"height","for":"1h"}`, http.StatusNotFound)
	if len(muted) != 2 || muted[0].Note != "new bulb" || time.Until(muted[0].Until) < time.Hour {
		t.Errorf("%+v", muted)
	}
	again := newFixture(t)
	again.audit.dir = f.dir
	for query, want := range map[string]string{
		"":                 "Bob unmute light-2, Bob mute light-2, Ada fault light-1",
		"?limit=1":         "Bob unmute light-2",
		"?device=light-1":  "Ada fault light-1",
		"?namespace=other": "",
	} {
		if got := again.acts(t, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if code, _ := f.ask(t, http.MethodGet, "/v1/audit?limit=0", ""); code != http.StatusBadRequest {
		t.Error(code)
	}
}

// The audit log is bounded, on the disk and in memory.
func TestAuditIsBounded(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		a := audit{dir: dir}
		n := keptInRAM + 10
		if dir != "" {
			n = 60
		}
		for range n {
			note := ""
			if dir != "" {
				note = strings.Repeat("x", auditSize/20)
			}
			if err := a.add(&Act{Note: note}); err != nil {
				t.Fatal(err)
			}
		}
		found, err := a.read(mostActs, func(*Act) bool { return true })
		if err != nil || len(found) > mostActs || len(found) < 20 {
			t.Errorf("%q: %d, %v", dir, len(found), err)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "audit*"))
		for _, name := range files {
			if info, err := os.Stat(name); err == nil && dir != "" && info.Size() > auditSize*11/10 {
				t.Errorf("%s has %d bytes", name, info.Size())
			}
		}
	}
}
