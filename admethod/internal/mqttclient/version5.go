// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqttclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// acknowledgeEvery is how often what was acknowledged is told to the broker.
const acknowledgeEvery = 5 * time.Millisecond

// receiver5 speaks MQTT 5.
type receiver5 struct {
	client  *paho.Client
	conn    *buffered
	filters map[string]byte

	answered chan struct{} // closed when codes or err is there
	codes    map[string]byte
	reason   string
	err      error

	ctx    context.Context // of what is asked of the broker
	cancel context.CancelFunc
	asking sync.WaitGroup
}

// message5 is a message of MQTT 5.
type message5 struct {
	client *paho.Client
	packet *paho.Publish
}

func (m *message5) Topic() string   { return m.packet.Topic }
func (m *message5) Payload() []byte { return m.packet.Payload }
func (m *message5) Qos() byte       { return m.packet.QoS }
func (m *message5) Retained() bool  { return m.packet.Retain }
func (m *message5) Ack()            { _ = m.client.Ack(m.packet) } // fails where the session is over: the message comes again

// receive5 connects and subscribes.
func (b *Broker) receive5(ctx context.Context, r *Reception) (Receiver, error) {
	c := &b.config
	u, err := url.Parse(c.Broker)
	if err != nil {
		return nil, err
	}
	raw, err := b.dial(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Broker, err)
	}
	out := &receiver5{conn: newBuffered(raw), filters: r.Filters, answered: make(chan struct{}), codes: make(map[string]byte)}
	out.conn.timeout = c.Timeout
	out.asking.Go(out.conn.gather())
	var once sync.Once
	lost := func(err error) { once.Do(func() { r.Lost(err) }) }
	out.client = paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(out.conn), PacketTimeout: c.Timeout,
		EnableManualAcknowledgment: true, SendAcksInterval: acknowledgeEvery,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			r.Received(&message5{p.Client, p.Packet})
			return true, nil
		}},
		OnClientError: lost,
		OnServerDisconnect: func(d *paho.Disconnect) {
			reason := ""
			if d.Properties != nil {
				reason = d.Properties.ReasonString
			}
			lost(fmt.Errorf("the broker ends it (0x%02x) %s", d.ReasonCode, reason))
		},
	})
	connect := &paho.Connect{
		ClientID: r.ID, CleanStart: !r.Lasts, KeepAlive: uint16(min(c.KeepAlive/time.Second, math.MaxUint16)), //nolint:gosec // bounded
		Properties: &paho.ConnectProperties{RequestProblemInfo: true},
	}
	if r.ID == "" {
		connect.ClientID = c.ClientID
	}
	if r.Lasts {
		seconds := uint32(min(int64(r.Expiry/time.Second), math.MaxUint32)) //nolint:gosec // bounded
		connect.Properties.SessionExpiryInterval = &seconds
	}
	if r.Most > 0 {
		connect.Properties.ReceiveMaximum = &r.Most
	}
	if c.User != "" {
		connect.UsernameFlag, connect.Username = true, c.User
	}
	if b.password != nil {
		connect.PasswordFlag, connect.Password = true, []byte(b.password.Get())
	}
	answer, err := out.client.Connect(ctx, connect)
	if err != nil {
		_ = out.conn.Close()
		out.asking.Wait()
		if answer != nil && answer.ReasonCode == packets.ConnackUnsupportedProtocolVersion {
			err = errors.Join(err, errors.New("it does not speak MQTT 5: the key protocol allows 3.1.1"))
		}
		if answer != nil {
			err = fmt.Errorf("%w (0x%02x)", err, answer.ReasonCode)
		}
		return nil, fmt.Errorf("connect to %s: %w", c.Broker, err)
	}
	out.ctx, out.cancel = context.WithCancel(context.WithoutCancel(ctx))
	out.asking.Go(func() {
		defer close(out.answered)
		out.subscribe()
	})
	return out, nil
}

// subscribe asks for the filters.
func (r *receiver5) subscribe() {
	var all []paho.SubscribeOptions
	for filter, qos := range r.filters {
		all = append(all, paho.SubscribeOptions{Topic: filter, QoS: qos})
	}
	var answer *paho.Suback
	var err error
	resubscribe(r.ctx, func() bool {
		answer, err = r.client.Subscribe(r.ctx, &paho.Subscribe{Subscriptions: all})
		return answer != nil && slices.Contains(answer.Reasons, packets.SubackPacketIdentifierinuse)
	})
	if answer == nil || len(answer.Reasons) != len(all) {
		r.err = err
		if err == nil {
			r.err = errors.New("the broker does not answer all that is subscribed to")
		}
		return
	}
	if answer.Properties != nil {
		r.reason = answer.Properties.ReasonString
	}
	for i := range all {
		r.codes[all[i].Topic] = answer.Reasons[i]
	}
}

func (r *receiver5) Answered() <-chan struct{} { return r.answered }

func (r *receiver5) Granted() (refused []error, err error) {
	if r.err != nil {
		return nil, fmt.Errorf("subscribe: %w", r.err)
	}
	return granted(r.filters, func(filter string) (byte, string) { return r.codes[filter], r.reason })
}

func (r *receiver5) Publish(topic string, payload []byte) error {
	_, err := r.client.Publish(r.ctx, &paho.Publish{Topic: topic, Payload: slices.Clone(payload)})
	return err
}

// Cork does nothing: what is acknowledged is told later, all at once.
func (r *receiver5) Cork() (release func()) { return func() {} }

func (r *receiver5) Close(quiesce time.Duration) {
	_ = wait.Sleep(r.ctx, min(quiesce, 4*acknowledgeEvery)) // what was acknowledged gets out
	r.cancel()
	_ = r.client.Disconnect(&paho.Disconnect{}) // it may be over
	_ = r.conn.Close()
	r.asking.Wait()
}
