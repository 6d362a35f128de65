// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	_ "github.com/kubeedge/edge-anomaly/admethod/grpcmethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/httpmethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

// pki writes certificates of one authority for the server and a mapper.
func pki(t testing.TB) (server, mapper tlsfiles.Files) {
	t.Helper()
	ca, dir := certtest.New(), t.TempDir()
	return ca.Issue(t, dir, "localhost"), ca.Issue(t, dir, "mapper")
}

// start runs a server with both endpoints until stop. It returns where they listen.
func start(t testing.TB, c detectserver.Config) (grpc, http string, stop func()) {
	t.Helper()
	s, err := detectserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var l [2]net.Listener
	for i := range l {
		if l[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.ServeBoth(ctx, l[0], l[1]) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	port := func(l net.Listener) string { return fmt.Sprint("localhost:", l.Addr().(*net.TCPAddr).Port) }
	return port(l[0]), port(l[1]), stop
}

// mapper is a handler whose verdicts are counted.
type mapper struct {
	*pipeline.Handler
	verdicts chan driver.Result
}

func startMapper(t testing.TB) *mapper {
	t.Helper()
	m := &mapper{verdicts: make(chan driver.Result, 1<<16)}
	m.Handler = sinktest.Handler(t, pipeline.Options{
		Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}, Replay: true,
		Hooks: admethod.Hooks{Verdict: func(r *driver.Result) { m.verdicts <- r.Clone() }},
	})
	return m
}

func (m *mapper) bind(t testing.TB, property string, settings map[string]any) *pipeline.Binding {
	t.Helper()
	return sinktest.Watch(t, m.Handler, driver.Key{Namespace: "default", Device: "boiler", Property: property}, settings, admethod.Meta{DataType: "double"})
}

// flush waits until all readings are judged, and returns the verdicts.
func (m *mapper) flush(t testing.TB) []driver.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := m.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	var all []driver.Result
	for len(m.verdicts) > 0 {
		all = append(all, <-m.verdicts)
	}
	return all
}

var began = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// value is a reading of a quiet property, of one that stands still and of one that is away for a while, and of one that
// jumps at the end.
func value(i, n int) float64 {
	switch {
	case i >= n/4 && i < n/4+60:
		return 20.25
	case i == n-1:
		return 90
	case i >= n/2 && i < n/2+8:
		return 60
	}
	return 20 + math.Sin(float64(i)*0.7)
}

// A reading goes from Observe over the wire, with mutual TLS, to a detector and comes back as a verdict: the same as of
// a detector in the mapper, and of the same incident, whether the detector follows incidents itself or not.
func TestMapperToServer(t *testing.T) {
	for _, detector := range []string{"ewma", "auto", "freeze"} {
		if testing.Short() && detector != "ewma" {
			continue // the way is the same, and the rest is the detector's own work
		}
		t.Run(detector, func(t *testing.T) { mapperToServer(t, detector) })
	}
}

func mapperToServer(t *testing.T, detector string) {
	server, client := pki(t)
	grpcAddress, httpAddress, _ := start(t, detectserver.Config{
		TLS: server, Clients: map[string]detectserver.Client{"mapper": {Names: []string{"mapper"}, Namespaces: []string{"default"}}},
	})
	certificates := func(prefix, address string) map[string]any {
		return map[string]any{
			prefix + "address": address, prefix + "tls.ca": client.CA, prefix + "tls.cert": client.Cert, prefix + "tls.key": client.Key,
		}
	}
	const n = 2000
	want := make(map[time.Time]driver.Result)
	for _, test := range []struct {
		name     string
		settings map[string]any
	}{
		{"inprocess", nil},
		{"grpc", certificates("grpc.", grpcAddress)},
		{"http json", certificates("http.", httpAddress)},
		{"http cloudevents", certificates("http.", httpAddress)},
	} {
		settings := map[string]any{"adMethodName": "inprocess", "detector": detector, "threshold": 0.97}
		maps.Copy(settings, test.settings)
		switch test.name {
		case "grpc":
			settings["adMethodName"] = "grpc"
		case "http json", "http cloudevents":
			settings["adMethodName"] = "http"
			settings["http.gzip"] = true
			settings["http.format"] = test.name[len("http "):]
		}
		m := startMapper(t)
		b := m.bind(t, test.name, settings)
		for i := range n {
			b.Observe(began.Add(time.Duration(i)*time.Second), value(i, n))
		}
		alarms, incidents := 0, 0
		verdicts := m.flush(t)
		for _, v := range verdicts {
			if v.Severity.Anomalous() {
				alarms++
			}
			if v.Incident.Phase == driver.Began {
				incidents++
			}
			if test.settings == nil {
				want[v.At] = v
				continue
			}
			w := want[v.At]
			if v.Severity != w.Severity || v.Score != w.Score && !(math.IsNaN(w.Score) && (math.IsNaN(v.Score) || v.Score == 0)) ||
				v.Kind != w.Kind || v.Detector != detector || v.Ongoing != w.Ongoing || v.Accepted != w.Accepted ||
				!math.IsNaN(w.Score) && v.Onset != w.Onset || !sameIncident(v.Incident, w.Incident) || v.Threshold != w.Threshold || v.Value != w.Value {
				t.Fatalf("%s: %+v, in process %+v", test.name, v, w)
			}
		}
		least := 2
		if detector == "freeze" { // has nothing against a jump
			least = 1
		}
		if last := verdicts[len(verdicts)-1]; len(verdicts) != n || alarms == 0 || incidents < least || last.Severity.Anomalous() != (least == 2) || last.Value != 90 {
			t.Errorf("%s: %d verdicts, %d alarms, %d incidents, the last is %+v", test.name, len(verdicts), alarms, incidents, last)
		}
	}
}

// sameIncident compares incidents of properties with different names.
func sameIncident(a, b driver.Incident) bool {
	return (a.ID == 0) == (b.ID == 0) && a.Phase == b.Phase && a.Start.Equal(b.Start) && a.End.Equal(b.End) &&
		a.Severity == b.Severity && a.Score == b.Score && a.Kind == b.Kind
}

// BenchmarkMapperToServer is the whole way of a reading: Observe, wire, detector, wire, verdict.
func BenchmarkMapperToServer(b *testing.B) {
	grpcAddress, httpAddress, _ := start(b, detectserver.Config{Insecure: true, Limits: detectserver.Limits{Rate: -1}})
	for _, bench := range []struct {
		name, method, address string
		more                  map[string]any
	}{
		{"grpc", "grpc", grpcAddress, nil},
		{"http/json", "http", httpAddress, nil},
		{"http/json gzip", "http", httpAddress, map[string]any{"http.gzip": true}},
		{"http/cloudevents", "http", httpAddress, map[string]any{"http.format": "cloudevents"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := startMapper(b)
			settings := map[string]any{"adMethodName": bench.method, bench.method + ".address": bench.address, bench.method + ".insecure": true, "detector": "ewma"}
			maps.Copy(settings, bench.more)
			property := m.bind(b, bench.name, settings)
			property.Observe(began, 20)
			m.flush(b)
			b.ResetTimer()
			for i := range b.N {
				property.Observe(began.Add(time.Duration(i+1)*time.Second), value(i, 0))
				if i%8192 == 8191 { // half of the queue
					m.flush(b)
				}
			}
			m.flush(b)
		})
	}
}

// The rows of a group go to the server whole, and its verdicts come back on the members: the same as in the mapper.
func TestGroupToServer(t *testing.T) {
	// The model is fitted within one row, which takes seconds under the race detector on a machine that is busy.
	grpcAddress, httpAddress, _ := start(t, detectserver.Config{Insecure: true, Config: intake.Config{Deadline: time.Minute}})
	const n = 3000
	type at struct {
		property string
		time     time.Time
	}
	want := make(map[at]driver.Result)
	for _, test := range []struct{ name, address string }{{"inprocess", ""}, {"grpc", grpcAddress}, {"http", httpAddress}} {
		m := startMapper(t)
		settings := map[string]any{"adMethodName": test.name, "detector": "pca", "group": "room of " + test.name}
		if test.address != "" {
			settings[test.name+".address"], settings[test.name+".insecure"] = test.address, true
		}
		bindings := []*pipeline.Binding{m.bind(t, "light", settings), m.bind(t, "power", settings)}
		for i := range n {
			for j, b := range bindings {
				v := 10*math.Sin(float64(i)) + math.Sin(float64(i*(j+3)))/10
				if i >= n-10 {
					v = float64(1-2*j) * 9 // each is usual, both together are not
				}
				b.Observe(began.Add(time.Duration(i)*time.Second), v)
			}
		}
		alarms := 0
		for _, v := range m.flush(t) {
			if v.Severity.Anomalous() {
				alarms++
			}
			if test.address == "" {
				want[at{v.Key.Property, v.At}] = v
			} else if w := want[at{v.Key.Property, v.At}]; v.Severity != w.Severity || v.Kind != w.Kind || len(v.Causes) != len(w.Causes) {
				t.Fatalf("%s: %+v, in process %+v", test.name, v, w)
			}
		}
		if alarms < 5 {
			t.Errorf("%s: %d alarms", test.name, alarms)
		}
	}
}

// Verdicts that the server posts later, with mutual TLS that way too, reach the mapper.
func TestCallbackToMapper(t *testing.T) {
	server, client := pki(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a free port
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("https://localhost:%d/verdicts", port)
	_, address, _ := start(t, detectserver.Config{
		TLS: server, Clients: map[string]detectserver.Client{"mapper": {Names: []string{"mapper"}, Namespaces: []string{"default"}}},
		Callbacks: []detectserver.Callback{{Client: "mapper", URL: url, TLS: server}},
	})
	for _, format := range []string{"json", "cloudevents"} {
		m := startMapper(t)
		b := m.bind(t, format, map[string]any{
			"adMethodName": "http", "http.address": address, "http.format": format, "detector": "ewma",
			"http.tls.ca": client.CA, "http.tls.cert": client.Cert, "http.tls.key": client.Key,
			"http.callback.listen": fmt.Sprint("127.0.0.1:", port), "http.callback.url": url,
			"http.callback.tls.ca": server.CA, "http.callback.tls.cert": server.Cert, "http.callback.tls.key": server.Key,
		})
		const n = 1000
		for i := range n {
			b.Observe(began.Add(time.Duration(i)*time.Second), value(i, n))
		}
		verdicts := m.flush(t)
		if len(verdicts) != n || verdicts[n-1].Severity != driver.Critical || verdicts[n-1].Value != 90 {
			t.Errorf("%s: %d verdicts, the last is %+v", format, len(verdicts), verdicts[max(0, len(verdicts)-1)])
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := m.Shutdown(ctx); err != nil { // frees the port
			t.Error(err)
		}
		cancel()
	}
}

// A server that drains and comes back is found again, and knows what it learned.
func TestServerRestarts(t *testing.T) {
	for _, name := range []string{"grpc", "http"} {
		t.Run(name, func(t *testing.T) {
			config := detectserver.Config{Insecure: true, Config: intake.Config{StateDir: t.TempDir()}}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			run := func(l net.Listener) (stop func()) {
				s, err := detectserver.New(config)
				if err != nil {
					t.Fatal(err)
				}
				grpc, http := l, net.Listener(nil)
				if name == "http" {
					grpc, http = nil, l
				}
				ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
				done := make(chan error, 1)
				go func() { done <- s.ServeBoth(ctx, grpc, http) }()
				return func() {
					cancel()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			}
			stop := run(l)
			m := startMapper(t)
			b := m.bind(t, "p", map[string]any{
				"adMethodName": name, name + ".address": address, name + ".insecure": true, name + ".backoff": "100ms", "detector": "ewma",
			})
			for i := range 500 {
				b.Observe(began.Add(time.Duration(i)*time.Second), value(i, 1000))
			}
			m.flush(t)
			stop()
			if l, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
			stop = run(l)
			defer stop()
			// What is observed until the server is found again may be dropped, not what comes after.
			for i := 500; ; i++ {
				b.Observe(began.Add(time.Duration(i)*time.Second), 90)
				if all := m.flush(t); len(all) > 0 {
					if v := all[len(all)-1]; v.Severity.Anomalous() {
						return // an untaught detector would still warm up
					}
				}
				if i == 510 {
					t.Fatal("the server has forgotten what it learned")
				}
			}
		})
	}
}
