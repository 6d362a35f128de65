// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mqtt is the sink that keeps the last verdict on each property as a retained message at an MQTT broker (3.1.1),
// see [Topic]. Import it for its side effect: it registers itself under the name "mqtt".
//
// The payload is what [verdict.FromResult] makes of a verdict, as JSON. The message of a property that is no longer
// watched is removed, after a restart as well: all that is retained under the prefix is this mapper's. The topic prefix/status holds "online" once the verdicts of a mapper are there, and "offline",
// by its last will, when it is gone. Mappers that share a broker want a prefix each.
//
// While the broker is away, the latest verdict on each property waits for it. With every new connection all that is
// known is published once more: a broker that kept nothing over a restart, or lost what was on its way, has it again.
package mqtt

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Name of the sink.
const Name = "mqtt"

// What the topic prefix/status holds.
const (
	Online  = "online"
	Offline = "offline"
)

// Config is the mapper's configuration of the sink.
type Config struct {
	Broker       string         `param:"broker" doc:"address of the broker, such as mqtts://broker:8883"`
	TLS          tlsfiles.Files `param:"tls"`
	Insecure     bool           `param:"insecure" doc:"allows mqtt:// without TLS: anyone on the way can read and change verdicts, and read the password"`
	User         string         `param:"user" doc:"name to log in with"`
	PasswordFile string         `param:"passwordFile" doc:"file with the password, read again when it changes"`
	ClientID     string         `param:"clientID" doc:"identity of this mapper, which no other client of the broker may have; empty: a random one"`
	Prefix       string         `param:"prefix" doc:"first levels of every topic: prefix/namespace/device/property, and prefix/status"`
	QoS          int            `param:"qos" min:"0" max:"2" doc:"quality of service of the messages"`
	KeepAlive    time.Duration  `param:"keepAlive" min:"1s" max:"1h" doc:"time without traffic after which the connection is probed"`
	Timeout      time.Duration  `param:"timeout" min:"100ms" max:"5m" doc:"time after which the broker counts as away where it does not answer"`
	Properties   int            `param:"properties" min:"1" max:"1000000" doc:"properties whose verdicts are kept; those on more are refused"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Prefix: "edge-anomaly", QoS: 1, KeepAlive: 30 * time.Second, Timeout: 10 * time.Second, Properties: 20000}
}

func (c *Config) validate() error {
	u, err := url.Parse(c.Broker)
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	switch {
	case c.Broker == "":
		fail("broker", nil, "must be set")
	case err != nil:
		fail("broker", c.Broker, "an address: "+err.Error())
	case u.User != nil:
		fail("broker", u.Redacted(), "user and passwordFile instead of a user in the address")
	case u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Scheme != "mqtts" && u.Scheme != "mqtt":
		fail("broker", c.Broker, "mqtts://host:port")
	case u.Scheme == "mqtt" && !c.Insecure:
		fail("broker", c.Broker, "mqtts; insecure: true allows plaintext")
	case u.Scheme == "mqtts" && c.Insecure:
		fail("insecure", true, "mqtt:// beside it")
	}
	if c.Insecure && c.TLS != (tlsfiles.Files{}) {
		fail("insecure", true, "no tls.* keys beside it")
	}
	if c.PasswordFile != "" && c.User == "" {
		fail("user", nil, "must be set where passwordFile is")
	}
	if !plain(c.Prefix) {
		fail("prefix", c.Prefix, "levels of a topic, such as plant/hall-7, without + # % and characters that do not print")
	}
	return errors.Join(errs...)
}

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "keeps the last verdict on each property as a retained message at an MQTT broker",
		New:     func(s admethod.SinkSettings) (admethod.Sink, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Sink publishes verdicts. It is safe for concurrent use.
type Sink struct {
	*latest.Queue

	config   Config
	files    *tlsfiles.Loader // nil in plaintext
	password *tlsfiles.Token  // nil: none

	ending sync.Mutex // held by Shutdown

	// Used by the queue's goroutine alone, and by Shutdown once that has ended.
	session *session
	kept    map[driver.Key]message // what the broker should have
	found   *inventory             // what it had before; nil where that is not looked for
	tidy    bool                   // what it had of devices that are gone is forgotten
	stats   func() admethod.Stats  // may be nil
}

// message is one retained message.
type message struct {
	topic   string
	payload []byte // empty: the broker forgets it
}

// New makes a sink. It connects to nothing before Start.
func New(s admethod.SinkSettings) (*Sink, error) {
	c := DefaultConfig()
	err := params.Decode(&c, s.Options)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return nil, err
	}
	if c.ClientID == "" {
		c.ClientID = "edge-anomaly-" + rand.Text()[:10] // 23 characters, which every broker takes
	}
	out := &Sink{config: c, kept: make(map[driver.Key]message), stats: s.Stats}
	trouble := func(err error) { logs.Warningf("mqtt: %v", err) }
	if !c.Insecure {
		if out.files, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, admethod.Unavailable(err)
		}
	}
	if out.password, err = tlsfiles.NewToken(c.PasswordFile, trouble); err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("passwordFile: %w", err))
	}
	out.Queue = latest.New(latest.Options{
		Sink: Name, Limit: c.Properties, Batch: inFlight, Hooks: s.Hooks, Deliver: out.deliver, Upkeep: out.upkeep,
	})
	return out, nil
}

// upkeep sees to a connection over which all that is known has been published.
func (s *Sink) upkeep(ctx context.Context) error {
	if s.session.open() {
		s.tidyUp(ctx)
		return nil
	}
	s.session.close(0)
	s.session = nil
	fresh, err := connect(ctx, s)
	if err != nil {
		return err
	}
	batch := make([]message, 0, inFlight)
	for _, m := range s.kept {
		if batch = append(batch, m); len(batch) == inFlight {
			if err == nil {
				err = fresh.publish(ctx, batch)
			}
			batch = batch[:0]
		}
	}
	if err == nil {
		// Last: who sees it may trust that the rest is there.
		err = fresh.publish(ctx, append(batch, message{s.status(), []byte(Online)}))
	}
	if err != nil {
		fresh.close(0)
		return err
	}
	s.session = fresh
	if !s.tidy {
		s.found = s.inventory(ctx, fresh)
	}
	return nil
}

// tidyUp ends the look for what is gone when it is time. What the broker refuses of that must not keep verdicts from it.
func (s *Sink) tidyUp(ctx context.Context) {
	if s.tidy {
		return
	}
	done, err := s.forgetGone(ctx)
	if err != nil && s.session.open() {
		logs.Warningf("mqtt: verdicts on devices that are gone since the last start stay at the broker: %v", err)
		done = true
	}
	if s.tidy = done; done {
		s.found = nil
	}
}

func (s *Sink) status() string { return s.config.Prefix + "/status" }

func (s *Sink) deliver(ctx context.Context, batch []latest.Item) error {
	messages := make([]message, len(batch))
	for i := range batch {
		m, err := s.message(&batch[i])
		if err != nil {
			return admethod.Permanent(err) // of one: what fails in a batch is tried again by itself
		}
		messages[i] = m
	}
	if err := s.session.publish(ctx, messages); err != nil {
		// What the broker does not acknowledge would be held by the client for ever: begin anew.
		s.session.close(0)
		s.session = nil
		return err
	}
	for i := range batch {
		if batch[i].Gone {
			delete(s.kept, batch[i].Key)
		} else if _, known := s.kept[batch[i].Key]; known || len(s.kept) < s.config.Properties {
			s.kept[batch[i].Key] = messages[i]
		}
	}
	return nil
}

func (s *Sink) message(it *latest.Item) (m message, err error) {
	if m.topic, err = Topic(s.config.Prefix, it.Key); err != nil || it.Gone {
		return m, err
	}
	if m.payload, err = json.Marshal(verdict.FromResult(&it.Result)); err != nil {
		return m, fmt.Errorf("%v: %w", it.Key, err)
	}
	return m, nil
}

// Shutdown publishes what waits and that the mapper is offline, and ends the sink. The verdicts stay at the broker.
func (s *Sink) Shutdown(ctx context.Context) error {
	s.ending.Lock()
	defer s.ending.Unlock()
	err := s.Queue.Shutdown(ctx)
	if s.session.open() {
		offline := s.session.publish(ctx, []message{{s.status(), []byte(Offline)}})
		if ctx.Err() == nil {
			err = errors.Join(err, offline)
		}
	}
	s.session.close(250 * time.Millisecond)
	s.session = nil
	return err
}
