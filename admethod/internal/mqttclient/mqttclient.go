// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mqttclient is how sinks and sources reach an MQTT broker: by 3.1.1, which brokers of MQTT 5 speak as well, or by 5
// where they receive; over TLS unless plaintext is asked for, with the newest certificates and password at each connection.
package mqttclient

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Config is the part of a configuration that says where the broker is, to be embedded in it.
type Config struct {
	Broker       string         `param:"broker" doc:"address of the broker, such as mqtts://broker:8883"`
	TLS          tlsfiles.Files `param:"tls"`
	Insecure     bool           `param:"insecure" doc:"allows mqtt:// without TLS: anyone on the way can read and change messages, and read the password"`
	User         string         `param:"user" doc:"name to log in with"`
	PasswordFile string         `param:"passwordFile" doc:"file with the password, read again when it changes"`
	ClientID     string         `param:"clientID" doc:"identity at the broker, which no other client of it may have; empty: a random one"`
	KeepAlive    time.Duration  `param:"keepAlive" min:"1s" max:"1h" doc:"time without traffic after which the connection is probed"`
	Timeout      time.Duration  `param:"timeout" min:"100ms" max:"5m" doc:"time after which the broker counts as away where it does not answer"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{KeepAlive: 30 * time.Second, Timeout: 10 * time.Second} }

// Validate says what is wrong with a configuration.
func (c *Config) Validate() error {
	u, err := url.Parse(c.Broker)
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	switch {
	case c.Broker == "":
		fail("broker", nil, "must be set")
	case err != nil:
		fail("broker", c.Broker, "an address: "+err.Error())
	case u.User != nil:
		fail("broker", u.Redacted(), "user and passwordFile instead of a user in the address")
	case u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Scheme != "mqtts" && u.Scheme != "mqtt":
		fail("broker", c.Broker, "mqtts://host:port")
	case u.Scheme == "mqtt" && !c.Insecure:
		fail("broker", c.Broker, "mqtts; insecure: true allows plaintext")
	case u.Scheme == "mqtts" && c.Insecure:
		fail("insecure", true, "mqtt:// beside it")
	}
	if c.Insecure && c.TLS != (tlsfiles.Files{}) {
		fail("insecure", true, "no tls.* keys beside it")
	}
	if c.PasswordFile != "" && c.User == "" {
		fail("user", nil, "must be set where passwordFile is")
	}
	return errors.Join(errs...)
}

// RandomID is an identity that no other client has.
func RandomID() string { return "edge-anomaly-" + rand.Text()[:10] } // 23 characters, which every broker takes

// Broker is where sessions are opened.
type Broker struct {
	config   Config
	files    *tlsfiles.Loader // nil in plaintext
	password *tlsfiles.Token  // nil: none
}

// New reads the files that a valid configuration names. Where it names no identity, a random one is used for as long as the
// broker is. trouble is told, at most once a minute, why changed files are not taken into use. An error is
// one that may go away, see [admethod.Unavailable].
func New(c Config, trouble func(error)) (*Broker, error) {
	c.ClientID = cmp.Or(c.ClientID, RandomID())
	b := &Broker{config: c}
	var err error
	if !c.Insecure {
		if b.files, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, admethod.Unavailable(err)
		}
	}
	if b.password, err = tlsfiles.NewToken(c.PasswordFile, trouble); err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("passwordFile: %w", err))
	}
	return b, nil
}

// Session is one connection to the broker. A nil session is closed.
type Session struct {
	Client paho.Client

	conn    atomic.Pointer[buffered] // under the client; nil while there is none
	timeout time.Duration
}

// Connect opens a session with the newest certificates and password. options adds to those of the client, which has a clean
// session; it does not reconnect by itself, as that could not be joined.
func (b *Broker) Connect(ctx context.Context, options func(*paho.ClientOptions)) (*Session, error) {
	c := &b.config
	opts := paho.NewClientOptions().AddBroker(c.Broker).SetClientID(c.ClientID).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(false).
		SetConnectTimeout(c.Timeout).SetWriteTimeout(c.Timeout).SetPingTimeout(c.Timeout).SetKeepAlive(c.KeepAlive).
		SetProtocolVersion(4) // MQTT 3.1.1; else 3.1 is tried after every refusal
	if c.User != "" {
		opts.SetUsername(c.User)
	}
	if b.password != nil {
		opts.SetPassword(b.password.Get())
	}
	options(opts)
	out := &Session{timeout: c.Timeout}
	// A dialer of our own, which ends with ctx, and a connection that Close can close.
	opts.SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		raw, err := b.dial(ctx, u)
		if err != nil {
			return nil, err
		}
		conn := newBuffered(raw)
		out.conn.Store(conn)
		return conn, nil
	})
	out.Client = paho.NewClient(opts)
	if err := out.Wait(ctx, out.Client.Connect()); err != nil {
		out.Close(0)
		return nil, fmt.Errorf("connect to %s: %w", c.Broker, err)
	}
	return out, nil
}

func (b *Broker) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, b.config.Timeout)
	defer cancel()
	port := u.Port()
	if b.files == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(port, "1883")))
	}
	d := tls.Dialer{Config: b.files.Client()}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(port, "8883")))
}

// Open reports whether the connection is there.
func (s *Session) Open() bool { return s != nil && s.Client.IsConnectionOpen() }

// Wait waits until the broker has answered.
func (s *Session) Wait(ctx context.Context, token paho.Token) error {
	if err := wait.Done(ctx, token.Done(), s.timeout, errors.New("the broker does not answer")); err != nil {
		return err
	}
	return token.Error()
}

// Close ends the session; quiesce is for the last packets to get out.
func (s *Session) Close(quiesce time.Duration) {
	if s == nil {
		return
	}
	s.Client.Disconnect(uint(quiesce.Milliseconds()))
	if conn := s.conn.Load(); conn != nil { // the client would wait for what it reads or writes
		_ = conn.Close() // it may be closed
	}
}
