// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

// Fifty pages that are left open, half on the overview and half on a property with a reading a second, beside 2,000
// properties with a heartbeat a minute, take less than a twentieth of a processor, the clients here included, and memory
// that stays.
func TestFiftyPages(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("takes ten seconds, and measures")
	}
	const pages, properties, lasts = 50, 2000, 10 * time.Second
	s, err := New(Config{Address: "127.0.0.1:0"}, new(Routes))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	batch := make([]driver.Result, properties)
	for i := range batch {
		batch[i] = of("plant", fmt.Sprintf("boiler-%04d", i), "temperature", driver.Normal, 0.1, time.Now())
		if i%100 == 99 {
			batch[i].Severity, batch[i].Message = driver.Warning, "stands still at 21.67 °C for 14 min; 99 of 100 of its rests end within 12 s"
			batch[i].Incident = driver.Incident{ID: uint64(i), Phase: driver.Began, Start: time.Now(), Severity: driver.Warning}
		}
	}
	if err := s.Write(ctx, batch); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pages}}
	defer client.CloseIdleConnections()
	var heard atomic.Int64
	ask := func(path string, stream bool) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := client.Do(r)
		if err != nil {
			return // the end
		}
		defer answer.Body.Close()
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if stream && len(lines.Bytes()) > 10 {
				heard.Add(1)
			}
		}
	}
	for i := range pages {
		stream, every, often := "/v1/events?changes=true", "/v1/devices?offset=0&limit=100", "/v1/incidents?open=true&limit=1000"
		if i%2 == 0 {
			q := fmt.Sprintf("?namespace=plant&device=boiler-%04d&property=temperature", i)
			stream, every, often = "/v1/live"+q, "/v1/property"+q, "/v1/status"
		}
		wg.Go(func() { ask(stream, true) })
		wg.Go(func() { // as the page does
			status, more := time.NewTicker(10*time.Second), time.NewTicker(15*time.Second)
			defer status.Stop()
			defer more.Stop()
			first := time.NewTimer(time.Duration(i) * lasts / pages)
			defer first.Stop()
			for {
				select {
				case <-first.C:
					ask(every, false)
					ask("/v1/status", false)
					ask(often, false)
				case <-status.C:
					ask("/v1/status", false)
					ask(often, false)
				case <-more.C:
					ask(every, false)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for s.live.watched.Load() < pages/2 {
		runtime.Gosched()
	}
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	see := s.Hooks().Verdict
	var memory [2]runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory[0])
	before, begin := proctest.CPU(t), time.Now()
	for n := 0; time.Since(begin) < lasts; n++ {
		<-tick.C
		at := n * properties / 600
		if err := s.Write(ctx, batch[at%properties:min(at%properties+properties/600, properties)]); err != nil {
			t.Fatal(err)
		}
		if n%10 == 0 {
			for i := 0; i < pages; i += 2 {
				r := batch[i]
				r.At = time.Now()
				see(&r)
			}
		}
	}
	share := float64(proctest.CPU(t)-before) / float64(time.Since(begin))
	runtime.GC()
	runtime.ReadMemStats(&memory[1])
	grown := int64(memory[1].HeapAlloc) - int64(memory[0].HeapAlloc)
	t.Logf("%d pages take %.1f %% of a processor, their clients included; %d events were heard; the heap grew by %d KiB", pages, 100*share, heard.Load(), grown>>10)
	if share > 0.05 {
		t.Errorf("%d pages take %.1f %% of a processor", pages, 100*share)
	}
	if grown > 8<<20 || heard.Load() < pages/2*int64(lasts/time.Second)*8/10 {
		t.Errorf("the heap grew by %d KiB, %d events were heard", grown>>10, heard.Load())
	}
}
