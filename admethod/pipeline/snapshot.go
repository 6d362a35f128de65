// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// MarshalBinary writes what the stages before the detector have learned; adapters keep it with the detector's state.
func (b *Binding) MarshalBinary() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w state.Writer
	b.convert.EncodeState(&w)
	b.quality.EncodeState(&w)
	b.telling.Lock()
	b.incident.EncodeState(&w)
	b.telling.Unlock()
	b.quality.EncodeFaults(&w)
	b.kept = true
	return w.Bytes, nil
}

// keeps reports whether an adapter took the state of the stages since the binding was stopped.
func (b *Binding) keeps() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept
}

// UnmarshalBinary reads what MarshalBinary wrote. On an error nothing changes.
func (b *Binding) UnmarshalBinary(data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, q, i := b.convert, stage.Quality{}, stage.Incident{}
	r := state.NewReader(data)
	c.DecodeState(r)
	q.DecodeState(r)
	if r.More() { // there is none in what earlier versions wrote
		i.DecodeState(r)
		q.DecodeFaults(r)
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("%v: state of the stages: %w", b.Key(), err)
	}
	if b.afar {
		q.Resume(0) // how long nothing comes is counted from what comes first, see [Attachment.listen]
	} else {
		q.Resume(b.onClock(b.handler.clock.now.Load()))
	}
	b.convert, b.quality = c, q
	b.silent = i.OfQuality() // the next reading tells whether what the quality stage found goes on
	b.telling.Lock()
	b.incident = i
	b.telling.Unlock()
	return nil
}

// stages is the state of the stages of all members, as one.
type stages []*Binding

// MarshalBinary writes the members' states one after the other.
func (s stages) MarshalBinary() ([]byte, error) {
	var w state.Writer
	for _, m := range s {
		part, err := m.MarshalBinary()
		if err != nil {
			return nil, err
		}
		w.Text(string(part))
	}
	return w.Bytes, nil
}

// UnmarshalBinary reads what MarshalBinary wrote. Nothing changes nothing: earlier versions kept none for attachments.
func (s stages) UnmarshalBinary(data []byte) error {
	const largest = 64 << 10
	if len(data) == 0 {
		return nil
	}
	r := state.NewReader(data)
	parts := make([]string, len(s))
	for i := range s {
		parts[i] = r.Text("state of a member", largest)
	}
	if err := r.Close(); err != nil {
		return err
	}
	for i, m := range s {
		if err := m.UnmarshalBinary([]byte(parts[i])); err != nil {
			return err
		}
	}
	return nil
}
