// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// snapshotVersion counts the layouts of the snapshots of this package.
const snapshotVersion = 1

// save is MarshalBinary of a detector.
func save(name string, learned state.Part) ([]byte, error) {
	return model.Seal("detector/"+name, snapshotVersion, state.Bytes(learned))
}

// restore is UnmarshalBinary of a detector: all or nothing. DecodeState must not write to memory that d shares with a
// copy of itself.
func restore[T any, P interface {
	*T
	state.Part
}](name string, d P, data []byte) error {
	payload, err := model.Unseal("detector/"+name, snapshotVersion, data)
	if err != nil {
		return fmt.Errorf("detector %q: restore snapshot: %w", name, err)
	}
	next := *d
	if err := state.Restore(P(&next), payload); err != nil {
		return fmt.Errorf("detector %q: restore snapshot: %w", name, err)
	}
	*d = next
	return nil
}
