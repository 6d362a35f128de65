// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// inFlight is how many messages are on their way to the broker at a time.
const inFlight = 64

// session is one connection to the broker. A nil session is closed.
type session struct {
	client  paho.Client
	conn    atomic.Pointer[net.Conn] // under the client; nil while there is none
	qos     byte
	timeout time.Duration
}

// connect opens a session with the newest certificates and password. Its loss wakes the queue.
func connect(ctx context.Context, s *Sink) (*session, error) {
	c := &s.config
	opts := paho.NewClientOptions().AddBroker(c.Broker).SetClientID(c.ClientID).SetCleanSession(true).
		// Its own loop cannot be joined, and holds messages that are out of date by then.
		SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(false).
		SetConnectTimeout(c.Timeout).SetWriteTimeout(c.Timeout).SetPingTimeout(c.Timeout).SetKeepAlive(c.KeepAlive).
		SetProtocolVersion(4). // MQTT 3.1.1; else 3.1 is tried after every refusal
		SetWill(s.status(), Offline, byte(c.QoS), true).
		SetConnectionLostHandler(func(paho.Client, error) { s.Wake() })
	if c.User != "" {
		opts.SetUsername(c.User)
	}
	if s.password != nil {
		opts.SetPassword(s.password.Get())
	}
	out := &session{qos: byte(c.QoS), timeout: c.Timeout}
	// A dialer of our own, which ends with ctx, and a connection that close can close.
	opts.SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		conn, err := dial(ctx, s, u)
		if err == nil {
			out.conn.Store(&conn)
		}
		return conn, err
	})
	out.client = paho.NewClient(opts)
	if err := out.wait(ctx, out.client.Connect()); err != nil {
		out.close(0)
		return nil, fmt.Errorf("connect to %s: %w", c.Broker, err)
	}
	return out, nil
}

func dial(ctx context.Context, s *Sink, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	port := u.Port()
	if s.files == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(port, "1883")))
	}
	d := tls.Dialer{Config: s.files.Client()}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(port, "8883")))
}

func (s *session) open() bool { return s != nil && s.client.IsConnectionOpen() }

// publish sends messages and waits until the broker has them, as far as the quality of service tells.
func (s *session) publish(ctx context.Context, batch []message) error {
	if !s.open() {
		return errors.New("the connection is lost")
	}
	tokens := make([]paho.Token, 0, len(batch))
	for _, m := range batch {
		tokens = append(tokens, s.client.Publish(m.topic, s.qos, true, m.payload))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for i, token := range tokens {
		if err := s.wait(ctx, token); err != nil {
			return fmt.Errorf("publish to %q: %w", batch[i].topic, err)
		}
	}
	return nil
}

func (s *session) wait(ctx context.Context, token paho.Token) error {
	if err := wait.Done(ctx, token.Done(), s.timeout, errors.New("the broker does not answer")); err != nil {
		return err
	}
	return token.Error()
}

// close ends the session; quiesce is for the last packets to get out.
func (s *session) close(quiesce time.Duration) {
	if s == nil {
		return
	}
	s.client.Disconnect(uint(quiesce.Milliseconds()))
	if conn := s.conn.Load(); conn != nil { // the client would wait for what it reads or writes
		_ = (*conn).Close() // it may be closed
	}
}
