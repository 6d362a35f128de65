// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqttclient

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Versions of the protocol.
const (
	Version311 = "3.1.1"
	Version5   = "5"
)

// Message is one that came.
type Message interface {
	Topic() string
	Payload() []byte
	Qos() byte
	Retained() bool
	Ack() // tells the broker that it is taken; of any goroutine, in the order in which messages came
}

// Reception is what a session that receives is opened for.
type Reception struct {
	Version string // Version311 or Version5
	ID      string // identity of the client; "" is that of the configuration
	Lasts   bool   // the broker keeps messages for this identity while there is no session
	Filters map[string]byte
	// Expiry is for how long it does; MQTT 5. That of 3.1.1 is the broker's setting.
	Expiry time.Duration
	// Most is how many messages may be under way that are not acknowledged; MQTT 5. That of 3.1.1 is the broker's setting.
	Most uint16

	// Received gets the messages, in their order, from one goroutine. Lost is told once why the session ended by itself.
	Received func(Message)
	Lost     func(error)
}

// Receiver is a session that receives.
type Receiver interface {
	// Answered is closed when the broker has answered what was subscribed to. Granted is what it said then: the filters
	// that it does not serve as asked, with the reason; an error is that it serves none.
	Answered() <-chan struct{}
	Granted() (refused []error, err error)
	// Publish sends a message at QoS 0, and waits for nobody's answer.
	Publish(topic string, payload []byte) error
	// Cork is as [Session.Cork] has it.
	Cork() (release func())
	// Close ends the session; quiesce is for the last packets to get out.
	Close(quiesce time.Duration)
}

// Receive opens a session that receives.
func (b *Broker) Receive(ctx context.Context, r Reception) (Receiver, error) {
	if r.Version == Version5 {
		return b.receive5(ctx, &r)
	}
	s, err := b.Connect(ctx, func(o *paho.ClientOptions) {
		if r.ID != "" {
			o.SetClientID(r.ID)
		}
		o.SetCleanSession(!r.Lasts).SetOrderMatters(true).SetAutoAckDisabled(true).
			SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { r.Received(m) }).
			SetConnectionLostHandler(func(_ paho.Client, err error) { r.Lost(err) })
	})
	if err != nil {
		return nil, err
	}
	out := &receiver{Session: s, filters: r.Filters, answered: make(chan struct{})}
	ctx, out.cancel = context.WithCancel(context.WithoutCancel(ctx))
	out.asking.Go(func() {
		defer close(out.answered)
		resubscribe(ctx, func() bool {
			token := s.Client.SubscribeMultiple(r.Filters, nil)
			if out.err = s.Wait(ctx, token); out.err != nil {
				return false
			}
			out.codes = make(map[string]byte)
			if token, ok := token.(*paho.SubscribeToken); ok {
				out.codes = token.Result()
			}
			return r.Lasts && slices.Contains(slices.Collect(maps.Values(out.codes)), failure)
		})
	})
	return out, nil
}

// failure is how a broker refuses a filter, for whatever reason.
const failure = 0x80

// resubscribe subscribes, and again for as long as ask says that the answer may be another one, up to a second or two:
// there are brokers that take the number of a message whose acknowledgement they wait for to be that of the question.
func resubscribe(ctx context.Context, ask func() (again bool)) {
	for pause := 2 * time.Millisecond; ask() && pause < time.Second && wait.Sleep(ctx, pause) == nil; pause *= 2 { //nolint:revive // all is in it
	}
}

// receiver speaks MQTT 3.1.1.
type receiver struct {
	*Session

	filters  map[string]byte
	answered chan struct{} // closed when codes or err is there
	codes    map[string]byte
	err      error
	cancel   context.CancelFunc
	asking   sync.WaitGroup
}

func (r *receiver) Answered() <-chan struct{} { return r.answered }

func (r *receiver) Granted() (refused []error, err error) {
	if r.err != nil {
		return nil, fmt.Errorf("subscribe: %w", r.err)
	}
	return granted(r.filters, func(filter string) (byte, string) { return r.codes[filter], "" })
}

func (r *receiver) Close(quiesce time.Duration) {
	r.cancel()
	r.Session.Close(quiesce)
	r.asking.Wait()
}

func (r *receiver) Publish(topic string, payload []byte) error {
	r.Client.Publish(topic, 0, false, payload)
	return nil
}

// granted says what of the filters is not served as asked.
func granted(filters map[string]byte, code func(filter string) (code byte, reason string)) (refused []error, err error) {
	none := 0
	for _, filter := range slices.Sorted(maps.Keys(filters)) {
		switch got, reason := code(filter); {
		case got > 2:
			none++
			if reason != "" {
				reason = ": " + reason
			}
			refused = append(refused, fmt.Errorf("the broker refuses to subscribe to %s (0x%02x)%s", filter, got, reason))
		case got < filters[filter]:
			refused = append(refused, fmt.Errorf("the broker serves %s at QoS %d only: messages may be lost", filter, got))
		}
	}
	if none == len(filters) {
		return refused, refused[0]
	}
	return refused, nil
}
