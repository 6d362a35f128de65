// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpapi is the sink that answers over HTTP: the latest verdict of each property (GET /v1/verdicts), verdicts as
// they come (GET /v1/events, server-sent), and what other packages add with [Routes.Handle]. Import it for its side
// effect: it registers itself under the name "api".
//
// It listens on loopback unless told otherwise. Elsewhere it needs a token, which a request carries as
// "Authorization: Bearer …". There is no CORS: pages of other origins get nothing.
package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "api"

// Config of the sink.
type Config struct {
	Address   string `param:"address" doc:"host and port to listen on; only a loopback address may do without a token"`
	TokenFile string `param:"tokenFile" doc:"file with the token that requests must carry, at least 16 characters"`
	CertFile  string `param:"tls.cert" doc:"file with the certificate chain; with it, the API speaks TLS"`
	KeyFile   string `param:"tls.key" doc:"file with the private key of the certificate"`
}

// DefaultConfig listens on loopback.
func DefaultConfig() Config { return Config{Address: "127.0.0.1:6806"} }

const shortestToken = 16

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "answers over HTTP: latest verdicts, events, activities and their locks",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			config := DefaultConfig()
			if err := params.Decode(&config, s.Options); err != nil {
				return nil, err
			}
			return New(config, Default)
		},
		Params: func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Server is the sink. It is made by [New].
type Server struct {
	config   Config
	routes   *Routes
	token    *[sha256.Size]byte // nil where none is required
	loopback bool
	tls      *tls.Config

	mu     sync.Mutex
	latest map[driver.Key]Verdict
	events events

	server   *http.Server
	listener net.Listener
	done     sync.WaitGroup
	stop     chan struct{}
	once     sync.Once
}

// New makes a server that also answers routes. It fails on an address that is not loopback where there is no token, and
// on files that cannot be read.
func New(config Config, routes *Routes) (*Server, error) {
	s := &Server{config: config, routes: routes, latest: make(map[driver.Key]Verdict), stop: make(chan struct{})}
	s.events.init()
	host, _, err := net.SplitHostPort(config.Address)
	if err != nil {
		return nil, fmt.Errorf("address: got %q, want host:port: %w", config.Address, err)
	}
	s.loopback = isLoopback(host)
	if config.TokenFile != "" {
		text, err := os.ReadFile(config.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("tokenFile: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if len(token) < shortestToken {
			return nil, fmt.Errorf("tokenFile: %s holds %d characters, want at least %d", config.TokenFile, len(token), shortestToken)
		}
		sum := sha256.Sum256([]byte(token))
		s.token = &sum
	} else if !s.loopback {
		return nil, fmt.Errorf("address: %q is not a loopback address and needs a token; set tokenFile", config.Address)
	}
	if (config.CertFile == "") != (config.KeyFile == "") {
		return nil, errors.New("tls.cert and tls.key: want both or none")
	}
	if config.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(config.CertFile, config.KeyFile); err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(config.CertFile, config.KeyFile) // renewed files are taken without a restart
			return &c, err
		}}
	}
	return s, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Start listens.
func (s *Server) Start(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Address)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	s.listener = l
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	detached := context.WithoutCancel(ctx)
	s.server = &http.Server{
		Handler: s.Handler(), BaseContext: func(net.Listener) context.Context { return detached },
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	s.done.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			klog.Errorf("api: %v", err)
		}
	})
	klog.Infof("api: listening on %s", s.Addr())
	return nil
}

// Addr is where the server listens; nil before Start.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Shutdown ends requests and joins.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { close(s.stop) })
	if s.server == nil {
		return nil
	}
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	s.done.Wait()
	return err
}

// Write remembers the latest verdict of each property and tells who listens.
func (s *Server) Write(_ context.Context, batch []driver.Result) error {
	for i := range batch {
		v := FromResult(&batch[i])
		data, err := json.Marshal(v)
		if err != nil {
			return admethod.Permanent(fmt.Errorf("api: verdict on %v: %w", batch[i].Key, err))
		}
		s.mu.Lock()
		s.latest[batch[i].Key] = v
		s.mu.Unlock()
		s.events.publish(data)
	}
	return nil
}

// Forget drops the verdict on a property that is no longer watched.
func (s *Server) Forget(key driver.Key) {
	s.mu.Lock()
	delete(s.latest, key)
	s.mu.Unlock()
}

// Handler answers requests, with all checks.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.routes)
	mux.HandleFunc("GET /v1/verdicts", s.verdicts)
	mux.HandleFunc("GET /v1/events", s.stream)
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if s.loopback && !isLoopback(hostOf(r.Host)) {
			// A page that a browser loaded from a name that now points to this machine: it must not read on.
			http.Error(w, "this API is reached as localhost or a loopback address", http.StatusMisdirectedRequest)
			return
		}
		if !s.allowed(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "want the header Authorization: Bearer with the token", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// allowed compares digests, so that neither content nor length of the token shows in the time taken.
func (s *Server) allowed(r *http.Request) bool {
	if s.token == nil {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1 && ok
}

// WriteJSON answers with a JSON document.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // whom it concerns is gone
}
