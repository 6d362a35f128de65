// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// maxEvidence bounds the bytes of a persistence's state.
const maxEvidence = 8 * (2 + bayes.MaxNodes*(2*bayes.MaxStates+1))

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *bayesnetDetector) MarshalBinary() ([]byte, error) { return save(bayesnetName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *bayesnetDetector) UnmarshalBinary(data []byte) error {
	r, err := unseal(bayesnetName, data)
	if err != nil {
		return err
	}
	next := *d
	next.DecodeState(r)
	if err := r.Close(); err != nil {
		return fmt.Errorf("detector %q: restore snapshot: %w", bayesnetName, err)
	}
	*d = next
	return nil
}

// EncodeState implements state.Part.
func (d *bayesnetDetector) EncodeState(w *state.Writer) {
	w.Uint(d.seen)
	for _, texts := range d.texts {
		w.Int(int64(len(texts)))
		for _, text := range texts {
			w.Text(text)
		}
	}
	w.Bool(d.known != nil)
	if d.known == nil {
		encodeRows(w, d.rows)
		return
	}
	d.known.EncodeState(w)
	var evidence []byte
	if d.judge.persistence != nil {
		evidence = state.Bytes(d.judge.persistence)
	}
	w.Text(string(evidence))
}

// DecodeState implements state.Part.
func (d *bayesnetDetector) DecodeState(r *state.Reader) {
	d.seen = r.Readings()
	n := len(d.columns.slot)
	d.texts = make([][]string, n)
	for j := range d.texts {
		for range r.Count("texts", maxTexts) {
			d.texts[j] = append(d.texts[j], r.Text("text", bayes.MaxName))
		}
	}
	d.rows, d.known, d.judge, d.trouble = nil, nil, nil, ""
	if !r.Bool() {
		d.rows = decodeRows(r, n, fitMost)
		return
	}
	k := &knowledge{}
	if k.DecodeState(r); r.Err() != nil {
		return
	}
	if len(k.discretizers) != n {
		r.Fail("a network of %d members, want %d", len(k.discretizers), n)
		return
	}
	j, err := d.prepare(k)
	if err != nil {
		r.Fail("%v", err)
		return
	}
	// Without evidence in the snapshot, or without persist now, there is none to go on with.
	if evidence := r.Text("evidence", maxEvidence); len(evidence) > 0 && j.persistence != nil {
		if err := state.Restore(j.persistence, []byte(evidence)); err != nil {
			r.Fail("%v", err)
			return
		}
	}
	d.known, d.judge = k, j
}

// EncodeState implements state.Part.
func (k *knowledge) EncodeState(w *state.Writer) {
	w.Int(int64(len(k.discretizers)))
	for _, z := range k.discretizers {
		z.EncodeState(w)
	}
	k.trained.EncodeState(w)
	k.network.EncodeState(w)
	k.calibration.EncodeState(w)
	k.resting.EncodeState(w)
	w.Float(k.misread)
}

// DecodeState implements state.Part.
func (k *knowledge) DecodeState(r *state.Reader) {
	for range r.Count("members", bayes.MaxNodes) {
		z := new(bayes.Discretizer)
		if z.DecodeState(r); r.Err() != nil {
			return
		}
		k.discretizers = append(k.discretizers, z)
		k.categories = append(k.categories, z.Categories())
	}
	k.trained, k.network, k.calibration = new(bayes.Network), new(bayes.Network), new(bayes.Calibration)
	k.trained.DecodeState(r)
	k.network.DecodeState(r)
	k.calibration.DecodeState(r)
	k.resting.DecodeState(r)
	if n := len(k.resting.value); r.Err() == nil && n != len(k.discretizers) {
		r.Fail("%d members at rest or not, want %d", n, len(k.discretizers))
	}
	k.misread = r.Min("share of misread rows", 0)
	if r.Err() != nil {
		return
	}
	if len(k.trained.Nodes) != len(k.discretizers) || len(k.network.Nodes) != len(k.trained.Nodes) {
		r.Fail("%d discretizers for networks of %d and %d nodes", len(k.discretizers), len(k.trained.Nodes), len(k.network.Nodes))
		return
	}
	for i := range k.trained.Nodes {
		was, is := &k.trained.Nodes[i], &k.network.Nodes[i]
		if !slices.Equal(was.Parents, is.Parents) || len(was.States) != len(is.States) || len(was.CPT) != len(is.CPT) ||
			len(was.Support) != len(is.Support) || len(was.States) != k.discretizers[i].Len() {
			r.Fail("node %d differs between discretizer, network as trained and network as adapted", i)
			return
		}
	}
}
