// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package detectserver serves detectors over gRPC and HTTP: StreamDetect of proto/anomalydetector/v1, and batches of the
// same messages, over any registry of drivers.
//
// Who may send for which namespace is told by the client's certificate, its bearer token, or both, see [Client]. Each
// client has limits of its own, and detectors of its own goroutines: nobody waits for another's detector that hangs.
// A client over its rate is slowed down, and refused with RetryInfo if that goes on. Refusals are logged once a minute
// for each cause.
//
// A reading that cannot be judged is answered: severity unknown, and a message that says what was expected. Only what
// concerns the stream as a whole ends it: a foreign namespace, a message that is too large, too many readings.
//
// A series is what is scored as one: a property, or a group. It outlives the connections of its client; what its
// detector learned is kept in the state directory. The first one wins: while a stream uses a series, no other client may
// use it and no other stream may configure it otherwise; such readings are answered without a verdict. Requests that a
// client sends again after a broken connection are answered as they were the first time, and are learned once.
//
// Rows of a group that the client does not number are put together by the server, in the order in which readings come.
// A client that knows only the proposal's fields cannot describe a group; a [Route] with the key group does it for it.
package detectserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess" // judges
	"github.com/kubeedge/edge-anomaly/admethod/internal/connlimit"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	inFlight   = 256     // requests of a stream that are read and not answered
	maxMessage = 1 << 20 // bytes of a request
	coarseTick = 50 * time.Millisecond
	shutdown   = 10 * time.Second // for what is on its way
)

// Config of a [Server].
type Config struct {
	TLS      tlsfiles.Files // the server's certificate, and the authority of its clients
	Insecure bool           // plaintext: anybody may send for every namespace, and all are one client
	// Clients by name. Without any, Anonymous or Insecure must be set.
	Clients map[string]Client
	// Anonymous are the namespaces for which anybody may send who is none of the clients; all of them together are one
	// client. In plaintext none means all.
	Anonymous []string

	Callbacks []Callback // where clients of the HTTP endpoint may have verdicts posted to

	Drivers  *driver.Registry // nil means driver.Default
	Language driver.Language  // of what sinks say in their own words; "" is English
	StateDir string           // keeps what detectors learned over a restart; "" keeps nothing
	ModelDir string           // where the models are that clients name
	Defaults map[string]any   // keys of anomalyDetection for what a client leaves open
	Routes   []Route          // more of them, for some properties; later ones win

	// Sinks get the verdicts, as those of a mapper do. None means none.
	Sinks        []string
	SinkRegistry *admethod.SinkRegistry    // nil means the linked ones
	SinkOptions  map[string]map[string]any // by name of the sink
	Hooks        admethod.Hooks

	Limits     Limits        // of each client that has none of its own
	MaxStreams int           // at one time; 0 means 1,024
	MaxSeries  int           // properties scored at one time; each takes up to 32 KiB. 0 means 10,000
	MaxPending int           // connections from one address that have not shown yet what they are, of which the oldest makes room for one more, and new ones a second; 0 means 32
	Idle       time.Duration // a series without readings is closed after it; 0 means an hour
	Handover   time.Duration // time without readings after which a series may pass to another client; 0 means a minute
	// Deadline is when a reading is answered without a verdict; a detector that takes half of it for one reading is cut
	// off, so that others of its client go on. 0 means 5 s, which is less than the patience of this project's clients.
	Deadline  time.Duration
	Handshake time.Duration // for a connection to be set up; 0 means 10 s
	Snapshot  time.Duration // between two times that what was learned is written; 0 means 5 min

	_ struct{} // keyed literals only: fields may be added
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{
		{&c.Idle, time.Hour}, {&c.Handover, time.Minute}, {&c.Deadline, 5 * time.Second},
		{&c.Handshake, 10 * time.Second}, {&c.Snapshot, 5 * time.Minute},
	} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	for _, d := range []struct {
		of    *int
		value int
	}{{&c.MaxStreams, 1024}, {&c.MaxSeries, 10_000}, {&c.MaxPending, 32}} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
}

// Server answers StreamDetect. It is made by [New].
type Server struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	config  Config
	loader  *tlsfiles.Loader // nil in plaintext
	handler *admethod.Handler
	grpc    *grpc.Server
	health  *health.Server
	clients []*client
	anybody *client      // who is none of the clients; nil where that is nobody
	log     logs.Limiter // of refusals, by cause
	clock   atomic.Int64 // coarse, Unix ns

	hosts     hosts
	pending   connlimit.Limit
	strangers *rate.Limiter  // refusals of those who are no clients
	ended     chan struct{}  // closed when the server drains
	working   sync.WaitGroup // open sessions

	mu       sync.Mutex
	draining bool
	sessions map[*session]struct{}
	series   map[string]*series     // by ID
	groups   map[driver.Key]*series // of their members
	weight   int                    // members of all series
}

var errDrain = status.Error(codes.Unavailable, "the detector shuts down")

// New checks the configuration.
func New(c Config) (*Server, error) {
	c.setDefaults()
	s := &Server{
		config: c, health: health.NewServer(), sessions: make(map[*session]struct{}),
		series: make(map[string]*series), groups: make(map[driver.Key]*series),
		strangers: newRefusals(), ended: make(chan struct{}),
	}
	s.clock.Store(time.Now().UnixNano())
	s.pending.Host, s.pending.Total, s.pending.Full = c.MaxPending, max(mostPending, c.MaxPending), s.full
	if !c.Insecure && c.TLS.Cert == "" {
		return nil, errors.New("want tls.cert and tls.key, or insecure: true for plaintext")
	}
	errs := []error{c.checkSettings(), s.setClients()}
	if !c.Insecure {
		var err error
		s.loader, err = tlsfiles.New(c.TLS, func(err error) {
			s.log.ErrorS("certificates", err, "Detector server keeps its certificates")
		})
		errs = append(errs, err)
		for _, named := range s.clients {
			if len(named.names) > 0 && c.TLS.CA == "" {
				errs = append(errs, fmt.Errorf("clients: %s: want tls.ca, the authority of its certificate", named.name))
			}
		}
	}
	sinks := c.Sinks
	if sinks == nil {
		sinks = []string{}
	}
	var err error
	s.handler, err = admethod.NewHandler(admethod.Options{
		Drivers: c.Drivers, StateDir: c.StateDir, ModelDir: c.ModelDir, Language: c.Language,
		DefaultSinks: sinks, Sinks: c.SinkRegistry, SinkOptions: c.SinkOptions, Hooks: c.Hooks, Budget: s.budget(),
		AdapterOptions: map[string]map[string]any{"inprocess": {
			"queue": 1 << 16, "hang": max(c.Deadline/2, 100*time.Millisecond).String(), "snapshot": c.Snapshot.String(),
		}},
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("detector server: %w", err)
	}
	s.grpc = s.newGRPC()
	return s, nil
}

// tlsConfig is what connections of a server are set up with; it follows the files. It must not be called in plaintext.
func (s *Server) tlsConfig(nextProtos ...string) (*tls.Config, error) {
	config, err := s.loader.Server(nextProtos...)
	if err != nil {
		return nil, err
	}
	current, auth := config.GetConfigForClient, s.certificates()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := current(hello)
		if err == nil {
			c.ClientAuth = auth
		}
		return c, err
	}
	return config, nil
}

// Serve answers gRPC on the listener until ctx ends; then it answers what was read, within ten seconds, and keeps what
// was learned.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.run(ctx, func(ctx context.Context) error { return s.serveGRPC(ctx, l) })
}

// run starts the core, runs the endpoints until ctx ends or one of them fails, and joins all. An endpoint returns soon
// after its context has ended; by then all sessions are told to finish.
func (s *Server) run(ctx context.Context, endpoints ...func(context.Context) error) error {
	detached := context.WithoutCancel(ctx)
	started := s.handler.Start(detached)
	if started != nil {
		var ended context.CancelFunc
		ctx, ended = context.WithCancel(ctx)
		ended() // the endpoints close what they listen on
	}
	var keeping sync.WaitGroup
	kept, stop := context.WithCancel(detached)
	keeping.Go(func() { guard.Loop(kept, "the watch over sessions", s.keepHouse) })
	keeping.Go(func() { guard.Loop(kept, "the watch over idle series", s.closeIdle) })
	serving, end := context.WithCancel(ctx)
	defer end()
	errs := make([]error, len(endpoints))
	var wg sync.WaitGroup
	wg.Go(func() {
		<-serving.Done()
		s.drain()
	})
	for i, serve := range endpoints {
		wg.Go(func() {
			defer end()
			errs[i] = serve(serving)
		})
	}
	wg.Wait()
	s.working.Wait()
	stop()
	keeping.Wait()
	last, cancel := context.WithTimeout(detached, shutdown)
	defer cancel()
	return errors.Join(started, errors.Join(errs...), s.handler.Shutdown(last))
}

// drain takes no more readings. What was read is answered.
func (s *Server) drain() {
	s.health.Shutdown()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.draining = true
		close(s.ended)
	}
	for session := range s.sessions {
		session.finish(errDrain)
	}
}

// keepHouse keeps the coarse clock, and answers what waits for too long.
func (s *Server) keepHouse(ctx context.Context) {
	looked := time.Now()
	wait.Tick(ctx, coarseTick, func(now time.Time) {
		s.clock.Store(now.UnixNano())
		if now.Sub(looked) < s.config.Deadline/8 {
			return
		}
		looked = now
		s.mu.Lock()
		sessions := slices.Collect(maps.Keys(s.sessions))
		s.mu.Unlock()
		for _, session := range sessions {
			session.expire(now.Add(-s.config.Deadline).UnixNano(), s.config.Deadline)
		}
	})
}

// closeIdle closes series that nobody sends for. It has a goroutine of its own, as closing may wait for a detector.
func (s *Server) closeIdle(ctx context.Context) {
	wait.Tick(ctx, s.config.Idle/4, func(now time.Time) {
		s.expire(now.Add(-s.config.Idle).UnixNano())
	})
}
