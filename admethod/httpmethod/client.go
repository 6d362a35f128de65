// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpmethod posts batches of readings to an anomaly detector over HTTP. Its [Client] makes one exchange at a
// time and says what a failure means: whether the same batch is worth another try, and after how long.
package httpmethod

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
)

const (
	// DefaultMaxReply is the default of [Options].MaxReply: 4 MiB.
	DefaultMaxReply = 4 << 20
	// MaxWait bounds what a server may ask for with Retry-After, so that a wrong header does not silence a mapper.
	MaxWait = 5 * time.Minute

	maxToken = 16 << 10 // bytes; more is no token
	maxError = 256      // bytes of a refusal's body that are told
)

// Options of a [Client].
type Options struct {
	URL       string      // of the endpoint, https; required
	Insecure  bool        // allows http too; what is sent can then be read and changed on its way
	TLS       *tls.Config // nil means the system's authorities and no client certificate
	TokenFile string      // holds the bearer token, read for each request so that it may be rotated; "" sends none
	Gzip      bool        // compresses what is sent; answers are compressed as the server likes
	MaxReply  int64       // bytes of an answer, decompressed, at most; 0 means DefaultMaxReply
	_         struct{}    // keyed literals only: fields may be added
}

// Client posts to one endpoint over kept connections, HTTP/2 where the server speaks it over TLS. It may be used
// concurrently.
type Client struct {
	opts Options
	http *http.Client
}

// Reply is what the server answered with success.
type Reply struct {
	ContentType string
	Body        []byte
	Later       bool // 202: the batch is taken, its verdicts come later
}

// NewClient checks the options. It connects to nothing.
func NewClient(o Options) (*Client, error) {
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
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     o.TLS,
		ForceAttemptHTTP2:   true, // a TLS configuration of one's own turns it off else
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 4,
		// A connection that was cut without a word would else be used for request after request.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
	return &Client{opts: o, http: &http.Client{
		Transport: transport,
		// The token and the readings are for this endpoint, not for where it points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes the kept connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Post sends one batch and waits for the answer, at most as long as ctx. [admethod.RetryAfter] says whether an error is
// worth another try: network troubles, 408, 425, 429 and 5xx are, with the wait that the server asks for by
// Retry-After, up to [MaxWait]; every other refusal is permanent.
func (c *Client) Post(ctx context.Context, contentType string, body []byte) (*Reply, error) {
	req, err := c.request(ctx, contentType, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err // *url.Error: names method and URL
	}
	defer func() { _ = resp.Body.Close() }() // it is only read
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.refused(resp, time.Now())
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxReply+1))
	if err != nil {
		return nil, fmt.Errorf("POST %s: answer: %w", c.opts.URL, err)
	}
	if int64(len(answer)) > c.opts.MaxReply {
		return nil, admethod.Permanent(fmt.Errorf("POST %s: answer: more than %d bytes", c.opts.URL, c.opts.MaxReply))
	}
	return &Reply{
		ContentType: resp.Header.Get("Content-Type"), Body: answer, Later: resp.StatusCode == http.StatusAccepted,
	}, nil
}

func (c *Client) request(ctx context.Context, contentType string, body []byte) (*http.Request, error) {
	encoding := ""
	if c.opts.Gzip {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(body); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		body, encoding = b.Bytes(), "gzip"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.URL, bytes.NewReader(body))
	if err != nil {
		return nil, admethod.Permanent(err)
	}
	req.Header.Set("Content-Type", contentType)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if c.opts.TokenFile != "" {
		token, err := readToken(c.opts.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err) // worth another try: the file may be being replaced
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// readToken reads a token and checks that it can stand in a header.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it is only read
	raw, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("%s: want one word of printable ASCII, at most %d bytes", path, maxToken)
	}
	return token, nil
}

// refused makes an error of a response without success.
func (c *Client) refused(resp *http.Response, now time.Time) error {
	why, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what can be had
	err := fmt.Errorf("POST %s: %s", c.opts.URL, resp.Status)
	if len(why) > 0 {
		err = fmt.Errorf("%w: %q", err, why)
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
