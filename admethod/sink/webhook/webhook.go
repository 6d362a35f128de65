// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhook is the sink that posts verdicts to a receiver over HTTP: anomalies as alerts to Alertmanager (API
// v2), or changes of verdicts as CloudEvents 1.0 to anything else. Import it for its side effect: it registers itself
// under the name "webhook".
//
// An incident is one alert: it begins when the incident did, is sent again every resend while that lasts, and is resolved
// with the end of it; should the mapper be gone, it ends by itself after four resends. Its labels are alertname, namespace,
// device, property and severity, beside configured ones, and stay what they are; all else is annotations. An incident that
// gets worse has a second alert from then on, with that severity: labels are what routes go by. Both end together; an
// inhibition of the warning by the critical one, equal in namespace, device and property, shows people one.
//
// Of CloudEvents, the receiver gets one for the first verdict on a property, and one each for the beginning, each change
// and the end of an incident; see [Event].
//
// While the receiver is away, the latest verdict on each property waits for it. Network troubles, 408, 425, 429 and 5xx
// are tried again with growing waits, or after the wait that Retry-After asks for; every other answer but 2xx is final,
// and counted. Requests may be signed, see [SignatureHeader].
package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Name of the sink.
const Name = "webhook"

// The formats.
const (
	FormatAlertmanager = "alertmanager"
	FormatCloudEvents  = "cloudevents"
)

// Config is the mapper's configuration of the sink.
type Config struct {
	URL        string         `param:"url" doc:"where to post: the address of Alertmanager, such as https://alertmanager:9093, or the receiver of events"`
	Format     string         `param:"format" enum:"alertmanager,cloudevents" doc:"what is posted: alerts for Alertmanager's API v2, or CloudEvents 1.0 as JSON"`
	TLS        tlsfiles.Files `param:"tls"`
	Insecure   bool           `param:"insecure" doc:"allows http: anyone on the way can read verdicts"`
	TokenFile  string         `param:"tokenFile" doc:"file with a bearer token, read again when it changes"`
	SecretFile string         `param:"secretFile" doc:"file with the secret that requests are signed with, read again when it changes"`
	AlertName  string         `param:"alertName" doc:"alertmanager: the label alertname"`
	Labels     []string       `param:"labels" doc:"alertmanager: further labels, as name=value"`
	Resend     time.Duration  `param:"resend" min:"1s" max:"1h" doc:"alertmanager: how often an alert that lasts is sent again"`
	Timeout    time.Duration  `param:"timeout" min:"100ms" max:"5m" doc:"time after which a request is given up and tried again"`
	Properties int            `param:"properties" min:"1" max:"1000000" doc:"properties whose verdicts may wait; those on more are refused"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Format: FormatAlertmanager, AlertName: "Anomaly", Resend: time.Minute, Timeout: 10 * time.Second, Properties: 20000,
	}
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// labels parses the labels that every alert has.
func (c *Config) labels() (map[string]string, error) {
	out := map[string]string{"alertname": text(c.AlertName)}
	own := []string{"alertname", "namespace", "device", "property", "severity"}
	for _, pair := range c.Labels {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || !labelName.MatchString(name) || value == "" || slices.Contains(own, name) {
			return nil, &params.Error{Key: "labels", Value: pair, Want: "name=value, such as site=hall-7; not " + strings.Join(own, ", ")}
		}
		out[name] = text(value)
	}
	if c.AlertName == "" {
		return nil, &params.Error{Key: "alertName", Want: "must be set"}
	}
	return out, nil
}

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "posts anomalies to Alertmanager, or verdicts as CloudEvents to any receiver",
		Alerts:  true,
		New:     func(s admethod.SinkSettings) (admethod.Sink, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Sink posts verdicts. It is safe for concurrent use.
type Sink struct {
	*latest.Queue

	config Config
	secret *tlsfiles.Token // nil: requests are not signed
	client *httppost.Client
}

// New makes a sink. It connects to nothing before Start.
func New(s admethod.SinkSettings) (*Sink, error) {
	c := DefaultConfig()
	if err := params.Decode(&c, s.Options); err != nil {
		return nil, err
	}
	labels, err := c.labels()
	switch {
	case err != nil:
		return nil, err
	case c.URL == "":
		return nil, &params.Error{Key: "url", Want: "must be set"}
	case c.Insecure && c.TLS != (tlsfiles.Files{}):
		return nil, &params.Error{Key: "insecure", Value: true, Want: "no tls.* keys beside it"}
	case c.Insecure && c.TokenFile != "":
		return nil, &params.Error{Key: "tokenFile", Want: "a token is not sent in plaintext; use https"}
	}
	if c.Format == FormatAlertmanager {
		if c.URL, err = url.JoinPath(c.URL, "api/v2/alerts"); err != nil {
			return nil, &params.Error{Key: "url", Value: c.URL, Want: "the address of Alertmanager: " + err.Error()}
		}
	}
	out := &Sink{config: c}
	trouble := func(err error) { logs.Warningf("webhook: %v", err) }
	o := httppost.Options{URL: c.URL, Insecure: c.Insecure, MaxReply: 1 << 20, Header: out.sign}
	if !c.Insecure {
		if o.TLS, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, admethod.Unavailable(err)
		}
	}
	if o.Token, err = tlsfiles.NewToken(c.TokenFile, trouble); err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("tokenFile: %w", err))
	}
	if out.secret, err = tlsfiles.NewToken(c.SecretFile, trouble); err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("secretFile: %w", err))
	}
	if out.client, err = httppost.New(o); err != nil {
		return nil, err
	}
	q := latest.Options{Sink: Name, Limit: c.Properties, Hooks: s.Hooks}
	switch c.Format {
	case FormatCloudEvents:
		e := newCloudEvents(out.post, c.Properties)
		e.language = s.Language
		q.Batch, q.Deliver = 1, e.deliver
	default:
		m := newAlertmanager(out.post, labels, c.Resend, c.Properties)
		m.language = s.Language
		m.failed = func(err error) {
			if s.Hooks != nil && s.Hooks.SinkFailed != nil {
				s.Hooks.SinkFailed(Name, err, false)
			}
		}
		q.Batch, q.Deliver, q.Upkeep, q.Every = alertBatch, m.deliver, m.upkeep, c.Resend
	}
	out.Queue = latest.New(q)
	return out, nil
}

func (s *Sink) sign(h http.Header, body []byte) {
	h.Set("User-Agent", "edge-anomaly")
	if s.secret != nil {
		h.Set(SignatureHeader, Sign([]byte(s.secret.Get()), time.Now(), body))
	}
}

func (s *Sink) post(ctx context.Context, contentType string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	_, err := s.client.Post(ctx, contentType, body)
	return err
}

// Shutdown posts what waits, and ends the sink. An anomaly that lasts goes on for the receiver: the mapper may be back
// soon.
func (s *Sink) Shutdown(ctx context.Context) error {
	err := s.Queue.Shutdown(ctx)
	s.client.Close()
	return err
}
