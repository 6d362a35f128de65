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
// What is scored as one, its routes and its limits are those of package intake. Requests that a client sends again after a
// broken connection are answered as they were the first time, and are learned once.
//
// Rows of a group that the client does not number are put together by the server, in the order in which readings come.
// A client that knows only the proposal's fields cannot describe a group; a [Route] with the key group does it for it.
package detectserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/internal/connlimit"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	inFlight   = 256              // requests of a stream that are read and not answered
	maxMessage = 1 << 20          // bytes of a request
	shutdown   = 10 * time.Second // for what is on its way
)

// Route gives settings to some properties, see [intake.Route].
type Route = intake.Route

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

	Limits     Limits        // of each client that has none of its own
	MaxPending int           // connections from one address that have not shown yet what they are, of which the oldest makes room for one more, and new ones a second; 0 means 32
	Handshake  time.Duration // for a connection to be set up; 0 means 10 s

	intake.Config // of what comes behind the endpoints

	_ struct{} // keyed literals only: fields may be added
}

func (c *Config) setDefaults() {
	if c.Handshake == 0 {
		c.Handshake = 10 * time.Second
	}
	if c.MaxPending == 0 {
		c.MaxPending = 32
	}
}

// Server answers StreamDetect. It is made by [New].
type Server struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	config  Config
	intake  *intake.Intake
	loader  *tlsfiles.Loader // nil in plaintext
	grpc    *grpc.Server
	health  *health.Server
	clients []*client
	anybody *client      // who is none of the clients; nil where that is nobody
	log     logs.Limiter // of refusals, by cause

	hosts     hosts
	pending   connlimit.Limit
	strangers *rate.Limiter // refusals of those who are no clients
}

// New checks the configuration.
func New(c Config) (*Server, error) {
	c.setDefaults()
	s := &Server{health: health.NewServer(), strangers: newRefusals()}
	s.pending.Host, s.pending.Total, s.pending.Full = c.MaxPending, max(mostPending, c.MaxPending), s.full
	if !c.Insecure && c.TLS.Cert == "" {
		return nil, errors.New("want tls.cert and tls.key, or insecure: true for plaintext")
	}
	in, err := intake.New(c.Config)
	errs := []error{err}
	if err != nil {
		in, err = intake.New(intake.Config{}) // for what else is wrong
		errs = append(errs, err)
	}
	c.Config = in.Config
	s.config, s.intake = c, in
	errs = append(errs, s.setClients())
	if !c.Insecure {
		var err error
		s.loader, err = tlsfiles.New(c.TLS, func(err error) {
			s.log.ErrorS("certificates", err, "Detector server keeps its certificates")
		})
		errs = append(errs, err)
		for _, named := range s.clients {
			if len(named.names) > 0 && c.TLS.CA == "" {
				errs = append(errs, fmt.Errorf("clients: %s: want tls.ca, the authority of its certificate", named.Name))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("detector server: %w", err)
	}
	s.grpc = s.newGRPC()
	return s, nil
}

// Intake is what comes behind the endpoints; sources may feed it too.
func (s *Server) Intake() *intake.Intake { return s.intake }

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
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.ServeBoth(ctx, l, nil) }
