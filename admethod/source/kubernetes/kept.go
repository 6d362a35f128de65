// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

const (
	saveEvery = 5 * time.Second
	mostKept  = 1 << 28 // bytes of the file
	keptFile  = "standing.json"
	riskKept  = "for how long devices have been away, or do not do as they were told, is counted anew after a restart"
)

// standing is since when a device is as it should not be: KubeEdge does not say, so that it must outlive the process.
type standing struct {
	Namespace string             `json:"namespace"`
	Name      string             `json:"name"`
	Away      time.Time          `json:"away,omitzero"`     // see device.away
	Differs   map[string]differs `json:"differs,omitempty"` // by property
}

// differs is since when a property reports something else than what is desired of it.
type differs struct {
	Desired string    `json:"desired"`
	Since   time.Time `json:"since"`
}

// kept is the file that has all that stands.
type kept struct {
	path  string // "" keeps nothing
	saved time.Time
	had   int // how many stood when it was written
}

func newKept(dir string) kept {
	if dir == "" {
		return kept{}
	}
	return kept{path: filepath.Join(dir, keptFile)}
}

// load is what stood when the program ended. A file that is not there is as the first start.
func (k *kept) load() (map[id]*standing, error) {
	if k.path == "" {
		return nil, nil
	}
	text, err := regular.Read(k.path, mostKept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []*standing
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.path, err)
	}
	stood := make(map[id]*standing, len(all))
	for _, s := range all {
		if s != nil {
			stood[id{s.Namespace, s.Name}] = s
		}
	}
	k.had = len(stood)
	return stood, nil
}

// due reports whether what stands is to be written.
func (k *kept) due(now time.Time) bool { return k.path != "" && now.Sub(k.saved) >= saveEvery }

// save writes all that stands.
func (k *kept) save(all []*standing, now time.Time) error {
	k.saved = now
	if len(all)+k.had == 0 {
		return nil // the usual case
	}
	k.had = len(all)
	text, err := json.Marshal(all)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(k.path), 0o700)
	}
	if err == nil {
		err = atomicfile.WriteBytes(k.path, 0o600, text)
	}
	return err
}

// standing is what is to be kept of a device, nil where there is nothing.
func (d *device) standing() *standing {
	s := &standing{Namespace: d.namespace, Name: d.name, Away: d.away}
	for name, t := range d.twins {
		if t.differs.IsZero() {
			continue
		}
		if s.Differs == nil {
			s.Differs = make(map[string]differs)
		}
		s.Differs[name] = differs{t.wanted, t.differs}
	}
	if s.Away.IsZero() && s.Differs == nil {
		return nil
	}
	return s
}
