// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient/brokertest"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func result(property string, score float64) driver.Result {
	var r driver.Result
	r.Reset(driver.Row{{Key: driver.Key{Namespace: "default", Device: "light-1", Property: property}, At: time.Unix(100, 0), Value: 5}})
	r.Threshold, r.Detector = driver.DefaultThreshold, "ewma"
	r.Judge(score, driver.KindSpike)
	return r
}

// doorman lets in who knows the password, and holds up or throws out who publishes, as it is told to.
type doorman struct {
	mochi.HookBase
	password  string
	connected atomic.Int32
	mu        sync.Mutex
	messages  map[string]packets.Packet // retained
	trouble   atomic.Pointer[func(cl *mochi.Client, topic string)]
}

func (*doorman) ID() string { return "doorman" }

func (*doorman) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck || b == mochi.OnPublish ||
		b == mochi.OnRetainMessage
}

func (d *doorman) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	d.connected.Add(1)
	return d.password == "" || string(p.Connect.Username) == "mapper" && string(p.Connect.Password) == d.password
}

func (*doorman) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (d *doorman) OnPublish(cl *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if trouble := d.trouble.Load(); trouble != nil {
		(*trouble)(cl, p.TopicName)
	}
	return p, nil
}

func (d *doorman) OnRetainMessage(_ *mochi.Client, p packets.Packet, _ int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(p.Payload) == 0 {
		delete(d.messages, p.TopicName)
		return
	}
	d.messages[p.TopicName] = p
}

func (d *doorman) disturb(f func(cl *mochi.Client, topic string)) {
	if f == nil {
		d.trouble.Store(nil)
		return
	}
	d.trouble.Store(&f)
}

// broker is a broker within the test.
type broker struct {
	*doorman
	*brokertest.Broker
}

func startBroker(t *testing.T, address, password string) *broker {
	t.Helper()
	d := &doorman{password: password, messages: make(map[string]packets.Packet)}
	return &broker{d, brokertest.Start(t, address, d)}
}

// retained is what the broker keeps: of verdicts their severity, of other messages the text, by topic.
func (b *broker) retained() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]string)
	for topic, p := range b.messages {
		out[topic] = short(p.Payload)
	}
	return out
}

func short(payload []byte) string {
	var v verdict.Verdict
	if err := json.Unmarshal(payload, &v); err != nil {
		return string(payload)
	}
	return v.Severity.String()
}

func newSink(t *testing.T, address string, options map[string]any) *Sink {
	t.Helper()
	all := map[string]any{"broker": "mqtt://" + address, "insecure": true, "timeout": "1s", "prefix": "p"}
	maps.Copy(all, options)
	return sinktest.New(t, New, all)
}

func start(t *testing.T, s *Sink) *Sink {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// keeps waits until the broker keeps just this.
func keeps(t *testing.T, what string, retained func() map[string]string, want map[string]string) {
	t.Helper()
	waittest.Eventually(t, what, func() bool { return cmp.Equal(retained(), want) })
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"nothing":          {nil, "broker: must be set"},
		"plaintext":        {map[string]any{"broker": "mqtt://a"}, "insecure: true"},
		"TLS and insecure": {map[string]any{"broker": "mqtts://a", "insecure": true}, "insecure"},
		"files":            {map[string]any{"broker": "mqtt://a", "insecure": true, "tls.ca": "x"}, "tls.*"},
		"web socket":       {map[string]any{"broker": "ws://a"}, "mqtts://host:port"},
		"path":             {map[string]any{"broker": "mqtts://a/b"}, "mqtts://host:port"},
		"user in it":       {map[string]any{"broker": "mqtts://me:secret@a"}, "passwordFile"},
		"no address":       {map[string]any{"broker": "mqtts://[::1"}, "broker"},
		"nobody's":         {map[string]any{"broker": "mqtts://a", "passwordFile": "x"}, "user"},
		"no password":      {map[string]any{"broker": "mqtts://a", "user": "me", "passwordFile": "/nowhere"}, "passwordFile"},
		"no authority":     {map[string]any{"broker": "mqtts://a", "tls.ca": "/nowhere"}, "nowhere"},
		"wildcard":         {map[string]any{"broker": "mqtts://a", "prefix": "a/#"}, "prefix"},
		"quality":          {map[string]any{"broker": "mqtts://a", "qos": 3}, "qos"},
	} {
		if _, err := New(admethod.SinkSettings{Options: c.options}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestRetained(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for qos := range 3 {
		t.Run(strconv.Itoa(qos), func(t *testing.T) {
			b := startBroker(t, "127.0.0.1:0", "sesame")
			s := start(t, newSink(t, b.Address, map[string]any{"qos": qos, "user": "mapper", "passwordFile": password}))
			keeps(t, "the status", b.retained, map[string]string{"p/status": Online})
			device := result("", 0.999)
			sinktest.Write(t, s, result("a", 0.97), result("b/+#", 0.1), device, result("a", 0.1))
			keeps(t, "the last verdicts", b.retained, map[string]string{
				"p/status": Online, "p/default/light-1/a": "normal", "p/default/light-1/b%2F%2B%23": "normal", "p/default/light-1": "critical",
			})
			b.mu.Lock()
			kept := b.messages["p/default/light-1"]
			b.mu.Unlock()
			want, err := json.Marshal(verdict.FromResult(&device))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(kept.Payload)); diff != "" || int(kept.FixedHeader.Qos) != qos {
				t.Errorf("quality %d, payload %s", kept.FixedHeader.Qos, diff)
			}
			s.Forget(device.Key)
			s.Forget(result("b/+#", 0).Key)
			s.Forget(result("never", 0).Key)
			keeps(t, "what is watched still", b.retained, map[string]string{"p/status": Online, "p/default/light-1/a": "normal"})
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			keeps(t, "what a mapper leaves", b.retained, map[string]string{"p/status": Offline, "p/default/light-1/a": "normal"})
		})
	}
}

// What was kept of devices that went while no mapper ran is forgotten after the start, however many they are; what is
// watched, what somebody writes meanwhile, and what is not under the prefix stays.
func TestGoneWhileTheMapperWasDown(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0", "")
	s := start(t, newSink(t, b.Address, nil))
	var results []driver.Result
	want := map[string]string{"p/status": Online, "p/default/light-1/known": "normal", "p/default/light-1/bound": "normal"}
	for i := range 150 {
		results = append(results, result(fmt.Sprint("gone-", i), 0.999))
	}
	sinktest.Write(t, s, append(results, result("known", 0.1), result("bound", 0.1), result("", 0.999))...)
	other := start(t, newSink(t, b.Address, map[string]any{"prefix": "px"}))
	sinktest.Write(t, other, result("other", 0.1))
	for _, mapper := range []*Sink{s, other} {
		if err := mapper.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want["px/status"], want["px/default/light-1/other"] = Offline, "normal"

	again := newSink(t, b.Address, nil)
	again.stats = func() admethod.Stats {
		return admethod.Stats{Bindings: map[driver.Key]admethod.BindingStats{result("bound", 0).Key: {}}}
	}
	start(t, again)
	sinktest.Write(t, again, result("known", 0.1))
	keeps(t, "what is watched", b.retained, want)
	late := result("gone-1", 0.999) // comes later than the others
	sinktest.Write(t, again, late)
	want["p/default/light-1/gone-1"] = "critical"
	keeps(t, "what comes late too", b.retained, want)
}

func TestWrongPassword(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBroker(t, "127.0.0.1:0", "sesame")
	s := start(t, newSink(t, b.Address, map[string]any{"user": "mapper", "passwordFile": password}))
	sinktest.Write(t, s, result("a", 0.97))
	waittest.Eventually(t, "it is refused", func() bool { return s.Stats().Failed > 0 })
	if err := os.WriteFile(password, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	keeps(t, "the verdict, with the right password", b.retained, map[string]string{"p/status": Online, "p/default/light-1/a": "warning"})
}

// The last will speaks for a mapper that is gone without a word.
func TestLastWill(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0", "")
	start(t, newSink(t, b.Address, map[string]any{"clientID": "one"}))
	keeps(t, "the status", b.retained, map[string]string{"p/status": Online})
	b.disturb(func(cl *mochi.Client, _ string) { cl.Stop(io.ErrUnexpectedEOF) }) // nor can it come back
	cl, ok := b.Server.Clients.Get("one")
	if !ok {
		t.Fatal("no client of the configured name")
	}
	cl.Stop(io.ErrUnexpectedEOF)
	keeps(t, "the last will", b.retained, map[string]string{"p/status": Offline})
	b.disturb(nil)
	keeps(t, "the status, once it is back", b.retained, map[string]string{"p/status": Online})
}

// A broker that is down at the start, and one that comes back with nothing, get all that there is to tell.
func TestBrokerAway(t *testing.T) {
	address := proctest.FreeAddress(t)
	s := newSink(t, address, nil)
	_, binding, memory := sinktest.Bind(t, Name, s)
	for i := range 10 {
		binding.Observe(time.Unix(int64(i), 0), 1e6)
	}
	waittest.Eventually(t, "a try failed", func() bool { return s.Stats().Failed > 0 })
	waittest.Eventually(t, "the other sink has its verdict", func() bool { return len(memory.Severities(sinktest.Key)) > 0 })
	b := startBroker(t, address, "")
	want := map[string]string{"p/status": Online, "p/default/light-1/brightness": "critical"}
	keeps(t, "the verdict", b.retained, want)
	b.Stop()
	for i := range 100 {
		sinktest.Write(t, s, result("other", float64(i%2)), result("third", 0.97), result("third", 0.1))
	}
	b = startBroker(t, address, "")
	maps.Copy(want, map[string]string{"p/default/light-1/other": "critical", "p/default/light-1/third": "normal"})
	keeps(t, "all verdicts", b.retained, want)
}

// A message that the broker throws the client out for does not keep the others from it.
func TestBadMessage(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0", "")
	b.disturb(func(cl *mochi.Client, topic string) {
		if strings.HasSuffix(topic, "/bad") {
			cl.Stop(io.ErrUnexpectedEOF)
		}
	})
	s := newSink(t, b.Address, nil)
	sinktest.Write(t, s, result("a", 0.1), result("bad", 0.1), result("b", 0.97))
	start(t, s)
	waittest.Eventually(t, "the others", func() bool {
		r := b.retained()
		return r["p/default/light-1/a"] == "normal" && r["p/default/light-1/b"] == "warning"
	})
}

// mute is a listener that accepts and says nothing.
func mute(t *testing.T) (address string, asked func() bool) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var n atomic.Int32
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			wg.Go(func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String(), func() bool { return n.Load() > 0 }
}

func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	well := startBroker(t, "127.0.0.1:0", "")
	t.Run("mute", func(t *testing.T) {
		address, asked := mute(t)
		sinktest.Undisturbed(t, newSink(t, well.Address, nil), newSink(t, address, nil), asked)
	})
	t.Run("refusing", func(t *testing.T) {
		bad := startBroker(t, "127.0.0.1:0", "nobody knows")
		sinktest.Undisturbed(t, newSink(t, well.Address, nil), newSink(t, bad.Address, nil), func() bool { return bad.connected.Load() > 0 })
	})
	t.Run("hanging", func(t *testing.T) {
		bad := startBroker(t, "127.0.0.1:0", "")
		var hangs atomic.Bool
		end := make(chan struct{})
		bad.disturb(func(*mochi.Client, string) {
			hangs.Store(true)
			<-end
		})
		sinktest.Undisturbed(t, newSink(t, well.Address, nil), newSink(t, bad.Address, nil), hangs.Load)
		close(end)
	})
}

// A broker that hangs costs Shutdown no more than its context.
func TestShutdownInTime(t *testing.T) {
	address, asked := mute(t)
	s := start(t, newSink(t, address, map[string]any{"timeout": "5m"}))
	sinktest.Write(t, s, result("a", 0.97))
	waittest.Eventually(t, "the broker is asked", asked)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := s.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 properties") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}
