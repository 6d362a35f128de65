// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/kept"
)

const (
	saveEvery = 5 * time.Second
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

// book is the file that has all that stands.
type book struct {
	*kept.File

	had int // how many stood when it was written
}

func newBook(dir string) book { return book{File: kept.New(dir, keptFile, saveEvery)} }

// load is what stood when the program ended.
func (b *book) load() (map[id]*standing, error) {
	var all []*standing
	if found, err := b.Load(&all); err != nil || !found {
		return nil, err
	}
	stood := make(map[id]*standing, len(all))
	for _, s := range all {
		if s != nil {
			stood[id{s.Namespace, s.Name}] = s
		}
	}
	b.had = len(stood)
	return stood, nil
}

// save writes all that stands.
func (b *book) save(all []*standing) error {
	if len(all)+b.had == 0 {
		b.Same() // the usual case
		return nil
	}
	b.had = len(all)
	return b.Save(all, true)
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
