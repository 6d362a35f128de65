// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpapi is the sink that answers over HTTP: the latest verdict of each property (GET /v1/verdicts), verdicts as
// they come (GET /v1/events, server-sent), all of those on one property (GET /v1/live), incidents (GET /v1/incidents),
// devices by their state (GET /v1/devices), how a property is watched (GET /v1/property), the share of properties that are
// anomalous (GET /v1/rate), what was most unusual in a span (GET /v1/unusual), how the mapper itself is (GET /v1/status), and
// what other packages add with [Routes.Handle]. It takes what people say of incidents (POST /v1/feedback) and what is to
// be muted (POST /v1/mutes), and remembers who did (GET /v1/audit). Import it for its side effect: it registers itself
// under the name "api".
//
// It listens on loopback unless told otherwise. Elsewhere it needs a token, which a request carries as
// "Authorization: Bearer …", or a proxy that says who asks. The operator's token may change what is learned and told, the
// viewer's sees what is of its namespaces. The page for operators (package page) is at /, and asks for a token. There is no
// CORS: pages of other origins get nothing. Tokens and certificates may change while the server runs. A port that is taken
// is tried again until it is free: nobody's detection waits for it.
package httpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
	"github.com/kubeedge/edge-anomaly/admethod/page"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Name of the sink.
const Name = "api"

// Config of the sink.
type Config struct {
	Address   string         `param:"address" doc:"host and port to listen on; only a loopback address may do without a token or proxy"`
	TokenFile string         `param:"tokenFile" doc:"file with the token that requests must carry, at least 16 characters"`
	Labels    string         `param:"labels" doc:"directory where feedback is kept as labels, such as that of the recorder; the state directory where unset"`
	Viewer    ViewerConfig   `param:"viewer"`
	Proxy     ProxyConfig    `param:"proxy"`
	TLS       tlsfiles.Files `param:"tls"` // with a certificate, the API speaks TLS; with a CA, it asks clients for theirs
}

// DefaultConfig listens on loopback.
func DefaultConfig() Config { return Config{Address: "127.0.0.1:6806"} }

const shortestToken = 16

// How long it takes from one try to listen to the next.
const (
	firstRetry   = 100 * time.Millisecond
	longestRetry = 10 * time.Second
)

// What a client may take to send a request and to take an answer, other than events.
const (
	slowestRequest = 30 * time.Second
	slowestAnswer  = time.Minute
	slowestEnd     = time.Second // for requests that are under way when the server shuts down
)

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "serves the page for operators, and answers over HTTP: verdicts, events, incidents, feedback, mutes, activities and their locks",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			config := DefaultConfig()
			if err := params.Decode(&config, s.Options); err != nil {
				return nil, err
			}
			server, err := New(config, Default)
			if err != nil {
				return nil, err
			}
			server.stats, server.report = s.Stats, s.Report
			server.labels = cmp.Or(config.Labels, s.StateDir)
			server.accept, server.mute, server.mutes, server.watched, server.about = s.Accept, s.Mute, s.Mutes, s.Watched, s.About
			server.describe = s.Describe
			server.audit.dir = s.StateDir
			return server, nil
		},
		Params: func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Server is the sink. It is made by [New].
type Server struct {
	config   Config
	routes   *Routes
	trust    trust
	loopback bool
	labels   string                                               // directory for feedback; "" keeps none
	accept   func(context.Context, driver.Key, driver.Span) error // tells a detector; nil: nobody can
	mute     func(admethod.Mute) error                            // nil: nothing can be
	mutes    func() []admethod.Mute
	watched  func(driver.Key) (admethod.Watched, bool)
	about    func(driver.Key) admethod.About
	describe func(context.Context, driver.Key, driver.Language) (string, error)
	audit    audit
	page     http.Handler
	tls      *tls.Config // nil: plain text

	stats  func() admethod.Stats // of the handler
	report admethod.Report       // nil tells the log alone

	requestTimeout, answerTimeout time.Duration

	log logs.Limiter

	mu       sync.Mutex
	most     int // verdicts that are remembered
	latest   map[driver.Key]Verdict
	order    []driver.Key // of latest, sorted; nil: to be made anew
	changes  uint64       // of its keys
	ledger   ledger
	reasons  reasons
	excess   bool // more properties than are remembered
	events   events
	live     live
	rates    rates
	server   *httpserver.Server
	listener net.Listener // nil while the port is not there
	cancel   context.CancelFunc
	done     sync.WaitGroup
	stop     chan struct{} // closed by Shutdown
	once     sync.Once
}

// mostVerdicts are remembered. A property with wrong settings is never forgotten, so that this bounds memory.
const mostVerdicts = 100_000

// New makes a server that also answers routes. It fails on an address that is not loopback where there is no token, and
// on files that cannot be read.
func New(config Config, routes *Routes) (*Server, error) {
	s := &Server{
		config: config, routes: routes, most: mostVerdicts, latest: make(map[driver.Key]Verdict), ledger: newLedger(mostVerdicts), stop: make(chan struct{}), page: page.Handler(),
		stats: func() admethod.Stats { return admethod.Stats{} }, requestTimeout: slowestRequest, answerTimeout: slowestAnswer,
	}
	s.events.init()
	host, port, err := net.SplitHostPort(config.Address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return nil, &params.Error{Key: "address", Value: config.Address, Want: "host:port, such as 127.0.0.1:6806"}
	}
	s.loopback = isLoopback(host)
	if err := s.setTrust(); err != nil {
		if errors.As(err, new(*params.Error)) {
			return nil, err
		}
		return nil, admethod.Unavailable(err)
	}
	if !s.trust.any() && !s.loopback {
		return nil, fmt.Errorf("address: %q is not a loopback address and needs a token; set tokenFile", config.Address)
	}
	switch {
	case config.TLS.ServerName != "":
		return nil, &params.Error{Key: "tls.serverName", Value: config.TLS.ServerName, Want: "none: it is for clients"}
	case config.TLS != tlsfiles.Files{}:
		files, err := tlsfiles.New(config.TLS, s.trouble("tls"))
		if err != nil {
			return nil, admethod.Unavailable(err)
		}
		// HTTP/2 would end a stream of events that has nothing to tell for a while: there, a deadline is not one of writes.
		if s.tls, err = files.Server("http/1.1"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// trouble logs what is wrong with a part, once a minute.
func (s *Server) trouble(part string) func(error) {
	return func(err error) { s.log.Warningf(part, "api: %s: %v", part, err) }
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Start listens, now or as soon as the port is free. Only an address that can never be is an error.
func (s *Server) Start(ctx context.Context) error {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.server = httpserver.New("a request to the API", s.Handler(), s.requestTimeout, s.answerTimeout, 256)
	s.server.Conns.Full = func(host string, err error) { s.log.Warningf("connections", "api: connections from %q: %v", host, err) }
	s.server.BaseContext, s.server.TLSConfig = func(net.Listener) context.Context { return ctx }, s.tls
	l, err := s.listen(ctx)
	if err != nil && !errors.As(err, new(*os.SyscallError)) {
		s.cancel()
		return fmt.Errorf("api: %w", err)
	}
	s.done.Go(func() { s.watchRates(ctx) })
	s.done.Go(func() {
		if l == nil {
			if l = s.retry(ctx, err); l == nil {
				return
			}
		}
		s.serve(l)
	})
	return nil
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Address)
	if err != nil {
		return nil, err
	}
	if a, ok := l.Addr().(*net.TCPAddr); s.loopback && (!ok || !a.IP.IsLoopback()) { // localhost may be anything
		return nil, errors.Join(fmt.Errorf("address: %q is %v here, which is not loopback", s.config.Address, l.Addr()), l.Close())
	}
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	return l, nil
}

// retry listens as soon as that is possible; it returns nil when ctx ends before.
func (s *Server) retry(ctx context.Context, err error) net.Listener {
	tell := s.trouble("address")
	if s.report != nil {
		const part, risk = "sink api", "verdicts cannot be asked for; it is tried again until the port is free, and every mapper of a node wants one of its own"
		tell = func(err error) { s.report(part, risk, err) }
		defer s.report(part, risk, nil)
	}
	for pause := (wait.Backoff{First: firstRetry, Longest: longestRetry}); ; {
		tell(fmt.Errorf("cannot listen yet: %w", err))
		if wait.Sleep(ctx, pause.Next()) != nil {
			return nil
		}
		var l net.Listener
		if l, err = s.listen(ctx); err == nil {
			return l
		}
	}
}

func (s *Server) serve(l net.Listener) {
	logs.Infof("api: listening on %s", l.Addr())
	if err := s.server.Serve(l); err != nil {
		logs.Errorf("api: %v", err)
	}
}

// Addr is where the server listens; nil while it does not.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Shutdown ends requests and joins. Requests that are under way get a moment; listeners to events are cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { close(s.stop) })
	if s.server == nil {
		return nil
	}
	err := s.server.End(ctx, slowestEnd) // a client that hangs is no trouble of the mapper
	s.cancel()
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
		before := s.remember(&batch[i], v, s.reason(batch[i].Key))
		s.events.publish(batch[i].Key.Namespace, data, unchanged(&before, &v))
	}
	return nil
}

// unchanged reports whether a verdict says of severity and incident what the one before said.
func unchanged(before, v *Verdict) bool {
	if before.Detector == "" || before.Severity != v.Severity || before.Kind != v.Kind || (before.Incident == nil) != (v.Incident == nil) {
		return false
	}
	return v.Incident == nil || v.Incident.Phase == driver.Lasts && v.Incident.ID == before.Incident.ID
}

// remember notes a verdict, and returns the one before on its property. known is what was known of the incident that was open
// before it.
func (s *Server) remember(r *driver.Result, v Verdict, known reason) (before Verdict) {
	s.rates.warm(r, s.most)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger.take(r, s.most, known)
	if s.ledger.open[r.Key] != nil {
		s.reasons.open(r)
	} else {
		s.reasons.end(r.Key)
	}
	before, remembered := s.latest[r.Key]
	if remembered || len(s.latest) < s.most {
		if s.latest[r.Key] = v; !remembered {
			s.order, s.changes = nil, s.changes+1
		}
	} else if !s.excess {
		s.excess = true
		logs.Warningf("api: verdicts on more than %d properties: those on the others are events only", s.most)
	}
	return before
}

// Forget drops the verdict on a property that is no longer watched.
func (s *Server) Forget(key driver.Key) {
	s.mu.Lock()
	delete(s.latest, key)
	s.order, s.changes = nil, s.changes+1
	s.ledger.forget(key, time.Now())
	s.reasons.end(key)
	s.mu.Unlock()
}

// Handler answers requests, with all checks.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.routes)
	mux.HandleFunc("GET /v1/verdicts", s.verdicts)
	mux.HandleFunc("GET /v1/events", s.stream)
	mux.HandleFunc("GET /v1/live", s.follow)
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/incidents", s.incidents)
	mux.HandleFunc("POST /v1/feedback", s.feedback)
	mux.HandleFunc("GET /v1/devices", s.devices)
	mux.HandleFunc("GET /v1/property", s.property)
	mux.HandleFunc("GET /v1/rate", s.rate)
	mux.HandleFunc("GET /v1/unusual", s.unusual)
	mux.HandleFunc("GET /v1/audit", s.acts)
	mux.HandleFunc("GET /v1/mutes", s.muted)
	mux.HandleFunc("POST /v1/mutes", s.setMute)
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if s.loopback && !isLoopback(hostOf(r.Host)) {
			// A page that a browser loaded from a name that now points to this machine: it must not read on.
			http.Error(w, "this API is reached as localhost or a loopback address", http.StatusMisdirectedRequest)
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/v1/") { // the page, which is no secret: its token is for the API
			s.page.ServeHTTP(w, r)
			return
		}
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" { // a browser says so: it reads nothing, but some answers cost much
			http.Error(w, "pages of other origins get nothing", http.StatusForbidden)
			return
		}
		v := s.identify(r)
		if v == nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "want the header Authorization: Bearer with the token", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, withViewer(r, v))
	}))
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
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
