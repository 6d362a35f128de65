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
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
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
	mqttclient.Config

	Prefix     string `param:"prefix" doc:"first levels of every topic: prefix/namespace/device/property, and prefix/status"`
	QoS        int    `param:"qos" min:"0" max:"2" doc:"quality of service of the messages"`
	Properties int    `param:"properties" min:"1" max:"1000000" doc:"properties whose verdicts are kept; those on more are refused"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: mqttclient.DefaultConfig(), Prefix: "edge-anomaly", QoS: 1, Properties: 20000}
}

func (c *Config) validate() error {
	err := c.Validate()
	if !plain(c.Prefix) {
		err = errors.Join(err, &params.Error{Key: "prefix", Value: c.Prefix, Want: "levels of a topic, such as plant/hall-7, without + # % and characters that do not print"})
	}
	return err
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

	config Config
	broker *mqttclient.Broker

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
	out := &Sink{config: c, kept: make(map[driver.Key]message), stats: s.Stats}
	if out.broker, err = mqttclient.New(c.Config, func(err error) { logs.Warningf("mqtt: %v", err) }); err != nil {
		return nil, err
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
