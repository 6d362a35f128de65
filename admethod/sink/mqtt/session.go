// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"context"
	"errors"
	"fmt"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient"
)

// inFlight is how many messages are on their way to the broker at a time.
const inFlight = 64

// session is one connection to the broker. A nil session is closed.
type session struct {
	*mqttclient.Session
	qos byte
}

// connect opens a session. Its loss wakes the queue.
func connect(ctx context.Context, s *Sink) (*session, error) {
	qos := byte(s.config.QoS)
	open, err := s.broker.Connect(ctx, func(o *paho.ClientOptions) {
		o.SetWill(s.status(), Offline, qos, true).SetConnectionLostHandler(func(paho.Client, error) { s.Wake() })
	})
	if err != nil {
		return nil, err
	}
	return &session{Session: open, qos: qos}, nil
}

func (s *session) open() bool { return s != nil && s.Open() }

// publish sends messages and waits until the broker has them, as far as the quality of service tells.
func (s *session) publish(ctx context.Context, batch []message) error {
	if !s.open() {
		return errors.New("the connection is lost")
	}
	tokens := make([]paho.Token, 0, len(batch))
	for _, m := range batch {
		tokens = append(tokens, s.Client.Publish(m.topic, s.qos, true, m.payload))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for i, token := range tokens {
		if err := s.Wait(ctx, token); err != nil {
			return fmt.Errorf("publish to %q: %w", batch[i].topic, err)
		}
	}
	return nil
}

func (s *session) close(quiesce time.Duration) {
	if s != nil {
		s.Close(quiesce)
	}
}
