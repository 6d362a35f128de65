// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httppost posts bodies to one HTTP endpoint over kept connections. It makes one exchange at a time and says what
// a failure means: whether the same body is worth another try, and after how long.
package httppost

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

const (
	// DefaultMaxReply is the default of [Options].MaxReply: 4 MiB.
	DefaultMaxReply = 4 << 20
	// MaxWait bounds what a server may ask for with Retry-After, so that a wrong header does not silence a mapper.
	MaxWait = 5 * time.Minute

	maxError    = 512 // bytes of a refusal's body that are told
	dialTimeout = 10 * time.Second
)

// Options of a [Client].
type Options struct {
	URL      string                           // of the endpoint, https; required
	Insecure bool                             // allows http too; what is sent can then be read and changed on its way
	Socket   string                           // path of a unix socket to connect to instead of the URL's host; "" for none
	TLS      *tlsfiles.Loader                 // asked at each handshake; nil means the system's authorities and no client certificate
	Token    *tlsfiles.Token                  // bearer token, asked for each request; nil sends none
	MaxReply int64                            // bytes of an answer, decompressed, at most; 0 means DefaultMaxReply
	Header   func(h http.Header, body []byte) // adds to the header of a request; nil adds nothing
	_        struct{}                         // keyed literals only: fields may be added
}

// Client posts to one endpoint over kept connections, HTTP/2 where the server speaks it over TLS. It may be used
// concurrently.
type Client struct {
	opts Options
	host string
	pool atomic.Pointer[pool]
}

// ErrTooLong is an answer over [Options].MaxReply.
var ErrTooLong = errors.New("the answer is too long")

// Reply is what the server answered with success.
type Reply struct {
	Status      int // 200 to 299
	ContentType string
	Body        []byte
}

// StatusError is a response without success.
type StatusError struct {
	Code int
	Body []byte // its beginning
	text string
}

// Error names the URL, the status and what the server says of it.
func (e *StatusError) Error() string { return e.text }

// New checks the options. It connects to nothing.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	switch {
	case u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("url: got %q, want https:// and a host", u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("url: got %q with a user, want a token file", u.Redacted())
	case u.Scheme == "http" && !o.Insecure:
		return nil, fmt.Errorf("url: got %q, want https; insecure: true allows plaintext", u.Redacted())
	case o.MaxReply < 0:
		return nil, fmt.Errorf("maxReply: got %d, want 0 or more bytes", o.MaxReply)
	}
	if o.MaxReply == 0 {
		o.MaxReply = DefaultMaxReply
	}
	if o.TLS == nil {
		if o.TLS, err = tlsfiles.New(tlsfiles.Files{}, nil); err != nil {
			return nil, err
		}
	}
	c := &Client{opts: o, host: u.Hostname()}
	c.pool.Store(c.open())
	return c, nil
}

// pool is a client and its connections.
type pool struct {
	http.Client

	mu   sync.Mutex
	open map[*kept]struct{}
	gone bool
}

// kept is a connection of a pool.
type kept struct {
	net.Conn
	of *pool
}

func (k *kept) Close() error {
	k.of.mu.Lock()
	delete(k.of.open, k)
	k.of.mu.Unlock()
	return k.Conn.Close()
}

// keep makes a connection one of the pool's.
func (p *pool) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	k := &kept{conn, p}
	p.open[k] = struct{}{}
	return k, nil
}

// close ends all connections, those in use as well: one exchange at a time means that theirs is the one that failed.
func (p *pool) close() {
	p.mu.Lock()
	p.gone = true
	open := slices.Collect(maps.Keys(p.open))
	p.mu.Unlock()
	for _, k := range open {
		_ = k.Close()
	}
	p.CloseIdleConnections()
}

// open makes a pool without connections.
func (c *Client) open() *pool {
	p := &pool{open: make(map[*kept]struct{})}
	p.Client = http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return p.keep(c.dial(ctx, network, address))
			},
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return p.dialTLS(ctx, c, network, address)
			},
			ForceAttemptHTTP2:   true, // a dialer of one's own turns it off else
			IdleConnTimeout:     90 * time.Second,
			MaxIdleConnsPerHost: 4,
			// A connection that was cut without a word would else be used for request after request.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		},
		// The token and the body are for this endpoint, not for where it points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

// Reconnect gives up the kept connections: the next post makes a new one.
func (c *Client) Reconnect() { c.pool.Swap(c.open()).close() }

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	if c.opts.Socket != "" {
		network, address = "unix", c.opts.Socket
	}
	return dialer.DialContext(ctx, network, address)
}

// dialTLS does each handshake with the newest files.
func (p *pool) dialTLS(ctx context.Context, c *Client, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	raw, err := p.keep(c.dial(ctx, network, address))
	if err != nil {
		return nil, err
	}
	config := c.opts.TLS.Client()
	config.NextProtos = []string{"h2", "http/1.1"}
	if config.ServerName == "" {
		config.ServerName = c.host
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake failed
		return nil, err
	}
	return conn, nil
}

// Close closes the kept connections.
func (c *Client) Close() { c.pool.Load().CloseIdleConnections() }

// Post sends one body and waits for the answer, at most as long as ctx; where none came, the kept connections are given
// up, as what is behind them may be dead without a word. [admethod.RetryAfter] says whether an error is
// worth another try: network troubles, 408, 425, 429 and 5xx are, with the wait that the server asks for by Retry-After,
// up to [MaxWait]. Every other refusal, and an answer over MaxReply, is permanent. A refusal is a [StatusError].
func (c *Client) Post(ctx context.Context, contentType string, body []byte) (*Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.URL, bytes.NewReader(body))
	if err != nil {
		return nil, admethod.Permanent(err)
	}
	req.Header.Set("Content-Type", contentType)
	if c.opts.Token != nil {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token.Get())
	}
	if c.opts.Header != nil {
		c.opts.Header(req.Header, body)
	}
	resp, err := c.pool.Load().Do(req)
	if err != nil {
		if ctx.Err() != nil {
			c.Reconnect()
		}
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("POST %s: %w", c.opts.URL, cause)
		}
		return nil, err // *url.Error: names method and URL
	}
	defer func() { _ = resp.Body.Close() }() // it is only read
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.refused(resp, time.Now())
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxReply+1)) // decompressed by net/http
	if err != nil {
		return nil, fmt.Errorf("POST %s: answer: %w", c.opts.URL, err)
	}
	if int64(len(answer)) > c.opts.MaxReply {
		return nil, admethod.Permanent(fmt.Errorf("POST %s: %w: more than %d bytes", c.opts.URL, ErrTooLong, c.opts.MaxReply))
	}
	return &Reply{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: answer}, nil
}

// refused makes an error of a response without success.
func (c *Client) refused(resp *http.Response, now time.Time) error {
	why, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what can be had
	err := &StatusError{Code: resp.StatusCode, Body: why, text: fmt.Sprintf("POST %s: %s", c.opts.URL, resp.Status)}
	if len(why) > 0 {
		err.text = fmt.Sprintf("%s: %q", err.text, why)
	}
	switch code := resp.StatusCode; {
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
	default:
		return admethod.Permanent(err)
	}
	wait, ok := parseRetryAfter(resp.Header.Get("Retry-After"), now)
	if !ok {
		return err
	}
	return &admethod.ThrottledError{Wait: wait, Err: err}
}

// parseRetryAfter reads the header Retry-After: seconds, or a date. The wait is within 0 and MaxWait.
func parseRetryAfter(header string, now time.Time) (wait time.Duration, ok bool) {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(MaxWait/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), MaxWait), true
}
