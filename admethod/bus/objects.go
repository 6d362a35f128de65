// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// States are kept as messages of a stream, one for each piece. (JetStream's object store is the same, but the client's Put
// publishes asynchronously by a context of its own, which now and then leaves a goroutine behind.)

const (
	stateSubject = "state." // state.<partition>.<id>.<piece>
	pieceSize    = 512 << 10
)

// keep writes the pieces of an object, and returns how many there are.
func (b *Bus) keep(ctx context.Context, name string, data []byte) (pieces int, err error) {
	for from := 0; from == 0 || from < len(data); from += pieceSize {
		piece := data[from:min(from+pieceSize, len(data))]
		if _, err := b.js.Publish(ctx, stateSubject+name+"."+strconv.Itoa(pieces), piece); err != nil {
			return pieces, fmt.Errorf("state %s: %w", name, err)
		}
		pieces++
	}
	return pieces, nil
}

// kept reads an object.
func (b *Bus) kept(ctx context.Context, name string, pieces int) (data []byte, err error) {
	for i := range pieces {
		m, err := b.states.GetLastMsgForSubject(ctx, stateSubject+name+"."+strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("state %s, piece %d of %d: %w", name, i+1, pieces, err)
		}
		data = append(data, m.Data...)
	}
	return data, nil
}

// drop removes an object.
func (b *Bus) drop(ctx context.Context, name string) error {
	if err := b.states.Purge(ctx, jetstream.WithPurgeSubject(stateSubject+name+".*")); err != nil {
		return fmt.Errorf("state %s: %w", name, err)
	}
	return nil
}

// objects are the names of those of a partition.
func (b *Bus) objects(ctx context.Context, partition int) (map[string]bool, error) {
	stream, err := b.js.Stream(ctx, StateStream) // of one's own: Info writes to it
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", StateStream, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(stateSubject+strconv.Itoa(partition)+".>"))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", StateStream, err)
	}
	names := make(map[string]bool)
	for subject := range info.State.Subjects {
		name := strings.TrimPrefix(subject, stateSubject)
		if i := strings.LastIndexByte(name, '.'); i > 0 {
			names[name[:i]] = true
		}
	}
	return names, nil
}
