// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mqtt is the source that subscribes to topics of an MQTT broker (3.1.1 or 5).
// Import it for its side effect: it registers itself under the name "mqtt".
//
//	type: mqtt
//	broker: mqtts://broker:8883
//	topics:
//	  - topic: plant/{device}/{property}
//	  - {topic: "zigbee2mqtt/{device}", payload: json, value: "*"}
//	  - payload: twin
//	  - payload: sparkplug
//	  - {topic: "hall/{device}/temperature", payload: mapper, property: temperature}
//
// At QoS 1 a message is acknowledged when the intake has taken its readings. An identity that lasts lets the broker keep
// what comes while the source is away: clientID names one, and where there is a state directory the source makes
// its own. What was handed over while the connection broke comes again, as is the way of QoS 1.
//
// A message that the broker had kept from before (retained) is of an age that nobody knows: it is passed over, unless the
// key retained is set and it says when it is of.
//
// The names that templates may use are those in the topic, and those of the payload:
//
//	plain, mapper  none
//	text           those in the template, but for {value}, {time}, {unit} and {_}
//	json           {key} where value ends in *
//	twin           {property}; the topic has {device}
//	sparkplug      {group}, {node}, {id} of a device, {device} which is the node and, behind a dot, the id, {property}
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Name of the source.
const Name = "mqtt"

const (
	// waiting is how many messages are held here. By MQTT 5 brokers are told to send no more before the first is
	// acknowledged; those of 3.1.1 send few more.
	waiting = 1024
	// batch is how many of them are handed over at once.
	batch = 256

	// goodFor is how long there is none that cannot be read before that is told.
	goodFor = time.Minute

	firstPause, longestPause = 250 * time.Millisecond, time.Minute
)

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "subscribes to topics of an MQTT broker: plain values, JSON, EventBus, Sparkplug B, what mappers push",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params: func() []params.Param {
			all := params.Describe(DefaultConfig())
			for _, p := range params.Describe(DefaultTopic()) {
				p.Key = "topics[]." + p.Key
				all = append(all, p)
			}
			return all
		},
	}
}

// Source subscribes to topics.
type Source struct {
	config   Config
	broker   *mqttclient.Broker
	filters  map[string]byte
	reader   reader
	report   admethod.Report
	part     string
	stateDir string

	messages []mqttclient.Message // of one turn
	readings []source.Reading
	wrong    time.Time // when the last message was that could not be read; zero: long ago
}

// New makes a source. It connects to nothing before Run.
func New(s source.Settings) (*Source, error) {
	c, topics, zone, err := decode(s.Options)
	if err != nil {
		return nil, err
	}
	out := &Source{
		config: c, filters: make(map[string]byte), report: s.Report, part: "source " + s.Name, stateDir: s.StateDir,
		reader: reader{config: &c, topics: topics, zone: zone, sparkplug: sparkplug{most: c.Series}, routes: make(map[string]*route)},
	}
	out.reader.config = &out.config
	trouble := func(err error) { s.Report(out.part+": files", "the old content of the files stays in use", err) }
	if out.broker, err = mqttclient.New(c.Config, trouble); err != nil {
		return nil, err
	}
	for _, t := range topics {
		filter := t.pattern.filter()
		if c.Share != "" {
			filter = "$share/" + c.Share + "/" + filter
		}
		out.filters[filter] = byte(c.QoS)
	}
	return out, nil
}

// Risks, for reports.
const (
	riskAway     = "no readings come; what the broker does not keep for the source is lost"
	riskMessages = "what is named is not watched"
	riskIdentity = "messages that come while the source is away are lost"
)

// Run subscribes until ctx ends.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	id, lasts := s.identity()
	pause := wait.Backoff{First: firstPause, Longest: longestPause}
	for {
		err := s.listen(ctx, in, id, lasts, func() {
			s.report(s.part, "", nil)
			pause.Reset()
		})
		if over := source.Over(ctx, err); over != nil {
			return over
		}
		s.report(s.part, riskAway, err)
		if err := wait.Sleep(ctx, pause.Next()); err != nil {
			return err
		}
	}
}

// identity is the name of this client, and whether the broker may keep messages for it.
func (s *Source) identity() (id string, lasts bool) {
	if s.config.ClientID != "" {
		return s.config.ClientID, true
	}
	if s.stateDir == "" {
		return mqttclient.RandomID(), false
	}
	path := filepath.Join(s.stateDir, "client-id")
	text, err := regular.Read(path, regular.MaxSecret)
	id = strings.TrimSpace(string(text))
	if errors.Is(err, fs.ErrNotExist) || err == nil && id == "" {
		id = mqttclient.RandomID()
		if err = os.MkdirAll(s.stateDir, 0o700); err == nil {
			err = atomicfile.WriteBytes(path, 0o600, []byte(id+"\n"))
		}
	}
	s.report(s.part+": identity", riskIdentity, err)
	if err != nil {
		return mqttclient.RandomID(), false
	}
	return id, true
}

// listen opens a session, and hands over what comes until it is lost or ctx ends.
func (s *Source) listen(ctx context.Context, in source.Intake, id string, lasts bool, works func()) error {
	// Who waits to put a message here must not wait for a session that is over.
	over, end := context.WithCancel(ctx)
	defer end()
	arrived, lost := make(chan mqttclient.Message, waiting), make(chan error, 1)
	session, err := s.broker.Receive(ctx, mqttclient.Reception{
		Version: s.config.Protocol, ID: id, Lasts: lasts, Expiry: s.config.SessionExpiry, Most: waiting, Filters: s.filters,
		Received: func(m mqttclient.Message) {
			select {
			case arrived <- m:
			case <-over.Done():
			}
		},
		Lost: func(err error) { lost <- err },
	})
	if err != nil {
		return err
	}
	defer func() {
		end()
		session.Close(100 * time.Millisecond)
	}()
	answered := session.Answered()
	timeout := time.NewTimer(s.config.Timeout)
	defer timeout.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-lost:
			return errors.Join(fmt.Errorf("the connection is lost: %w", err), s.rest(ctx, in, session, arrived, lasts))
		case <-timeout.C:
			return errors.New("the broker does not answer a subscription")
		case <-answered:
			answered = nil
			timeout.Stop()
			if err := s.granted(session); err != nil {
				return err
			}
			works()
		case m := <-arrived:
			if err := s.handOver(ctx, in, session, s.more(m, arrived)); err != nil {
				return err
			}
		}
	}
}

// granted says which topics the broker refuses. It is an error where that is all of them.
func (s *Source) granted(session mqttclient.Receiver) error {
	refused, err := session.Granted()
	if err == nil {
		s.report(s.part+": topics", riskMessages, errors.Join(refused...))
	}
	return err
}

// more is a message and others that are there.
func (s *Source) more(first mqttclient.Message, arrived <-chan mqttclient.Message) []mqttclient.Message {
	s.messages = append(s.messages[:0], first)
	for len(s.messages) < batch {
		select {
		case m := <-arrived:
			s.messages = append(s.messages, m)
		default:
			return s.messages
		}
	}
	return s.messages
}

// rest hands over what had come when the connection was lost and will not come again.
func (s *Source) rest(ctx context.Context, in source.Intake, session mqttclient.Receiver, arrived <-chan mqttclient.Message, lasts bool) error {
	for {
		select {
		case m := <-arrived:
			var rest []mqttclient.Message
			for _, m := range s.more(m, arrived) {
				if m.Qos() == 0 || !lasts {
					rest = append(rest, m)
				}
			}
			if err := s.handOver(ctx, in, session, rest); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// handOver gives the readings of messages to the intake, and acknowledges them.
func (s *Source) handOver(ctx context.Context, in source.Intake, session mqttclient.Receiver, messages []mqttclient.Message) error {
	s.readings = s.readings[:0]
	var wrong []error
	came := time.Now()
	for _, m := range messages {
		var birth string
		var err error
		s.readings, birth, err = s.reader.read(&message{topic: m.Topic(), payload: m.Payload(), retained: m.Retained(), came: came}, s.readings)
		if birth != "" && s.config.Rebirth {
			err = errors.Join(err, s.askBirth(session, birth, came))
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(s.readings) > 0 {
		refused, err := source.Refused(in.Take(ctx, s.readings))
		if err != nil {
			return &source.EndedError{Err: err}
		}
		for i := range refused {
			wrong = append(wrong, refused[i].Err)
		}
	}
	release := session.Cork()
	for _, m := range messages {
		m.Ack()
	}
	release()
	clear(messages)
	if len(wrong) > 0 {
		err := wrong[0]
		if len(wrong) > 1 {
			err = fmt.Errorf("%w; and %d more of %d messages", err, len(wrong)-1, len(messages))
		}
		s.report(s.part+": messages", riskMessages, err)
		s.wrong = came
	} else if !s.wrong.IsZero() && came.Sub(s.wrong) > goodFor {
		s.report(s.part+": messages", "", nil)
		s.wrong = time.Time{}
	}
	clear(s.readings)
	return nil
}

// askBirth asks an edge node for its birth certificates. It waits for nothing: what is lost is asked for again.
func (s *Source) askBirth(session mqttclient.Receiver, node string, now time.Time) error {
	group, name, _ := strings.Cut(node, "/")
	payload, err := rebirthRequest(now)
	if err == nil {
		err = session.Publish(sparkplugRoot+"/"+group+"/NCMD/"+name, payload)
	}
	return err
}
