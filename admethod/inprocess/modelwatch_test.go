// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// offset adds the number in its model file to each reading.
type offset float64

func (o offset) Detect(row driver.Row, out *driver.Result) {
	out.Expected = row[0].Value + float64(o)
	out.Judge(0, driver.KindNone)
}

func offsets() driver.Factory {
	return driver.NewFactory(driver.Info{Name: "offset"}, func() struct{} { return struct{}{} },
		func(s driver.Settings, _ struct{}) (driver.Detector, error) {
			if string(s.Model) == "panics" {
				panic("in Open")
			}
			v, err := strconv.ParseFloat(strings.TrimSpace(string(s.Model)), 64)
			if err != nil {
				return nil, errors.New("not a number: damaged")
			}
			return offset(v), nil
		})
}

// A changed model file is taken up without losing a reading, by rename or by the links of a ConfigMap; one that is
// refused leaves the old model in use.
func TestModelIsReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(version, content string) {
			t.Helper()
			data := filepath.Join(dir, version)
			if err := os.WriteFile(data, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			// As kubelet does: a new link is renamed over the old one.
			link := filepath.Join(dir, "new-link")
			if err := errors.Join(os.Symlink(version, link), os.Rename(link, filepath.Join(dir, "room.model"))); err != nil {
				t.Fatal(err)
			}
		}
		write("v1", "10")
		var mu sync.Mutex
		var complaints, loaded []string
		var expected []float64
		var models []string
		h := sinktest.Handler(t, pipeline.Options{
			Drivers: driver.NewRegistry(offsets()), ModelDir: dir,
			Hooks: admethod.Hooks{
				State: func(_ string, err error) {
					mu.Lock()
					complaints = append(complaints, err.Error())
					mu.Unlock()
				},
				ModelLoaded: func(key driver.Key, version string) {
					mu.Lock()
					loaded = append(loaded, fmt.Sprint(key, " ", version))
					mu.Unlock()
				},
				Verdict: func(r *driver.Result) {
					mu.Lock()
					expected, models = append(expected, r.Expected), append(models, r.Model)
					mu.Unlock()
				},
			},
		})
		b := bind(t, h, "d", map[string]any{"detector": "offset", "model": "room.model", "quality.missing": 0}, admethod.Meta{})
		observe := func(n int) {
			for range n {
				<-time.After(time.Second)
				b.Observe(time.Now(), 1)
			}
			if err := h.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		observe(1)
		write("v2", "200")
		observe(5)
		write("v3", "damaged")
		observe(5)
		write("v3b", "panics")
		observe(5)
		write("v4", "4000")
		observe(5)
		mu.Lock()
		defer mu.Unlock()
		if n := b.Stats(); n.Dropped != 0 || len(expected) != 21 {
			t.Errorf("%d verdicts on 21 readings, %d dropped", len(expected), n.Dropped)
		}
		if got, want := slices.Compact(expected), []float64{11, 201, 4001}; !slices.Equal(got, want) {
			t.Errorf("judged with offsets %v, want %v", got, want)
		}
		for _, m := range models {
			if !strings.HasPrefix(m, "room@") {
				t.Errorf("verdict names model %q, want room@…", m)
			}
		}
		if len(loaded) != 2 || len(complaints) != 2 || !strings.Contains(complaints[1], "panicked: in Open") || !strings.Contains(complaints[0], "not a number: damaged") {
			t.Errorf("loaded %q, complaints %q; want two and two", loaded, complaints)
		}
	})
}

// slow is an offset that takes its time for each reading.
type slow struct{ offset }

func (s slow) Detect(row driver.Row, out *driver.Result) {
	<-time.After(4 * time.Second)
	s.offset.Detect(row, out)
}

func slowly() driver.Factory {
	return driver.NewFactory(driver.Info{Name: "slow"}, func() struct{} { return struct{}{} },
		func(s driver.Settings, _ struct{}) (driver.Detector, error) {
			v, err := strconv.ParseFloat(string(s.Model), 64)
			return slow{offset(v)}, err
		})
}

// A model that changes while its lanes are busy is taken up by every stream, by each of them once.
func TestModelOfBusyLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "room.model")
		if err := os.WriteFile(file, []byte("10"), 0o600); err != nil {
			t.Fatal(err)
		}
		var (
			mu       sync.Mutex
			loaded   = make(map[string]int)
			expected = make(map[string]float64)
			busy     int
		)
		h := sinktest.Handler(t, pipeline.Options{
			Drivers: driver.NewRegistry(slowly()), ModelDir: filepath.Dir(file),
			AdapterOptions: map[string]map[string]any{"inprocess": {"lanes": 8, "hang": "5s", "queue": 16}},
			Hooks: admethod.Hooks{
				ModelLoaded: func(key driver.Key, _ string) { mu.Lock(); loaded[key.Device]++; mu.Unlock() },
				Verdict:     func(r *driver.Result) { mu.Lock(); expected[r.Key.Device] = r.Expected; mu.Unlock() },
				State:       func(string, error) { mu.Lock(); busy++; mu.Unlock() },
			},
		})
		bindings := make(map[string]*pipeline.Binding)
		for i := range 6 {
			device := fmt.Sprint("d", i)
			bindings[device] = bind(t, h, device, map[string]any{"detector": "slow", "model": "room.model", "quality.missing": 0}, admethod.Meta{})
		}
		for i := range 120 {
			<-time.After(time.Second)
			for _, b := range bindings {
				b.Observe(time.Now(), 1)
			}
			if i == 10 {
				if err := os.WriteFile(file, []byte("200"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if busy == 0 {
			t.Error("no stream had to wait for its lane: nothing is tested")
		}
		for device := range bindings {
			if loaded[device] != 1 || expected[device] != 201 {
				t.Errorf("%s took the new model up %d times, and judges by %v; want once, and 201", device, loaded[device], expected[device]-1)
			}
		}
	})
}

// A property whose model is not there yet, or damaged, is watched as soon as a usable one appears.
func TestModelMayComeLater(t *testing.T) {
	for name, before := range map[string]string{"missing": "", "damaged": "damaged"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "room.model")
				write := func(content string) {
					t.Helper()
					if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if before != "" {
					write(before)
				}
				var mu sync.Mutex
				var told []string
				var last driver.Result
				h := sinktest.Handler(t, pipeline.Options{
					Drivers: driver.NewRegistry(offsets()), ModelDir: filepath.Dir(file),
					Hooks: admethod.Hooks{
						State: func(stream string, _ error) { told = append(told, stream) },
						Verdict: func(r *driver.Result) {
							mu.Lock()
							last = r.Clone()
							mu.Unlock()
						},
					},
				})
				b := bind(t, h, "d", map[string]any{"detector": "offset", "model": "room.model"}, admethod.Meta{})
				observe := func() driver.Result {
					t.Helper()
					<-time.After(5 * time.Second)
					b.Observe(time.Now(), 1)
					if err := h.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
					mu.Lock()
					defer mu.Unlock()
					return last
				}
				if r := observe(); r.Severity != driver.Unknown || r.Kind != driver.KindFailed || !strings.Contains(r.Message, "waits for the model") {
					t.Errorf("before: %+v, want Unknown that names the model", r)
				}
				if len(told) != 1 {
					t.Errorf("the hook State heard %q, want one complaint", told)
				}
				write("10000000000")
				if r := observe(); r.Severity != driver.Normal || r.Expected != 1e10+1 || !strings.HasPrefix(r.Model, "room@") {
					t.Errorf("after: %+v, want the model's verdict", r)
				}
			})
		})
	}
}

// What is wrong with the configuration is no matter of a model to come.
func TestWrongConfigurationIsAnErrorWithoutModel(t *testing.T) {
	h := sinktest.Handler(t, pipeline.Options{Drivers: driver.NewRegistry(offsets()), ModelDir: t.TempDir()})
	config, err := admethod.ParseSettings(map[string]any{"detector": "offset", "model": "none.model", "detector.x": 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Bind(driver.Key{Device: "d", Property: "p"}, config, admethod.Meta{}); err == nil || !strings.Contains(err.Error(), "detector.x") {
		t.Errorf("got %v, want an error on detector.x", err)
	}
}
