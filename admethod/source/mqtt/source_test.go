// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient/brokertest"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/sparkplug"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is a broker that lets everybody in, but to topics below forbidden/.
type broker struct{ *brokertest.Broker }

type doorman struct{ mochi.HookBase }

func (*doorman) ID() string { return "doorman" }

func (*doorman) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*doorman) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*doorman) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	return !strings.HasPrefix(topic, "forbidden/")
}

func start(t *testing.T, address string) broker {
	t.Helper()
	return broker{brokertest.Start(t, address, new(doorman))}
}

func (b broker) publish(t *testing.T, topic, payload string, retain bool) {
	t.Helper()
	if err := b.Publish(topic, []byte(payload), retain); err != nil {
		t.Fatal(err)
	}
}

// clients are those that are connected.
func (b broker) clients() (all []*mochi.Client) {
	for id, cl := range b.Server.Clients.GetAll() {
		if id != mochi.InlineClientId && !cl.Closed() {
			all = append(all, cl)
		}
	}
	return all
}

// ready waits until a client is there that has so many subscriptions.
func (b broker) ready(t *testing.T, n int) {
	t.Helper()
	waittest.Eventually(t, "the source has subscribed", func() bool {
		for _, cl := range b.clients() {
			if cl.State.Subscriptions.Len() == n {
				return true
			}
		}
		return false
	})
}

func (b broker) cut() {
	for _, cl := range b.clients() {
		cl.Stop(packets.ErrServerShuttingDown)
	}
}

// What a source promises. The broker within the test sends again in no order what was not acknowledged, so that what its
// memory is good for is left to Mosquitto, and to [TestNothingLost].
func TestSource(t *testing.T) { bothVersions(t, promises) }

func promises(t *testing.T) {
	t.Helper()
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		b := start(t, "127.0.0.1:0")
		dir := t.TempDir()
		return &sourcetest.Origin{
			New: func(t *testing.T) source.Source {
				return newSource(t, b.Address, dir, new(sourcetest.Reports), topics(plainTopic))
			},
			Send:   func(t *testing.T, n int) { b.publish(t, fmt.Sprintf("plant/press/p%d", n%3), strconv.Itoa(n), false) },
			Series: 3,
			Cut:    func(*testing.T) { b.cut() },
			Ready:  func(t *testing.T) { b.ready(t, 1) },
			Again:  true,
		}
	})
}

// At QoS 1 nothing is lost over connections that break, and while the program is away.
func TestNothingLost(t *testing.T) { bothVersions(t, nothingLost) }

func nothingLost(t *testing.T) {
	t.Helper()
	b := start(t, "127.0.0.1:0")
	in, dir, n := new(sourcetest.Intake), t.TempDir(), 0
	run := func() (stop func() error) {
		stop = sourcetest.Run(t, newSource(t, b.Address, dir, new(sourcetest.Reports), topics(plainTopic)), in)
		b.ready(t, 1)
		return stop
	}
	publish := func() {
		for range 50 {
			b.publish(t, "plant/press/force", strconv.Itoa(n), false)
			n++
		}
	}
	stop := run()
	for range 5 {
		publish()
		b.cut()
		publish()
		if err := stop(); err != nil {
			t.Error(err)
		}
		publish()
		stop = run()
	}
	seen := make(map[float64]bool)
	waittest.Eventually(t, "all readings", func() bool {
		for _, r := range in.Readings() {
			seen[r.Value] = true
		}
		return len(seen) == n
	})
}

// Without an identity that lasts, and at QoS 0, what comes while it is there is taken.
func TestAtMostOnce(t *testing.T) { bothVersions(t, atMostOnce) }

func atMostOnce(t *testing.T) {
	t.Helper()
	b := start(t, "127.0.0.1:0")
	in := new(sourcetest.Intake)
	options := topics(plainTopic)
	options["qos"] = 0
	sourcetest.Run(t, newSource(t, b.Address, "", new(sourcetest.Reports), options), in)
	b.ready(t, 1)
	for i := range 100 {
		b.publish(t, "plant/press/force", strconv.Itoa(i), false)
	}
	waittest.Eventually(t, "all readings", func() bool { return len(in.Readings()) == 100 })
}

// A message is acknowledged when the intake took its readings, and not before.
func TestAcknowledgedWhenTaken(t *testing.T) { bothVersions(t, acknowledgedWhenTaken) }

func acknowledgedWhenTaken(t *testing.T) {
	t.Helper()
	b := start(t, "127.0.0.1:0")
	in := new(sourcetest.Intake)
	release := in.Hold()
	defer release()
	sourcetest.Run(t, newSource(t, b.Address, t.TempDir(), new(sourcetest.Reports), topics(plainTopic)), in)
	b.ready(t, 1)
	for i := range 10 {
		b.publish(t, "plant/press/force", strconv.Itoa(i), false)
	}
	if _, err := in.Wait(t.Context(), func(s sourcetest.State) bool { return s.Waiting > 0 }); err != nil {
		t.Fatal(err)
	}
	unacknowledged := func() (n int) {
		for _, cl := range b.clients() {
			n += cl.State.Inflight.Len()
		}
		return n
	}
	if n := unacknowledged(); n != 10 {
		t.Errorf("%d messages are not acknowledged, want 10", n)
	}
	release()
	waittest.Eventually(t, "all are acknowledged", func() bool { return unacknowledged() == 0 && len(in.Readings()) == 10 })
}

// A broker that is not there at the start, and one that goes and comes back without a memory.
func TestBrokerAway(t *testing.T) { bothVersions(t, brokerAway) }

func brokerAway(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	sourcetest.Run(t, newSource(t, address, t.TempDir(), r, topics(plainTopic)), in)
	for i := range 2 {
		waittest.Eventually(t, "it is told that the broker is away", func() bool { return strings.Contains(r.Now("source test"), "connect") })
		b := start(t, address)
		b.ready(t, 1)
		waittest.Eventually(t, "it is told that it is back", func() bool { return r.Now("source test") == "" })
		b.publish(t, "plant/press/force", strconv.Itoa(i), false)
		waittest.Eventually(t, "the reading", func() bool { return len(in.Readings()) == i+1 })
		b.Stop()
	}
}

// Two that share a subscription get each message once between them.
func TestShared(t *testing.T) { bothVersions(t, shared) }

func shared(t *testing.T) {
	t.Helper()
	b := start(t, "127.0.0.1:0")
	in := new(sourcetest.Intake)
	options := topics(plainTopic)
	options["share"] = "detectors"
	for range 2 {
		sourcetest.Run(t, newSource(t, b.Address, t.TempDir(), new(sourcetest.Reports), options), in)
	}
	waittest.Eventually(t, "both have subscribed", func() bool {
		n := 0
		for _, cl := range b.clients() {
			n += cl.State.Subscriptions.Len()
		}
		return n == 2
	})
	seen := make(map[float64]int)
	for i := range 100 {
		b.publish(t, "plant/press/force", strconv.Itoa(i), false)
	}
	waittest.Eventually(t, "all readings", func() bool { return len(in.Readings()) >= 100 })
	for _, r := range in.Readings() {
		if seen[r.Value]++; seen[r.Value] > 1 {
			t.Errorf("%v came %d times", r.Value, seen[r.Value])
		}
	}
}

// What the broker had kept is told from what is fresh; what cannot be read is told with its topic, and spoils nothing.
func TestKeptAndWrong(t *testing.T) { bothVersions(t, keptAndWrong) }

func keptAndWrong(t *testing.T) {
	t.Helper()
	b := start(t, "127.0.0.1:0")
	b.publish(t, "plant/press/force", "1", true)
	in, r := new(sourcetest.Intake), new(sourcetest.Reports)
	sourcetest.Run(t, newSource(t, b.Address, t.TempDir(), r, topics(plainTopic, mapperTopic, map[string]any{"topic": "forbidden/{device}/{property}"})), in)
	b.ready(t, 2)
	waittest.Eventually(t, "the topic that is refused is told", func() bool { return strings.Contains(r.Now("source test: topics"), "forbidden/+/+") })
	b.publish(t, "data/light/temperature", "21.5", false)
	b.publish(t, "plant/press/force", "2", true) // fresh, though it is kept as well
	waittest.Eventually(t, "the fresh reading", func() bool { return len(in.Readings()) == 1 })
	if got := in.Readings()[0]; got.Value != 2 {
		t.Errorf("got %v, want what is fresh", got.Value)
	}
	waittest.Eventually(t, "the wrong message is told", func() bool {
		return strings.Contains(r.Now("source test: messages"), `topic "data/light/temperature"`)
	})
}

// An edge node whose birth was missed is asked for it.
func TestRebirth(t *testing.T) { bothVersions(t, rebirth) }

func rebirth(t *testing.T) {
	t.Helper()
	b := start(t, "127.0.0.1:0")
	asked := make(chan string, 10)
	if err := b.Server.Subscribe("spBv1.0/g/NCMD/n", 1, func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
		var command pb.Payload
		if err := proto.Unmarshal(pk.Payload, &command); err == nil && len(command.GetMetrics()) == 1 && command.GetMetrics()[0].GetBooleanValue() {
			asked <- command.GetMetrics()[0].GetName()
		}
	}); err != nil {
		t.Fatal(err)
	}
	in := new(sourcetest.Intake)
	sourcetest.Run(t, newSource(t, b.Address, t.TempDir(), new(sourcetest.Reports), topics(map[string]any{"payload": "sparkplug"})), in)
	b.ready(t, 1)
	b.publish(t, "spBv1.0/g/NDATA/n", payload(5, bare(1, 20)), false)
	select {
	case name := <-asked:
		if name != "Node Control/Rebirth" {
			t.Errorf("asked for %q", name)
		}
	case <-t.Context().Done():
	}
	b.publish(t, "spBv1.0/g/NBIRTH/n", payload(0, double("temp", 1, 21)), false)
	b.publish(t, "spBv1.0/g/NDATA/n", payload(1, bare(1, 22)), false)
	waittest.Eventually(t, "two readings", func() bool { return len(in.Readings()) == 2 })
	if got := in.Readings()[1]; got.Key.String() != "g/n/temp" || got.Value != 22 {
		t.Errorf("%+v", got)
	}
}
