// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// allowAll lets every client do everything.
type allowAll struct{ mochi.HookBase }

func (*allowAll) ID() string { return "allow-all" }
func (*allowAll) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*allowAll) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*allowAll) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

type message struct {
	topic, payload string
	qos            byte
}

// broker is an embedded MQTT broker; what it receives arrives in the channel.
type broker struct {
	server  *mochi.Server
	address string
	got     chan message
}

func startBroker(t *testing.T, address string) *broker {
	t.Helper()
	b := &broker{
		server: mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}),
		got:    make(chan message, 1000),
	}
	if err := b.server.AddHook(new(allowAll), nil); err != nil {
		t.Fatal(err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})
	if err := b.server.AddListener(tcp); err != nil {
		t.Fatal(err)
	}
	b.address = tcp.Address()
	// Before it serves: a client that waits for the broker is quick.
	err := b.server.Subscribe("room/#", 1, func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
		b.got <- message{pk.TopicName, string(pk.Payload), pk.FixedHeader.Qos}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *broker) stop(t *testing.T) {
	t.Helper()
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
}

func TestMQTTSharesOneClientAndPublishesAsUpstream(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	defer b.stop(t)
	p := newPool(t, Options{})
	at := time.UnixMilli(reading("").TimeStamp).Format(time.DateTime)
	for i, qos := range []byte{0, 1, 2} {
		topic := "room/" + strconv.Itoa(i)
		config := fmt.Sprintf(`{"address":"mqtt://%s","topic":%q,"qos":%d,"retained":%v}`, b.address, topic, qos, i == 2)
		openTarget(t, p, "mqtt", config).Push(reading("21.5"))
		want := message{topic, "time is " + at + "  " + topic + ": 21.5", qos}
		if got := <-b.got; got.topic != want.topic || got.payload != want.payload {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if n := b.server.Clients.Len(); n != 2 { // the inline client of the test and ours
		t.Errorf("%d clients at the broker, want 2", n)
	}
	if kept := b.server.Topics.Messages("room/#"); len(kept) != 1 || kept[0].TopicName != "room/2" {
		t.Errorf("retained messages: %v", kept)
	}
}

// Upstream ends the process when the broker is away.
func TestMQTTSurvivesARestartOfTheBroker(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	p := newPool(t, Options{RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, Timeout: time.Second, QueueSize: 4})
	target := openTarget(t, p, "mqtt", fmt.Sprintf(`{"address":%q,"topic":"room/t","qos":1}`, b.address))
	target.Push(reading("before"))
	<-b.got
	b.stop(t)
	for i := range 100 {
		target.Push(reading(strconv.Itoa(i)))
	}
	b = startBroker(t, b.address)
	defer b.stop(t)
	deadline := time.After(20 * time.Second)
	for newest := ""; !strings.HasSuffix(newest, ": 99"); {
		select {
		case m := <-b.got:
			newest = m.payload
		case <-deadline:
			t.Fatalf("the newest reading did not arrive; %+v", p.Stats())
		}
	}
	if s := p.Stats(); s.Dropped < 95 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestMQTTBrokerThatIsNeverThere(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	b.stop(t)
	p := newPool(t, Options{RetryMin: time.Millisecond})
	target := openTarget(t, p, "mqtt", fmt.Sprintf(`{"address":%q,"topic":"t"}`, b.address))
	for range 2000 {
		target.Push(reading("1"))
	}
	begin := time.Now()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("shutdown took %v", took)
	}
	if s := p.Stats(); s.Sent != 0 || s.Dropped != 2000 {
		t.Errorf("%+v: every reading must be accounted for", s)
	}
}
