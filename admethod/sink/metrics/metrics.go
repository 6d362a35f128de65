// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics is the sink that shows verdicts to Prometheus, on a small HTTP server with /metrics, /healthz and
// /readyz. The server listens on loopback unless told otherwise. Import the package for its side effect: it registers
// itself under the name "metrics".
package metrics

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "metrics"

// Config holds the mapper's settings for the sink.
type Config struct {
	Address       string `param:"address" doc:"host and port to listen on"`
	MaxProperties int    `param:"maxProperties" min:"1" max:"1000000" doc:"most properties shown, each by up to nine series, and five of a predicted metric; verdicts on more are counted only"`
}

func defaults() Config { return Config{Address: "127.0.0.1:9464", MaxProperties: 10_000} }

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "shows verdicts and the mapper's own counts to Prometheus",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			c := defaults()
			if err := params.Decode(&c, s.Options); err != nil {
				return nil, err
			}
			if host, _, err := net.SplitHostPort(c.Address); err != nil || host == "" {
				// An address without a host would listen on every interface, by oversight.
				return nil, &params.Error{Key: "address", Value: c.Address, Want: "host:port, such as 127.0.0.1:9464; 0.0.0.0 for every interface"}
			}
			out := newSink(c, s.Stats)
			if s.About != nil {
				out.verdicts.about = s.About
			}
			if s.Report != nil {
				out.verdicts.report = s.Report
			}
			return out, nil
		},
		Params: func() []params.Param { return params.Describe(defaults()) },
	}
}

type sink struct {
	address  string
	verdicts *collector
	stats    func() admethod.Stats
	took     *prometheus.HistogramVec
	failures *prometheus.CounterVec // of detectors
	failed   *prometheus.CounterVec // of sinks
	loads    *prometheus.CounterVec
	ended    *prometheus.CounterVec // incidents
	state    prometheus.Counter
	server   *httpserver.Server
	listener net.Listener
	done     chan struct{} // closed when the server has ended; nil before Start
}

// A scrape holds its page in memory until the scraper has read it. Scrapes beyond these are answered with 503, and one
// that takes longer is cut off.
const (
	maxScrapes    = 8
	slowestScrape = 30 * time.Second
	shutdownGrace = time.Second
)

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func newSink(c Config, stats func() admethod.Stats) *sink {
	s := &sink{
		address: c.Address, stats: stats, verdicts: newCollector(c.MaxProperties, stats),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "edge_anomaly_detect_seconds",
			Help:    fmt.Sprintf("Time that a detector took for a reading; one reading in %d is timed.", admethod.JudgedEvery),
			Buckets: prometheus.ExponentialBuckets(250e-9, 4, 12),
		}, []string{"detector"}),
		failures: counterVec("edge_anomaly_detector_failures_total", "Detectors that panicked or hang.", "detector"),
		failed:   counterVec("edge_anomaly_sink_errors_total", "Batches of verdicts that a sink, or its receiver, did not take.", "sink", "retried"),
		loads:    counterVec("edge_anomaly_model_loads_total", "Changed model files that were taken into use.", "detector"),
		ended: counterVec("anomaly_incidents_total", "Incidents that ended, by worst severity, last kind and outcome: returned to normal, newNormal, or abandoned without an answer.",
			"severity", "kind", "outcome"),
		state: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "edge_anomaly_state_errors_total",
			Help: "Trouble with learned state: snapshots and model files that are unreadable, damaged, refused or not writable.",
		}),
	}
	// Counters begin with 0: one that is there with its first error only has no increase that an alert would see.
	s.verdicts.sinkSeen = func(name string) {
		s.failed.WithLabelValues(name, "true")
		s.failed.WithLabelValues(name, "false")
	}
	s.verdicts.sinkSeen(Name)
	s.verdicts.detectorSeen = func(name string) {
		s.failures.WithLabelValues(name)
		s.loads.WithLabelValues(name)
	}
	s.verdicts.detectorSeen(otherDetector)
	s.verdicts.began = func(severity driver.Severity, kind string, outcome driver.Phase) {
		s.ended.WithLabelValues(severity.String(), kind, outcome.String())
	}
	s.verdicts.ended = func(severity driver.Severity, kind string, outcome driver.Phase) {
		s.ended.WithLabelValues(severity.String(), kind, outcome.String()).Inc()
	}
	registry := prometheus.NewRegistry() // not the global one: a mapper has several parts that may use that
	registry.MustRegister(s.verdicts, predictions{s.verdicts}, s.took, s.failures, s.failed, s.loads, s.ended, s.state)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if len(s.stats().Bindings) == 0 {
			http.Error(w, "no property is watched", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	s.server = httpserver.New("a request for metrics", mux, 10*time.Second, slowestScrape, 64)
	return s
}

// Hooks implements [admethod.Observer].
func (s *sink) Hooks() *admethod.Hooks {
	return &admethod.Hooks{
		Judged: func(key driver.Key, took time.Duration) {
			s.took.WithLabelValues(s.verdicts.detector(key)).Observe(took.Seconds())
		},
		Failed:      func(key driver.Key, _ error) { s.failures.WithLabelValues(s.verdicts.detector(key)).Inc() },
		ModelLoaded: func(key driver.Key, _ string) { s.loads.WithLabelValues(s.verdicts.detector(key)).Inc() },
		State:       func(string, error) { s.state.Inc() },
		SinkFailed: func(name string, _ error, retry bool) {
			s.failed.WithLabelValues(label(name), fmt.Sprint(retry)).Inc()
		},
	}
}

func (s *sink) Start(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", s.address); err != nil {
		return fmt.Errorf("address: %w; every mapper of a node wants a port of its own", err)
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if err := s.server.Serve(s.listener); err != nil {
			logs.ErrorS(err, "Metrics are no longer served", "address", s.address)
		}
	}()
	return nil
}

func (s *sink) Write(_ context.Context, batch []driver.Result) error {
	s.verdicts.take(batch)
	return nil
}

// Forget implements [admethod.Forgetter].
func (s *sink) Forget(key driver.Key) { s.verdicts.forget(key) }

func (s *sink) Shutdown(ctx context.Context) error {
	if s.done == nil {
		return nil
	}
	err := s.server.End(ctx, shutdownGrace) // whoever still reads then is cut off: nothing is lost by it
	<-s.done
	return err
}
