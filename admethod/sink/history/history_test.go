// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func verdict(device string, at time.Time, severity driver.Severity) driver.Result {
	return driver.Result{
		Key: driver.Key{Namespace: "default", Device: device, Property: "brightness"}, At: at, Severity: severity,
		Score: 0.5, Value: 42, Expected: math.NaN(), Lower: math.NaN(), Upper: math.Inf(1), Detector: "auto", Model: "m@1", Config: "c0ffee",
	}
}

func start(t *testing.T, config Config) *Sink {
	t.Helper()
	s := New(config)
	s.now = func() time.Time { return noon }
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return s
}

func config(t *testing.T) Config {
	c := DefaultConfig()
	c.Path = filepath.Join(t.TempDir(), "a b?#%.db")
	return c
}

func TestQuery(t *testing.T) {
	c := config(t)
	s := start(t, c)
	err := s.Write(t.Context(), []driver.Result{
		verdict("light-1", noon.Add(-2*time.Hour), driver.Critical), verdict("light-1", noon.Add(-time.Minute), driver.Normal),
		verdict("light-2", noon.Add(-time.Minute), driver.Warning), verdict("door", noon, driver.Critical),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"all", Filter{}, []string{"light-1", "light-1", "light-2", "door"}},
		{"device and since", Filter{Device: "light-1", Since: noon.Add(-time.Hour)}, []string{"light-1"}},
		{"glob", Filter{Device: "light-*", Severity: driver.Warning}, []string{"light-1", "light-2"}},
		{"until", Filter{Until: noon.Add(-time.Hour)}, []string{"light-1"}},
		{"latest", Filter{Limit: 2}, []string{"light-2", "door"}},
		{"data is no SQL", Filter{Device: "' OR 1=1 --"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, err := Query(t.Context(), c.Path, test.f) // while the sink has the file open
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range found {
				got = append(got, v.Device)
				if v.Detector != "auto" || v.Model != "m@1" || v.Config != "c0ffee" || *v.Value != 42 || v.Upper != nil {
					t.Errorf("%+v", v)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	c := config(t)
	c.Rows, c.Age = 200, time.Hour
	s := start(t, c)
	for i := range 40 {
		batch := make([]driver.Result, 50)
		for j := range batch {
			batch[j] = verdict("light-1", noon.Add(time.Duration(i-40)*time.Second), driver.Normal)
		}
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Query(t.Context(), c.Path, Filter{Limit: 10_000})
	if err != nil || len(found) == 0 || len(found) > 250 || found[0].At.Before(noon.Add(-time.Hour)) {
		t.Errorf("%d verdicts: %v", len(found), err)
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	c := config(t)
	if err := os.WriteFile(c.Path, []byte("this is no database, and long enough to be looked at as if it were one ............................................."), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, c)
	if err := s.Write(t.Context(), []driver.Result{verdict("light-1", noon, driver.Normal)}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Path + ".damaged"); err != nil {
		t.Error(err)
	}
	if found, err := Query(t.Context(), c.Path, Filter{}); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestFullDisk(t *testing.T) {
	c := config(t)
	s := start(t, c)
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count=8"); err != nil {
		t.Fatal(err)
	}
	batch := make([]driver.Result, 256)
	for i := range batch {
		batch[i] = verdict("light-1", noon, driver.Normal)
	}
	if err := s.Write(t.Context(), batch); err == nil {
		t.Fatal("want an error, as the file may not grow")
	}
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count=100000"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if found, err := Query(t.Context(), c.Path, Filter{}); err != nil || len(found) != len(batch) {
		t.Errorf("%d verdicts: %v", len(found), err)
	}
}
