// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// Models on a file system that hangs: whoever wants one waits for a moment, and once for all of them, is told, and has
// it as soon as it was read. Other models, snapshots and readings are not held up.
func TestModelsOnAFileSystemThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told, loaded []string
		a, err := New(admethod.AdapterSettings{
			Drivers: driver.NewRegistry(drivertest.Func("good", func(_ driver.Row, out *driver.Result) { out.Judge(0, driver.KindNone) })),
			Hooks: &admethod.Hooks{
				State: func(id string, err error) { mu.Lock(); told = append(told, id+": "+err.Error()); mu.Unlock() },
				ModelLoaded: func(key driver.Key, _ string) {
					mu.Lock()
					loaded = append(loaded, key.Device)
					mu.Unlock()
				},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan struct{})
		a.models.fetch = func(dir, _ string, known stamp) fetched {
			if dir == "hung" {
				<-answers
			}
			if at := (stamp{size: 1}); known != at {
				return fetched{data: []byte("1"), version: "v1", at: at}
			}
			return fetched{at: known}
		}
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		verdicts := make(map[string]string)
		open := func(dir, device string) admethod.Stream {
			t.Helper()
			s, err := a.Open(admethod.StreamSettings{
				Members: []driver.Member{{Key: driver.Key{Device: device, Property: "p"}}}, Config: admethod.ADMethodConfig{Detector: "good", Model: device, Threshold: driver.DefaultThreshold},
				ModelDir: dir, ModelFile: dir + "/" + device,
				Deliver: func(r *driver.Result, _ driver.Row) {
					mu.Lock()
					verdicts[r.Key.Device] = r.Severity.String() + " " + r.Message
					mu.Unlock()
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		observe := func(s admethod.Stream, device string) string {
			t.Helper()
			s.TrySubmit(driver.Row{{Key: driver.Key{Device: device, Property: "p"}, Value: 1}})
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			return verdicts[device]
		}
		began := time.Now()
		hung := open("hung", "a")
		again := open("hung", "a")
		if took := time.Since(began); took > readPatience {
			t.Errorf("two properties wait for %v for one file", took)
		}
		began = time.Now()
		for range 2 { // more than may be looked at, and a second time
			for name := range strings.SplitSeq("bcdefghijkl", "") {
				open("hung", name).Close()
			}
		}
		if took := time.Since(began); took > mostReading*readPatience {
			t.Errorf("many wait for %v", took)
		}
		began = time.Now()
		well := open("well", "z")
		if took := time.Since(began); took > 0 {
			t.Errorf("another directory waits for %v", took)
		}
		if got := observe(hung, "a"); !strings.HasPrefix(got, "unknown waits for the model: ") || !strings.Contains(got, "does not answer in 1s") {
			t.Errorf("a verdict meanwhile: %q", got)
		}
		if got := observe(well, "z"); got != "normal " {
			t.Errorf("a verdict beside it: %q", got)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble
		close(answers)
		time.Sleep(time.Minute) //nolint:forbidigo // likewise
		for _, s := range []admethod.Stream{hung, again} {
			if got := observe(s, "a"); got != "normal " {
				t.Errorf("a verdict once it was read: %q", got)
			}
		}
		for name := range strings.SplitSeq("mnopqr", "") { // what nobody has waited for takes no place
			open("hung", name).Close()
		}
		if got := observe(open("hung", "s"), "s"); got != "normal " {
			t.Errorf("a verdict on another once the file system answers: %q", got)
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if len(loaded) != 2 || len(told) < 2 || !strings.Contains(told[0], "does not answer") {
			t.Errorf("loaded %v, told %q", loaded, told)
		}
	})
}
