// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remote is what adapters to detectors on other machines share: configuration, queues, correlation of verdicts
// with readings, reconnection and the watch over a detector that is away. An adapter adds a [Transport].
//
// With delivery "latest" the newest wins: a full queue drops its oldest reading, and readings that were sent but not
// answered when a session ends are dropped; both are counted.
//
// With delivery "atLeastOnce" readings that are not answered within a moment are kept in a spool on disk, and are sent
// again, in order, until they are answered, also by the next process; each verdict is delivered once. What is lost is
// counted: what the spool has no room for, what has become too old, and what came while the disk was full and there was
// no room in memory. A process that is killed loses what was not on disk yet, the last tenth of a second, and the next
// one delivers the verdict that was being delivered at that moment once more. A power cut takes the last second.
//
// With a fallback a detector in the mapper judges while the one elsewhere is away.
package remote

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Config is what all remote adapters let a Device, or the mapper for all of its devices, set. Properties with equal
// configurations share one connection.
type Config struct {
	Target      string         `param:"target" scope:"device" maxlen:"63" doc:"name of a detector that the mapper's configuration defines, under targets"`
	Address     string         `param:"address" scope:"allow" maxlen:"8192" doc:"where the detector listens; several, separated by commas, share the devices"`
	TLS         tlsfiles.Files `param:"tls" scope:"target"`
	Token       string         `param:"token" scope:"target" doc:"file with a bearer token; it is read again when it changes"`
	Insecure    bool           `param:"insecure" scope:"target" doc:"plaintext: anyone on the way can read and change readings and verdicts"`
	StaleAfter  time.Duration  `param:"staleAfter" min:"100ms" doc:"time without an answer after which verdicts become unknown"`
	Timeout     time.Duration  `param:"timeout" min:"100ms" doc:"time without an answer after which the session is given up and begun anew"`
	Window      time.Duration  `param:"window" min:"0s" max:"1m" doc:"time that readings may wait to be sent together"`
	Queue       int            `param:"queue" min:"16" max:"1048576" doc:"rows that may wait to be sent; the oldest is dropped when full"`
	MaxInFlight int            `param:"maxInFlight" min:"1" max:"65536" doc:"readings that may be sent and not answered; detectserver recognises repeats among the last 4096"`
	Backoff     time.Duration  `param:"backoff" min:"10ms" max:"1h" doc:"longest wait between two tries to connect"`
	Delivery    string         `param:"delivery" enum:"latest,atLeastOnce" doc:"latest: the newest readings win while the detector is away; atLeastOnce: readings that are not answered are kept on disk and sent again"`
	Spool       SpoolConfig    `param:"spool"`
	Fallback    string         `param:"fallback" scope:"device" maxlen:"63" doc:"detector in the mapper that judges while the one elsewhere is away for longer than staleAfter; its parameters are fallback.*"`
}

// SpoolConfig bounds what is kept on disk with delivery atLeastOnce.
type SpoolConfig struct {
	Size int           `param:"size" min:"1" max:"1048576" doc:"MiB on disk; the oldest readings are given up when it is full"`
	Age  time.Duration `param:"age" min:"1s" doc:"readings that are not answered for so long are given up"`
}

const atLeastOnce = "atLeastOnce"

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		StaleAfter: 30 * time.Second, Timeout: 10 * time.Second,
		Queue: 16384, MaxInFlight: 4096, Backoff: 30 * time.Second,
		Delivery: "latest", Spool: SpoolConfig{Size: 256, Age: 72 * time.Hour},
	}
}

// Validate finds what bounds of single keys cannot express.
func (c *Config) Validate() error {
	var errs []error
	if c.Address == "" {
		errs = append(errs, &params.Error{Key: "address", Want: "must be set"})
	}
	if c.Insecure && c.TLS != (tlsfiles.Files{}) {
		errs = append(errs, &params.Error{Key: "insecure", Value: true, Want: "no tls.* keys beside it"})
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, &params.Error{Key: "tls.cert", Want: "tls.cert and tls.key: both or none"})
	}
	if c.Insecure && c.Token != "" {
		errs = append(errs, &params.Error{Key: "token", Want: "a token is not sent in plaintext; use TLS"})
	}
	return errors.Join(errs...)
}

// Request is one row on its way.
type Request struct {
	Stream *Stream
	// Sequence numbers the samples of all rows of a link, from 1 on: the row's i-th sample has Sequence+i. The verdict
	// on the row is the answer to its last sample.
	Sequence uint64
	Number   uint64 // of the row in its stream, from 1 on
	First    bool   // the first of its stream in this session
	Attempt  uint32 // how often the row may have been sent before: 0 at first
	Row      driver.Row
}

// Identity says who sends, to be told to the detector.
type Identity struct {
	Mapper, Node string // names, "" where not known
	// StreamID tells what the sequences belong to: the same over reconnections and, with delivery atLeastOnce, over
	// restarts of the mapper. A detector that has seen a sequence of it before is being sent a repeat.
	StreamID string
}

// Transport connects to one detector.
type Transport interface {
	// Open begins a session, which ends with ctx. An error is as for [admethod.RetryAfter].
	Open(ctx context.Context) (Session, error)
	// Close gives up what sessions share. All sessions have ended before.
	Close() error
}

// Reconnecter is a [Transport] that keeps a connection from one session to the next. Reconnect gives it up, as the peer has
// not answered: it may be gone without a word, or what is between may swallow all that is sent. The next session has a
// new connection. Reconnect may be called at any time, also while a session is being opened.
type Reconnecter interface{ Reconnect() }

// Session carries readings one way and verdicts the other. Send and Receive are called concurrently with each other,
// each by one goroutine; both return an error once the session's context has ended.
type Session interface {
	// Send sends rows. It keeps nothing of them, and may block. io.EOF means that Receive returns why the session ended.
	Send(batch []Request) error
	// Receive waits for the next answer and returns its sequence, 0 where the peer knows none and answers in order.
	// fill writes the answer over a result that was reset for the row; it is valid until the next Receive.
	Receive() (sequence uint64, fill func(s *Stream, r *driver.Result), err error)
}

// Kind is a kind of remote adapter with configuration C, which contains a [Config].
type Kind[C comparable] struct {
	Name, Summary string
	URLs          bool // addresses may be URLs
	Defaults      func() C
	Shared        func(*C) *Config // the part of the configuration that is common to all kinds
	// CheckAddress, when set, finds what is wrong with one address as it is written.
	CheckAddress func(address string) error
	// Transport makes the transport of a target. It does no network I/O.
	Transport func(C, Identity) (Transport, error)
}

// Factory describes the adapter for its registration.
func (k Kind[C]) Factory() admethod.AdapterFactory {
	return admethod.AdapterFactory{
		Name: k.Name, Summary: k.Summary,
		New: func(s admethod.AdapterSettings) (admethod.Adapter, error) {
			a := &adapter[C]{kind: k, settings: s, bound: k.bound(), targets: make(map[targetKey[C]]*target)}
			var err error
			if a.book, err = readBook(s.Options); err != nil {
				return nil, err
			}
			return a, a.check()
		},
		Params: func() []params.Param { return params.Describe(k.Defaults()) },
		Check: func(settings map[string]any) error {
			c := k.Defaults()
			own, _ := splitFallback(settings)
			err := params.Decode(&c, own) // what the device leaves out, the mapper may set
			if address := k.Shared(&c).Address; err == nil && address != "" && k.CheckAddress != nil {
				for one := range strings.SplitSeq(address, ",") {
					err = errors.Join(err, k.CheckAddress(strings.TrimSpace(one)))
				}
			}
			return err
		},
		CheckDevice: func(options map[string]any, namespace string, c *admethod.ADMethodConfig) error {
			if options == nil && !c.FromDevice(k.Name+".address") {
				return nil // which targets there are is not known
			}
			b, err := readBook(options)
			if err != nil {
				return nil //nolint:nilerr // said where the adapter is made
			}
			_, err = b.resolve(k.Name, namespace, c, k.bound(), k.URLs)
			return err
		},
		Cost: func(drivers *driver.Registry, s *admethod.StreamSettings) (driver.Cost, error) {
			const usual = 2 << 10 // the queue is shared by the streams of a target, and bounded by rows
			c := k.Defaults()
			own, parameters := splitFallback(s.Config.Options[k.Name])
			_ = params.Decode(&c, own) // Open tells
			name := k.Shared(&c).Fallback
			if name == "" {
				return driver.Cost{Bytes: usual}, nil
			}
			cost, err := admethod.DetectorCost(drivers, name, k.Name+".fallback.", s, parameters)
			cost.Bytes += usual
			return cost, err
		},
		CheckStream: func(drivers *driver.Registry, s *admethod.StreamSettings) error {
			c := k.Defaults()
			own, parameters := splitFallback(s.Config.Options[k.Name])
			_ = params.Decode(&c, own) // Check tells
			return params.Prefix(k.Name+".", checkFallback(drivers, s, k.Shared(&c).Fallback, parameters))
		},
	}
}

// bound tells which keys belong to one peer.
func (k Kind[C]) bound() func(key string) bool {
	bound := make(map[string]bool)
	for _, p := range params.Describe(k.Defaults()) {
		bound[p.Key] = p.Scope.Bound()
	}
	return func(key string) bool { return bound[key] }
}

// splitFallback tells the parameters of the fallback from the adapter's own keys.
func splitFallback(settings map[string]any) (own, fallback map[string]any) {
	own = make(map[string]any, len(settings))
	fallback = make(map[string]any)
	for key, value := range settings {
		if rest, ok := strings.CutPrefix(key, "fallback."); ok {
			fallback[rest] = value
		} else {
			own[key] = value
		}
	}
	return own, fallback
}
