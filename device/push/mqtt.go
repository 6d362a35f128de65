// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

type mqttRoute struct {
	broker   string
	topic    string
	qos      byte
	retained bool
}

// parseMQTT reads pushMethod.mqtt of a Device. An address without scheme means tcp.
func parseMQTT(config json.RawMessage) (mqttRoute, error) {
	var c struct {
		Address  string
		Topic    string
		QoS      int32
		Retained bool
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return mqttRoute{}, err
	}
	address := c.Address
	if address != "" && !strings.Contains(address, "://") {
		address = "tcp://" + address
	}
	u, err := url.Parse(address)
	var errs []error
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("address: %w", err))
	case u.Hostname() == "":
		errs = append(errs, fmt.Errorf("address: got %q, want the like of tcp://broker:1883", c.Address))
	}
	if c.Topic == "" || strings.ContainsAny(c.Topic, "+#\x00") {
		errs = append(errs, fmt.Errorf("topic: got %q, want a topic without wildcards", c.Topic))
	}
	if c.QoS < 0 || c.QoS > 2 {
		errs = append(errs, fmt.Errorf("qos: got %d, want 0, 1 or 2", c.QoS))
	}
	if err := errors.Join(errs...); err != nil {
		return mqttRoute{}, err
	}
	return mqttRoute{broker: address, topic: c.Topic, qos: byte(c.QoS), retained: c.Retained}, nil
}

// mqttSender keeps one client. Reconnecting is left to the lane: paho's own loop sleeps on after a disconnect and
// cannot be joined, and paho swallows what is published at QoS 0 while it runs.
type mqttSender struct {
	client  mqtt.Client
	timeout time.Duration
}

func newMQTTSender(broker string, timeout time.Duration) *mqttSender {
	opts := mqtt.NewClientOptions().AddBroker(broker).
		SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(false).
		SetConnectTimeout(timeout).SetWriteTimeout(timeout).SetKeepAlive(30 * time.Second)
	// Without a name of its own, a client gets one from the broker.
	return &mqttSender{client: mqtt.NewClient(opts), timeout: timeout}
}

func (s *mqttSender) send(ctx context.Context, it item) error {
	if !s.client.IsConnectionOpen() {
		if err := awaitToken(ctx, s.client.Connect(), s.timeout); err != nil {
			return &retryable{err: fmt.Errorf("connect: %w", err)}
		}
	}
	r := it.route.(mqttRoute)
	if err := awaitToken(ctx, s.client.Publish(r.topic, r.qos, r.retained, mqttPayload(r.topic, it)), s.timeout); err != nil {
		// What the broker does not acknowledge would be held by the client for ever: begin anew.
		s.client.Disconnect(0)
		return &retryable{err: fmt.Errorf("publish to %q: %w", r.topic, err)}
	}
	return nil
}

func (s *mqttSender) close() {
	const quiesce = 250 // milliseconds to get the last packets out
	s.client.Disconnect(quiesce)
}

// mqttPayload is the text that mappers of KubeEdge's template publish.
func mqttPayload(topic string, it item) string {
	at := time.UnixMilli(it.data.TimeStamp).Format(time.DateTime)
	return "time is " + at + "  " + topic + ": " + it.data.Value
}

func awaitToken(ctx context.Context, token mqtt.Token, timeout time.Duration) error {
	if err := wait.Done(ctx, token.Done(), timeout, errors.New("the broker does not answer")); err != nil {
		return err
	}
	return token.Error()
}
