// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// mosquitto is Debian's broker, over TLS and with a password.
type mosquitto struct {
	address, passwordFile string
	tls                   *tlsfiles.Loader
	files                 tlsfiles.Files
	start                 func() *proctest.Process
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	path, passwd := proctest.Program(t, "mosquitto"), proctest.Program(t, "mosquitto_passwd")
	dir := t.TempDir()
	m := &mosquitto{address: proctest.FreeAddress(t), passwordFile: filepath.Join(dir, "password"), files: certtest.New().Issue(t, dir, "127.0.0.1")}
	config, users := filepath.Join(dir, "mosquitto.conf"), filepath.Join(dir, "users")
	host, port, err := net.SplitHostPort(m.address)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing persists: a broker that is killed forgets all.
	text := fmt.Sprintf("user root\nper_listener_settings false\nallow_anonymous false\npassword_file %s\nlistener %s %s\ncertfile %s\nkeyfile %s\n",
		users, port, host, m.files.Cert, m.files.Key)
	for name, content := range map[string]string{config: text, m.passwordFile: "sesame", users: ""} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), passwd, "-b", users, "mapper", "sesame").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.files.Cert, m.files.Key = "", ""
	if m.tls, err = tlsfiles.New(m.files, nil); err != nil {
		t.Fatal(err)
	}
	m.start = func() *proctest.Process { return proctest.Start(t, path, "-c", config) }
	return m
}

// retained asks the broker as a client of its own; nil where it does not answer.
func (m *mosquitto) retained() map[string]string {
	const patience = 5 * time.Second
	var mu sync.Mutex
	out := make(map[string]string)
	all := make(chan struct{})
	opts := paho.NewClientOptions().AddBroker("mqtts://" + m.address).SetUsername("mapper").SetPassword("sesame").SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectTimeout(patience).SetTLSConfig(m.tls.Client())
	client := paho.NewClient(opts)
	defer client.Disconnect(100)
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		return nil
	}
	token := client.Subscribe("#", 1, func(_ paho.Client, msg paho.Message) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case msg.Retained():
			out[msg.Topic()] = short(msg.Payload())
		case msg.Topic() == "that is all":
			close(all)
		}
	})
	if !token.WaitTimeout(patience) || token.Error() != nil {
		return nil
	}
	client.Publish("that is all", 1, false, "")
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-all:
	case <-timer.C:
		return nil
	}
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(out)
}

// Debian's Mosquitto holds the last verdicts, and has them again after it was down, frozen and killed.
func TestRealMosquitto(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Mosquitto")
	}
	m := newMosquitto(t)
	options := map[string]any{
		"broker": "mqtts://" + m.address, "insecure": false, "tls.ca": m.files.CA, "user": "mapper", "passwordFile": m.passwordFile, "keepAlive": "1s",
	}
	s := start(t, newSink(t, m.address, options))
	const many = 300
	want := map[string]string{"p/status": Online}
	for i := range many {
		property := "many" + strconv.Itoa(i)
		sinktest.Write(t, s, result(property, 0.97), result(property, 0.1))
		want["p/default/light-1/"+property] = "normal"
	}
	odd := result("+/#\x00\xff\u0085", 0.999)
	sinktest.Write(t, s, odd, result("a", 0.97))
	want["p/default/light-1/a"] = "warning"
	want["p/default/light-1/%2B%2F%23%00%FF%C2%85"] = "critical"
	broker := m.start() // only now: it was down at the start
	keeps(t, "all verdicts", m.retained, want)

	s.Forget(odd.Key)
	delete(want, "p/default/light-1/%2B%2F%23%00%FF%C2%85")
	sinktest.Write(t, s, result("a", 0.1))
	want["p/default/light-1/a"] = "normal"
	keeps(t, "one less", m.retained, want)

	broker.Signal(t, syscall.SIGSTOP)
	failed := s.Stats().Failed
	for i := range 50 {
		sinktest.Write(t, s, result("a", 0.1), result("b", float64(i%2)), result("a", 0.97))
	}
	waittest.Eventually(t, "a try fails", func() bool { return s.Stats().Failed > failed })
	broker.Signal(t, syscall.SIGCONT)
	want["p/default/light-1/a"], want["p/default/light-1/b"] = "warning", "critical"
	keeps(t, "the final state after a freeze", m.retained, want)

	broker.Kill()
	s.Forget(driver.Key{Namespace: "default", Device: "light-1", Property: "b"})
	sinktest.Write(t, s, result("a", 0.1))
	delete(want, "p/default/light-1/b")
	want["p/default/light-1/a"] = "normal"
	m.start()
	keeps(t, "all that there is to tell after a crash", m.retained, want)

	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	want["p/status"] = Offline
	keeps(t, "what a mapper leaves", m.retained, want)
	if n := s.Stats().Refused; n > 0 {
		t.Errorf("%d items were refused", n)
	}
}

// Neither without its authority nor without the password is anything told.
func TestRealMosquittoRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Mosquitto")
	}
	m := newMosquitto(t)
	m.start()
	keeps(t, "nothing yet", m.retained, map[string]string{})
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("open"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]map[string]any{
		"password":  {"tls.ca": m.files.CA, "user": "mapper", "passwordFile": wrong},
		"anonymous": {"tls.ca": m.files.CA},
		"authority": {"user": "mapper", "passwordFile": m.passwordFile},
		"name":      {"tls.ca": m.files.CA, "tls.serverName": "another", "user": "mapper", "passwordFile": m.passwordFile},
	} {
		options["broker"], options["insecure"] = "mqtts://"+m.address, false
		s := start(t, newSink(t, m.address, options))
		sinktest.Write(t, s, result("a", 0.97))
		waittest.Eventually(t, name+": it is refused", func() bool { return s.Stats().Failed > 0 })
	}
	if got := m.retained(); len(got) != 0 {
		t.Errorf("the broker keeps %v", got)
	}
}
