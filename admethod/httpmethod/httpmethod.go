// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpmethod is the adapter to a detector that takes batches over HTTP, as openapi.yaml of admethod/wire/batch
// describes it. Import it for its side effect: it registers itself under the name "http".
//
// Batches of all properties with the same settings are posted one after the other, over kept connections, HTTP/2 where
// the detector speaks it. What gathers while one is on its way is the next. TLS is the default; plain text needs
// http.insecure: true. Each batch describes its series anew, so that any replica of a detector can take it. Verdicts
// come in the response or, with http.callback, are posted to the mapper later.
//
// A batch that is refused for good, with a status from 400 on, is answered with Unknown and the reason, and the next one
// is posted. All else begins a new session, after a backoff or what Retry-After asks for: trouble of the network, 401
// and 403 (tokens rotate), 408, 425, 429 and statuses from 500 on. A session begins with an empty batch, so that
// readings are not spent on a detector that is away.
package httpmethod

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/admethod/remote/shard"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Name is the adMethodName of this adapter.
const Name = "http"

func init() { admethod.RegisterAdapter(Factory()) }

// Config is what the mapper's configuration sets for the adapter or for one of its targets; a Device names a target. The address is a URL, a
// host and a port, or unix: and the path of a socket; without a path of its own it is that of /v1/detect. Several, with
// commas between them, share the devices.
type Config struct {
	remote.Config `param:""`
	Format        string   `param:"format" enum:"json,cloudevents" doc:"how batches are written: as JSON, or as batches of CloudEvents 1.0"`
	Gzip          bool     `param:"gzip" doc:"compress what is sent"`
	MaxAnswer     int      `param:"maxAnswer" min:"1024" max:"268435456" doc:"bytes of the answer to a batch at most, decompressed"`
	Callback      Callback `param:"callback" scope:"target"`
}

// Callback is where verdicts may be posted to later.
type Callback struct {
	Listen   string         `param:"listen" doc:"host and port to take verdicts at; empty: verdicts come in the responses"`
	URL      string         `param:"url" doc:"URL under which the detector reaches it; the detector must list it for this client"`
	Token    string         `param:"token" doc:"file with the bearer token that posts must carry; it is read again when it changes"`
	TLS      tlsfiles.Files `param:"tls"`
	Insecure bool           `param:"insecure" doc:"plaintext: anyone on the way can read and change verdicts"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: remote.DefaultConfig(), Format: string(batch.JSON), MaxAnswer: 4 << 20}
}

// Factory describes the adapter.
func Factory() admethod.AdapterFactory {
	kind := remote.Kind[Config]{
		Name: Name, Summary: "posts batches of readings to a detector over HTTP",
		URLs:     true,
		Defaults: DefaultConfig,
		Shared:   func(c *Config) *remote.Config { return &c.Config },
		CheckAddress: func(address string) error {
			_, _, err := endpoint(address, strings.HasPrefix(address, "http://")) // the mapper may allow plaintext
			return err
		},
	}
	f := kind.Factory()
	f.New = func(s admethod.AdapterSettings) (admethod.Adapter, error) {
		kind := kind
		listeners := &receivers{open: make(map[Callback]*receiver)} // shared by the targets of this adapter
		kind.Transport = func(c Config, id remote.Identity) (remote.Transport, error) {
			return newTransports(c, id, listeners)
		}
		return kind.Factory().New(s)
	}
	return f
}

// endpoint finds the URL that an address means, and the unix socket to reach it by.
func endpoint(address string, insecure bool) (u *url.URL, socket string, err error) {
	wrong := func(want string) error { return &params.Error{Key: "address", Want: want} } // it may hold a password
	given, scheme := address, "https"
	if insecure {
		scheme = "http"
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		socket = strings.TrimPrefix(path, "//")
		if socket == "" {
			return nil, "", wrong("unix: needs the path of a socket")
		}
		address = "localhost"
	}
	if !strings.Contains(address, "://") {
		address = scheme + "://" + address
	}
	u, err = url.Parse(address)
	switch {
	case err != nil || !isHost(u.Hostname()) || u.Scheme != "https" && u.Scheme != "http":
		return nil, "", wrong("want an https:// URL, host:port or unix:PATH")
	case socket == "" && !strings.Contains(given, "://") && u.Port() == "":
		return nil, "", wrong("want an https:// URL, host:port or unix:PATH; a host alone says no port")
	case u.User != nil:
		return nil, "", wrong("must not hold a user; the key token names a file with a token")
	case u.Scheme == "http" && !insecure:
		return nil, "", wrong("want https; insecure: true allows plaintext")
	case u.Scheme == "https" && insecure:
		return nil, "", wrong("https and insecure: true contradict each other")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = batch.Path
	}
	u.Fragment = ""
	return u, socket, nil
}

// validate finds what bounds of single keys cannot express.
func (c *Callback) validate() error {
	if c.Listen == "" {
		if *c != (Callback{}) {
			return &params.Error{Key: "callback.listen", Want: "must be set where other keys of callback are"}
		}
		return nil
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || !isHost(u.Hostname()) || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return &params.Error{Key: "callback.url", Value: c.URL, Want: "one https:// URL"}
	case u.Scheme == "http" && !c.Insecure:
		return &params.Error{Key: "callback.url", Value: c.URL, Want: "https; callback.insecure: true allows plaintext"}
	case c.Insecure && (c.TLS != (tlsfiles.Files{}) || c.Token != ""):
		return &params.Error{Key: "callback.insecure", Value: true, Want: "no callback.tls.* and callback.token beside it"}
	case !c.Insecure && c.TLS.Cert == "":
		return &params.Error{Key: "callback.tls.cert", Want: "must be set, or callback.insecure: true"}
	case !c.Insecure && c.TLS.CA == "" && c.Token == "":
		return &params.Error{Key: "callback.token", Want: "want callback.token or callback.tls.ca: who may post verdicts"}
	}
	return nil
}

// isHost tells a name or an address from other text that [url.Parse] takes for one.
func isHost(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name != "" && len(name) <= 253 && !strings.ContainsFunc(name, func(r rune) bool {
		return r < 0x80 && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

// path is that of the URL.
func (c *Callback) path() string {
	u, err := url.Parse(c.URL)
	if err != nil || u.Path == "" {
		return "/"
	}
	return u.Path
}

// transport posts to one detector.
type transport struct {
	config Config
	client *httppost.Client
	format batch.Format
	info   *pb.StreamInfo

	listeners *receivers
	receiver  *receiver // nil before the first session, and without a callback
}

// newTransports spreads streams over the detectors of a list of addresses.
func newTransports(c Config, id remote.Identity, listeners *receivers) (remote.Transport, error) {
	if c.Callback.Listen != "" && strings.Contains(c.Address, ",") {
		return nil, &params.Error{Key: "callback.listen", Want: "one address beside it, as verdicts that are posted do not say which detector they come from"}
	}
	return shard.Open(c.Address, shard.Options{Timeout: c.Timeout, Backoff: c.Backoff}, func(address string) (remote.Transport, error) {
		one := c
		one.Address = address
		return newTransport(one, id, listeners)
	})
}

func newTransport(c Config, id remote.Identity, listeners *receivers) (*transport, error) {
	if err := c.Callback.validate(); err != nil {
		return nil, err
	}
	u, socket, err := endpoint(c.Address, c.Insecure)
	if err != nil {
		return nil, err
	}
	trouble := func(err error) { logs.Warningf("http: %s: %v", c.Address, err) }
	o := httppost.Options{URL: u.String(), Insecure: c.Insecure, Socket: socket, MaxReply: int64(c.MaxAnswer)}
	if !c.Insecure {
		if o.TLS, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, err
		}
	}
	if o.Token, err = tlsfiles.NewToken(c.Token, trouble); err != nil {
		return nil, err
	}
	o.Header = func(h http.Header, _ []byte) {
		if c.Gzip {
			h.Set("Content-Encoding", "gzip")
		}
		if c.Callback.URL != "" {
			h.Set(batch.CallbackHeader, c.Callback.URL)
		}
	}
	client, err := httppost.New(o)
	if err != nil {
		return nil, err
	}
	return &transport{
		config: c, client: client, format: batch.Format(c.Format), listeners: listeners,
		info: &pb.StreamInfo{Mapper: id.Mapper, Node: id.Node, StreamId: id.StreamID},
	}, nil
}

// Open posts an empty batch to see that the detector is there.
func (t *transport) Open(ctx context.Context) (remote.Session, error) {
	if t.config.Callback.Listen != "" && t.receiver == nil {
		r, err := t.listeners.acquire(ctx, t.config.Callback, t.config.MaxAnswer)
		if err != nil {
			return nil, err
		}
		t.receiver = r
	}
	s := newSession(ctx, t)
	if err := t.Probe(ctx); err != nil {
		return nil, err
	}
	if t.receiver != nil {
		t.receiver.register(t.info.StreamId, s)
	}
	return s, nil
}

// Probe posts an empty batch. A detector that wants no such is there all the same.
func (t *transport) Probe(ctx context.Context) error {
	_, err := t.post(ctx, nil)
	var status *httppost.StatusError
	if errors.As(err, &status) && (status.Code == http.StatusBadRequest || status.Code == http.StatusUnprocessableEntity) {
		return nil
	}
	return err
}

func (t *transport) post(ctx context.Context, readings []reading) (*httppost.Reply, error) {
	m := &pb.DetectRequest{Stream: t.info, Readings: make([]*pb.DevicePropertyData, len(readings))}
	for i := range readings {
		m.Readings[i] = readings[i].m
	}
	body, err := t.format.EncodeRequest(m)
	if err == nil && t.config.Gzip {
		body, err = batch.Compress(body)
	}
	if err != nil {
		return nil, admethod.Permanent(fmt.Errorf("encode: %w", err))
	}
	timeout := t.config.Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	reply, err := t.client.Post(ctx, t.format.ContentType(), body)
	var status *httppost.StatusError
	if errors.As(err, &status) && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden) {
		return nil, status // not about this batch: tokens, certificates and rights are renewed
	}
	return reply, err
}

// Reconnect implements [remote.Reconnecter].
func (t *transport) Reconnect() { t.client.Reconnect() }

// Close closes the kept connections and, if it is the last that uses it, the listener.
func (t *transport) Close() error {
	t.client.Close()
	if t.receiver == nil {
		return nil
	}
	t.receiver.register(t.info.StreamId, nil)
	if err := t.listeners.release(t.receiver); err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	return nil
}
