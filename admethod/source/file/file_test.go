// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package file_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/file"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path, state string, options map[string]any) source.Source {
	t.Helper()
	all := map[string]any{"path": path}
	maps.Copy(all, options)
	s, err := file.New(source.Settings{Name: "trial", Options: all, StateDir: state, Report: func(part, _ string, err error) {
		if err != nil && !strings.Contains(err.Error(), "no such file") {
			t.Logf("%s: %v", part, err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// await waits until so many readings are taken, and returns them.
func await(t *testing.T, in *sourcetest.Intake, n int) []source.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if now, err := in.Wait(ctx, func(s sourcetest.State) bool { return s.Taken >= n }); err != nil {
		t.Fatalf("%d of %d readings: %v", now.Taken, n, in.Readings())
	}
	return in.Readings()
}

func text(readings []source.Reading) string {
	var b strings.Builder
	for _, r := range readings {
		fmt.Fprintf(&b, "%s %s %v%s %v\n", r.Key, r.At.UTC().Format(time.TimeOnly), r.Value, r.Text, r.Past)
	}
	return b.String()
}

func TestSource(t *testing.T) {
	for format, row := range map[string]func(n int) string{
		"csv": func(n int) string {
			head := ""
			if n == 1 {
				head = "time,series,value\n"
			}
			return fmt.Sprintf("%s%s,pump-%d,%d\n", head, time.Unix(1_700_000_000+int64(n), 0).UTC().Format(time.RFC3339), n%3, n)
		},
		"jsonl": func(n int) string {
			return fmt.Sprintf("{\"time\":%q,\"series\":\"pump-%d\",\"value\":%d}\n", time.Unix(1_700_000_000+int64(n), 0).UTC().Format(time.RFC3339), n%3, n)
		},
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
				path, state := filepath.Join(t.TempDir(), "readings."+format), filepath.Join(t.TempDir(), "state")
				return &sourcetest.Origin{
					New:    func(t *testing.T) source.Source { return open(t, path, state, map[string]any{"series": "series"}) },
					Send:   func(t *testing.T, n int) { write(t, path, row(n)) },
					Series: 3, Replays: true,
				}
			})
		})
	}
}

func TestColumnsOfOneDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "press-7.csv")
	write(t, path, "time,temperature,state\n2026-03-01T08:00:00Z,20.5,run\n2026-03-01T08:00:01Z,,stop\nnonsense,1,run\n2026-03-01T08:00:0")
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, path, "", map[string]any{"past": true}), &in)
	await(t, &in, 3)
	write(t, path, "2Z,21.5,run\n") // the end of a line that was half written
	got := await(t, &in, 5)
	const want = `default/press-7/temperature 08:00:00 20.5 true
default/press-7/state 08:00:00 NaNrun true
default/press-7/state 08:00:01 NaNstop true
default/press-7/temperature 08:00:02 21.5 false
default/press-7/state 08:00:02 NaNrun false
`
	if text(got) != want {
		t.Errorf("got\n%swant\n%s", text(got), want)
	}
}

// A file that is cut, or another one in its place, is read from its beginning.
func TestAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.csv")
	const head = "time,x\n"
	line := func(n int) string { return fmt.Sprintf("2026-03-01T08:00:%02dZ,%d\n", n, n) }
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, path, filepath.Join(t.TempDir(), "state"), nil), &in) // it is not there yet
	write(t, path, head+line(1)+line(2)+line(3))
	await(t, &in, 3)
	if err := os.WriteFile(path, []byte(head+line(4)), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, &in, 4)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, path, head+line(5)+line(6)+line(7)+line(8)+line(9))
	got := await(t, &in, 9)
	for i, r := range got {
		if int(r.Value) != i+1 {
			t.Errorf("reading %d is %v", i, r.Value)
		}
	}
}

func TestDataSetOfARecorder(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, store.Settings{MaxAge: 240 * time.Hour, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	for i := range 10 {
		at := now.Add(time.Duration(i) * time.Second)
		s.Mirror(store.Entry{Namespace: "plant", Device: "press", Property: "force", At: at, Value: float64(i)}, true)
		s.Mirror(store.Entry{Namespace: "plant", Device: "door", Property: "state", At: at, Value: math.NaN(), Text: "open"}, true)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var in sourcetest.Intake
	sourcetest.Run(t, open(t, dir, "", map[string]any{"past": true}), &in)
	n := 0
	for _, r := range await(t, &in, 10) {
		if r.Key.String() == "plant/press/force" && r.Value == float64(n) && r.Past {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d of 10 readings of plant/press/force in order:\n%s", n, text(in.Readings()))
	}
}

func TestConfigurationErrors(t *testing.T) {
	_, err := file.New(source.Settings{Options: map[string]any{"timeZone": "Nowhere/Land", "pth": "x"}})
	for _, want := range []string{`pth: unknown key; did you mean "path"?`, "path: required", `timeZone: got "Nowhere/Land"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
