// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Trained is a trained model as it is kept in a file.
type Trained struct {
	Facts
	Payload []byte // learned state of the driver
}

// Facts say where a model comes from. They are kept as JSON in the file, so that fields may be added.
type Facts struct {
	Driver   string             `json:"driver"`
	Members  []string           `json:"members"` // names of the columns that it was trained on, in order
	Rows     int                `json:"rows"`
	From     time.Time          `json:"from,omitzero"` // time range of the rows
	To       time.Time          `json:"to,omitzero"`
	Settings map[string]string  `json:"settings,omitempty"` // of the driver
	Metrics  map[string]float64 `json:"metrics,omitempty"`  // of the training, and of the held-out check
}

const (
	trainedSchema  = "model"
	trainedVersion = 1
	maxFacts       = 1 << 20
)

// Encode writes the model as the content of a file. It fails on what Decode would refuse, and on metrics that are not
// finite.
func (m *Trained) Encode() ([]byte, error) {
	if m.Driver == "" || len(m.Members) == 0 {
		return nil, errors.New("model: it names no driver or no members")
	}
	if most := MaxPayload - 2*maxFacts; len(m.Payload) > most {
		return nil, fmt.Errorf("model: payload of %d bytes, want at most %d", len(m.Payload), most)
	}
	for name, v := range m.Metrics {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("model: metric %q is %v, want a finite number", name, v)
		}
	}
	facts, err := json.Marshal(m.Facts)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if len(facts) > maxFacts {
		return nil, fmt.Errorf("model: facts of %d bytes, want at most %d", len(facts), maxFacts)
	}
	var w state.Writer
	w.Text(string(facts))
	w.Text(string(m.Payload))
	return Seal(trainedSchema, trainedVersion, w.Bytes)
}

// Decode reads what Encode wrote. What is damaged or of another kind is refused whole.
func Decode(data []byte) (*Trained, error) {
	payload, err := Unseal(trainedSchema, trainedVersion, data)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	r := state.NewReader(payload)
	facts := r.Text("facts", maxFacts)
	m := &Trained{Payload: []byte(r.Text("payload", MaxPayload))}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("model: %w: %w", ErrCorrupt, err)
	}
	if err := json.Unmarshal([]byte(facts), &m.Facts); err != nil {
		return nil, fmt.Errorf("model: %w: facts: %w", ErrCorrupt, err)
	}
	if m.Driver == "" || len(m.Members) == 0 {
		return nil, fmt.Errorf("model: %w: it names no driver or no members", ErrCorrupt)
	}
	return m, nil
}

// Version names a model in verdicts: the name of its file without the ending, and the checksum of its content.
func Version(file string, data []byte) string {
	name := file[strings.LastIndexAny(file, `/\`)+1:]
	name = strings.TrimSuffix(name, ".model")
	if len(data) > sumSize { // a frame ends with its own checksum; over all of it the checksum would be a constant
		data = data[:len(data)-sumSize]
	}
	return fmt.Sprintf("%s@%08x", name, crc32.Checksum(data, castagnoli))
}
