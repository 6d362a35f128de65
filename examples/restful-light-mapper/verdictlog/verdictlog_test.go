// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package verdictlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func result(severity driver.Severity, kind driver.Kind, detector string) *driver.Result {
	var r driver.Result
	r.Reset(nil)
	r.Key = driver.Key{Namespace: "default", Device: "d", Property: "p"}
	r.At = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	r.Severity, r.Kind, r.Detector = severity, kind, detector
	return &r
}

func TestLine(t *testing.T) {
	var b bytes.Buffer
	l := New(&b, false)
	r := result(driver.Critical, driver.KindJump, "auto")
	r.Score, r.Threshold, r.Value, r.Upper = 0.99, 0.95, 21.5, math.Inf(1)
	r.Causes = []driver.Cause{{Key: driver.Key{Namespace: "default", Device: "light-1"}, Weight: 0.5}}
	l.Observe(r)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	const want = `{"at":"2024-05-01T12:00:00Z","namespace":"default","device":"d","property":"p","severity":"critical",` +
		`"kind":"jump","score":0.99,"threshold":0.95,"confidence":0,"value":21.5,"expected":null,"lower":null,"upper":null,` +
		`"causes":[{"device":"light-1","weight":0.5}],"detector":"auto"}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", &b, want)
	}
	var back Line
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Severity != driver.Critical || back.Score != 0.99 || !math.IsNaN(float64(back.Expected)) {
		t.Errorf("read back as %+v", back)
	}
}

// Of verdicts that say the same, one is written; the judges of a stream are told apart.
func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		all  bool
		want string
	}{
		{false, "auto:normal auto:warning quality:warning auto:warning2 auto:normal"},
		{true, "auto:normal auto:normal auto:warning quality:warning auto:warning auto:warning2 auto:normal"},
	} {
		var b bytes.Buffer
		l := New(&b, tt.all)
		for _, r := range []*driver.Result{
			result(driver.Normal, driver.KindNone, "auto"),
			result(driver.Normal, driver.KindNone, "auto"),
			result(driver.Warning, driver.KindSpike, "auto"),
			result(driver.Warning, driver.KindMissing, "quality"),
			result(driver.Warning, driver.KindSpike, "auto"),
			result(driver.Warning, "2", "auto"),
			result(driver.Normal, driver.KindNone, "auto"),
		} {
			l.Observe(r)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for dec := json.NewDecoder(&b); dec.More(); {
			var line Line
			if err := dec.Decode(&line); err != nil {
				t.Fatal(err)
			}
			text := line.Detector + ":" + line.Severity.String()
			if line.Kind == "2" {
				text += "2"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("all %v: got %q, want %q", tt.all, got, tt.want)
		}
	}
}

// stuckWriter does not return until it is released.
type stuckWriter struct{ release chan struct{} }

func (w stuckWriter) Write(b []byte) (int, error) {
	<-w.release
	return len(b), nil
}

// Whoever judges does not wait for a writer that hangs; what is lost is counted.
func TestObserveDoesNotBlock(t *testing.T) {
	w := stuckWriter{make(chan struct{})}
	l := New(w, true)
	const n = 3 * queue
	for range n {
		l.Observe(result(driver.Normal, driver.KindNone, "auto"))
	}
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	if lost == 0 || lost > n-queue {
		t.Errorf("%d of %d verdicts are counted as lost", lost, n)
	}
	close(w.release)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l.Observe(result(driver.Normal, driver.KindNone, "auto")) // too late, but harmless
}

type brokenWriter struct{}

var errBroken = errors.New("disk full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.jsonl")
	l, err := Open(path, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	l.Observe(result(driver.Normal, driver.KindNone, "auto"))
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || !json.Valid(raw) {
		t.Errorf("file %q, %v", raw, err)
	}
	if _, err := Open(t.TempDir(), nil, false); err == nil {
		t.Error("a directory was opened as a file")
	}
	broken := New(brokenWriter{}, false)
	broken.Observe(result(driver.Normal, driver.KindNone, "auto"))
	if err := broken.Close(); !errors.Is(err, errBroken) {
		t.Errorf("error %v, want %v", err, errBroken)
	}
}
