// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// What the bus is called in JetStream. Accounts keep the buses of several tenants apart.
const (
	ReadingsStream = "EA_READINGS"
	VerdictsStream = "EA_VERDICTS"
	OwnersBucket   = "EA_OWNERS"      // who works, and who owns which partition
	PointsBucket   = "EA_CHECKPOINTS" // what the checkpoint of each partition consists of
	StateStream    = "EA_STATE"       // state of detectors

	readingsSubject = "readings."
	verdictsSubject = "verdicts."
	marksSubject    = "marks."
)

// Config of a [Bus].
type Config struct {
	// Partitions that the readings are spread over. They are as many as the bus was made with: 0 takes what is there, or
	// makes 64.
	Partitions int
	Replicas   int           // copies of all that is kept, at creation; 0 means 1
	MaxBytes   int64         // of readings that are not judged yet; beyond it publishers wait. 0 means 1 GiB
	Retain     time.Duration // of verdicts; 0 means a week
	Report     admethod.Report

	_ struct{} // keyed literals only: fields may be added
}

// Bus is the streams and buckets of one JetStream account.
type Bus struct {
	Config Config // with its defaults

	conn     *nats.Conn
	js       jetstream.JetStream
	readings jetstream.Stream
	verdicts jetstream.Stream
	owners   jetstream.KeyValue
	points   jetstream.KeyValue
	states   jetstream.Stream
}

// requestTimeout bounds one request to JetStream; it is tried again where it can be.
const requestTimeout = 5 * time.Second

// Connect are the options of a connection that waits for a cluster as long as it takes, beside those of who makes it.
func Connect(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 250*time.Millisecond), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.Timeout(2 * time.Second),
	}
}

// Open makes what is not there yet, and waits until there is a JetStream, or ctx ends. The connection stays the caller's.
func Open(ctx context.Context, conn *nats.Conn, c Config) (*Bus, error) {
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<30)
	c.Retain = cmp.Or(c.Retain, 7*24*time.Hour)
	if c.Report == nil {
		c.Report = func(string, string, error) {}
	}
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{Config: c, conn: conn, js: js}
	err = patiently(ctx, func(ctx context.Context) error {
		err := b.make(ctx)
		c.Report("the bus", "readings are neither taken nor judged until it can be reached", err)
		if permanent(err) {
			return stop{err}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	return b, nil
}

// permanent says that an error of JetStream is one of the configuration.
func permanent(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstream.JSErrCodeJetStreamNotEnabledForAccount, 10074, 10052: // replicas > 1 without a cluster, a configuration that is wrong
			return true
		}
	}
	return errors.Is(err, errPartitions) || errors.Is(err, nats.ErrAuthorization)
}

var errPartitions = errors.New("another number of partitions")

// meta is the key of PointsBucket that says how the bus was made.
const meta = "meta"

type made struct {
	Partitions int `json:"partitions"`
}

func (b *Bus) make(ctx context.Context) (err error) {
	c := &b.Config
	if b.points, err = b.bucket(ctx, PointsBucket); err != nil {
		return err
	}
	if err := b.count(ctx); err != nil {
		return err
	}
	if b.owners, err = b.bucket(ctx, OwnersBucket); err != nil {
		return err
	}
	if b.states, err = b.stream(ctx, jetstream.StreamConfig{
		Name: StateStream, Description: "state of detectors, as checkpoints list it", Subjects: []string{stateSubject + ">"}, MaxMsgsPerSubject: 1,
	}); err != nil {
		return err
	}
	if b.readings, err = b.stream(ctx, jetstream.StreamConfig{
		Name: ReadingsStream, Description: "readings, a subject for each partition", Subjects: []string{readingsSubject + "*"},
		MaxBytes: c.MaxBytes, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute,
	}); err != nil {
		return err
	}
	b.verdicts, err = b.stream(ctx, jetstream.StreamConfig{
		Name: VerdictsStream, Description: "verdicts, and how far each partition is told",
		Subjects: []string{verdictsSubject + ">", marksSubject + "*"},
		MaxAge:   c.Retain, Duplicates: min(2*time.Minute, c.Retain), AllowAtomicPublish: true,
	})
	return err
}

// stream is one that is there, as it is, or one that is made.
func (b *Bus) stream(ctx context.Context, c jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := b.js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		c.Storage, c.Replicas = jetstream.FileStorage, b.Config.Replicas
		s, err = b.js.CreateStream(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", c.Name, err)
	}
	return s, nil
}

func (b *Bus) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, History: 1, Storage: jetstream.FileStorage, Replicas: b.Config.Replicas,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return kv, nil
}

// count agrees with all others on the number of partitions.
func (b *Bus) count(ctx context.Context) error {
	want := b.Config.Partitions
	entry, err := b.points.Get(ctx, meta)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		data, wrong := json.Marshal(made{cmp.Or(want, 64)})
		if wrong != nil {
			return wrong
		}
		if _, err = b.points.Create(ctx, meta, data); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return err
		}
		entry, err = b.points.Get(ctx, meta)
	}
	if err != nil {
		return err
	}
	var is made
	if err := json.Unmarshal(entry.Value(), &is); err != nil || is.Partitions < 1 {
		return fmt.Errorf("bucket %s: key %s: got %.100q", PointsBucket, meta, entry.Value())
	}
	if want != 0 && want != is.Partitions {
		return fmt.Errorf("partitions: got %d, want %d, which the bus was made with: %w", want, is.Partitions, errPartitions)
	}
	b.Config.Partitions = is.Partitions
	return nil
}

// stop wraps an error after which patiently does not try again.
type stop struct{ error }

// patiently tries until f succeeds, f says that it is of no use, or ctx ends.
func patiently(ctx context.Context, f func(context.Context) error) error {
	backoff := wait.Backoff{First: 50 * time.Millisecond, Longest: 2 * time.Second}
	for {
		limited, cancel := context.WithTimeout(ctx, 2*requestTimeout)
		err := f(limited)
		cancel()
		var final stop
		switch {
		case err == nil:
			return nil
		case errors.As(err, &final):
			return final.error
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		}
		if wait.Sleep(ctx, backoff.Next()) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

func subjectOf(prefix string, partition int) string { return prefix + strconv.Itoa(partition) }
