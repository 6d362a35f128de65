// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// snapshotter is a detector whose learned state survives a restart.
type snapshotter interface {
	driver.Detector
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

// asSnapshotter reports whether a detector takes snapshots; half of the two methods is an error.
func asSnapshotter(d driver.Detector) (snapshotter, bool, error) {
	_, writes := d.(encoding.BinaryMarshaler)
	_, reads := d.(encoding.BinaryUnmarshaler)
	if writes != reads {
		return nil, false, errors.New("the detector implements only one of encoding.BinaryMarshaler and encoding.BinaryUnmarshaler")
	}
	sn, ok := d.(snapshotter)
	return sn, ok, nil
}

func (s *suite) survivesRestart() error {
	for _, learned := range []int{0, 1, 2, 3, 7, 30, 63, 64, 100, 129, 256, 400, 1000, s.warmUp} {
		original, restored, err := s.openTwo()
		if err != nil {
			return err
		}
		from, ok, err := asSnapshotter(original)
		if !ok {
			return err
		}
		to, _, _ := asSnapshotter(restored)
		rows := s.usual(learned+verdictRows, 10)
		run(from, rows[:learned])
		run(to, s.usual(170, 11)) // what the restored detector knew before must be gone
		data, err := from.MarshalBinary()
		if err != nil {
			return fmt.Errorf("MarshalBinary after %d readings: %w", learned, err)
		}
		if err := to.UnmarshalBinary(bytes.Clone(data)); err != nil {
			return fmt.Errorf("UnmarshalBinary of its own snapshot after %d readings: %w", learned, err)
		}
		err = same("the detector", run(from, rows[learned:]), "the restored one", run(to, rows[learned:]))
		if err != nil {
			return fmt.Errorf("after %d readings: %w", learned, err)
		}
	}
	return nil
}

func (s *suite) refusesDamage() error {
	original, untouched, err := s.openTwo()
	if err != nil {
		return err
	}
	d, ok, err := asSnapshotter(original)
	if !ok {
		return err
	}
	const learned = 400
	rows := s.usual(2*learned+verdictRows, 12)
	run(d, rows[:learned])
	run(untouched, rows[:learned])
	early, err := d.MarshalBinary()
	if err != nil {
		return fmt.Errorf("MarshalBinary: %w", err)
	}
	run(d, rows[learned:2*learned]) // so that a refused snapshot that is half loaded shows
	run(untouched, rows[learned:2*learned])

	var errs []error
	for name, data := range damaged(early) {
		if err := d.UnmarshalBinary(data); err == nil {
			errs = append(errs, fmt.Errorf("UnmarshalBinary accepts %s", name))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs[:min(len(errs), 5)]...)
	}
	err = same("a detector that refused damaged snapshots", run(d, rows[2*learned:]),
		"one that never saw any", run(untouched, rows[2*learned:]))
	return err
}

// damaged yields snapshots that must be refused.
func damaged(good []byte) func(yield func(name string, data []byte) bool) {
	const positions = 150
	return func(yield func(string, []byte) bool) {
		stride := max(len(good)/positions, 1)
		for n := 0; n < len(good); n += stride {
			if !yield(fmt.Sprintf("a snapshot cut to %d of %d bytes", n, len(good)), bytes.Clone(good[:n])) {
				return
			}
		}
		for i := 0; i < len(good); i += stride {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if !yield(fmt.Sprintf("a snapshot with a bit flipped in byte %d of %d", i, len(good)), bad) {
				return
			}
		}
		others := []struct {
			name string
			data []byte
		}{
			{"an empty snapshot", nil},
			{"a byte too many", append(bytes.Clone(good), 0)},
			{"zeros", make([]byte, len(good))},
			{"text", []byte("not a snapshot, but long enough to be one as far as its length goes")},
			{"another driver's snapshot", sealed("detector/of-another-driver", good)},
			{"an empty frame of another driver", sealed("detector/of-another-driver", nil)},
		}
		for _, o := range others {
			if !yield(o.name, o.data) {
				return
			}
		}
	}
}

func sealed(schema string, payload []byte) []byte {
	data, err := model.Seal(schema, 1, payload)
	if err != nil {
		return nil // as good an empty snapshot
	}
	return data
}
