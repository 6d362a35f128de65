// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sourcetest tests sources: an intake in memory, and [Test], which proves what [source.Source] promises with an
// origin that the source's own tests bring.
package sourcetest

import (
	"context"
	"slices"
	"sync"

	"github.com/kubeedge/edge-anomaly/admethod/source"
)

// Intake keeps what it is given. The zero value is ready for use; it is safe for concurrent use.
type Intake struct {
	// Refuse says why a reading is not taken; nil takes all that [source.Reading.Check] finds right.
	Refuse func(*source.Reading) error

	mu      sync.Mutex
	taken   []source.Reading
	refused int
	held    chan struct{} // closed when it takes readings again; nil while it does
	waiting int           // calls of Take that are held
	changed chan struct{} // closed and made anew with each change; nil while nobody waits
}

// Take keeps the readings, and waits while the intake is held.
func (in *Intake) Take(ctx context.Context, readings []source.Reading) error {
	in.mu.Lock()
	for in.held != nil {
		held := in.held
		in.waiting++
		in.change()
		in.mu.Unlock()
		var err error
		select {
		case <-held:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		in.mu.Lock()
		if in.waiting--; err != nil {
			in.mu.Unlock()
			return err
		}
	}
	defer in.mu.Unlock()
	var refused []source.Refusal
	for i := range readings {
		r := &readings[i]
		err := r.Check()
		if err == nil {
			err = r.Property.Check()
		}
		if err == nil && in.Refuse != nil {
			err = in.Refuse(r)
		}
		if err != nil {
			refused = append(refused, source.Refusal{Index: i, Err: err})
			continue
		}
		in.taken = append(in.taken, *r)
	}
	in.refused += len(refused)
	in.change()
	if refused != nil {
		return &source.RefusedError{Refused: refused}
	}
	return nil
}

// change wakes those who wait for one. The caller holds the lock.
func (in *Intake) change() {
	if in.changed != nil {
		close(in.changed)
		in.changed = nil
	}
}

// Hold makes Take wait until release is called, as a detector that is behind does.
func (in *Intake) Hold() (release func()) {
	held := make(chan struct{})
	in.mu.Lock()
	in.held = held
	in.mu.Unlock()
	return sync.OnceFunc(func() {
		in.mu.Lock()
		in.held = nil
		in.mu.Unlock()
		close(held)
	})
}

// Readings are those that were taken so far, in their order.
func (in *Intake) Readings() []source.Reading {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.taken)
}

// State is what an intake has seen.
type State struct {
	Taken, Refused int
	Waiting        int // calls of Take that are held
}

// Wait waits until the state is as it should be, or ctx ends, and returns the last one.
func (in *Intake) Wait(ctx context.Context, ready func(State) bool) (State, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		now := State{Taken: len(in.taken), Refused: in.refused, Waiting: in.waiting}
		if ready(now) {
			return now, nil
		}
		if in.changed == nil {
			in.changed = make(chan struct{})
		}
		changed := in.changed
		in.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		in.mu.Lock()
		if err := context.Cause(ctx); err != nil {
			return State{Taken: len(in.taken), Refused: in.refused, Waiting: in.waiting}, err
		}
	}
}
