// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient/brokertest"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// mosquitto is Debian's broker, which keeps what it has over restarts.
type mosquitto struct {
	address string
	start   func() *proctest.Process
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	m := new(mosquitto)
	m.address, m.start = brokertest.Mosquitto(t)
	return m
}

// publisher publishes at QoS 1, and again until the broker has it.
func (m *mosquitto) publisher(t *testing.T) func(topic, payload string) {
	t.Helper()
	const patience = 10 * time.Second
	var client paho.Client
	connect := func() bool {
		if client != nil && client.IsConnectionOpen() {
			return true
		}
		client = paho.NewClient(paho.NewClientOptions().AddBroker("mqtt://" + m.address).SetClientID("publisher").SetProtocolVersion(4).
			SetAutoReconnect(false).SetConnectTimeout(patience))
		token := client.Connect()
		return token.WaitTimeout(patience) && token.Error() == nil
	}
	t.Cleanup(func() {
		if client != nil {
			client.Disconnect(100)
		}
	})
	return func(topic, payload string) {
		waittest.Eventually(t, "it is published", func() bool {
			if !connect() {
				return false
			}
			token := client.Publish(topic, 1, false, payload)
			return token.WaitTimeout(patience) && token.Error() == nil
		})
	}
}

// What a source promises, with Debian's Mosquitto.
func TestRealMosquitto(t *testing.T) { bothVersions(t, realMosquitto) }

func realMosquitto(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Mosquitto")
	}
	proctest.Program(t, "mosquitto")
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		m := newMosquitto(t)
		m.start()
		waittest.Eventually(t, "it listens", func() bool {
			conn, err := net.Dial("tcp", m.address)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
		proxy := faultproxy.New(t, m.address)
		publish, dir := m.publisher(t), t.TempDir()
		r := new(sourcetest.Reports)
		return &sourcetest.Origin{
			New: func(t *testing.T) source.Source {
				r = new(sourcetest.Reports)
				r.Report("source test", "", fmt.Errorf("not yet"))
				return newSource(t, proxy.Addr(), dir, r, topics(plainTopic))
			},
			Send:   func(_ *testing.T, n int) { publish(fmt.Sprintf("plant/press/p%d", n%3), strconv.Itoa(n)) },
			Series: 3,
			Cut:    func(*testing.T) { proxy.Cut() },
			Ready: func(t *testing.T) {
				waittest.Eventually(t, "it has subscribed", func() bool { return r.Now("source test") == "" })
			},
			Replays: true, Again: true,
		}
	})
}

// Nothing is lost over ten restarts of the broker.
func TestMosquittoRestarts(t *testing.T) { bothVersions(t, mosquittoRestarts) }

func mosquittoRestarts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Mosquitto")
	}
	m := newMosquitto(t)
	broker := m.start()
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	r.Report("source test", "", fmt.Errorf("not yet"))
	sourcetest.Run(t, newSource(t, m.address, t.TempDir(), r, topics(plainTopic)), in)
	waittest.Eventually(t, "it has subscribed", func() bool { return r.Now("source test") == "" })
	publish, n := m.publisher(t), 0
	for range 10 {
		for range 200 {
			publish("plant/press/force", strconv.Itoa(n))
			n++
		}
		broker.Stop()
		broker = m.start()
	}
	publish("plant/press/force", strconv.Itoa(n))
	waittest.Eventually(t, "the last reading", func() bool {
		all := in.Readings()
		return len(all) > 0 && all[len(all)-1].Value == float64(n)
	})
	seen, newest := make(map[float64]bool), -1.
	for _, reading := range in.Readings() {
		seen[reading.Value] = true
		newest = max(newest, reading.Value)
	}
	if len(seen) != n+1 {
		t.Errorf("%d of %d readings", len(seen), n+1)
	}
	t.Logf("%d readings, %d of them came again", len(seen), len(in.Readings())-len(seen))
}
