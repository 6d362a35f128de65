// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// DefaultInterval is how often [Store.Watch] looks at the file.
const DefaultInterval = 2 * time.Second

// Store is a configuration that follows its file.
type Store struct {
	file    string
	current atomic.Pointer[Config]
	content []byte // for Watch only
	due     bool   // likewise: changed is still to be called
}

// Open loads a file, by the rules of [Load].
func Open(file string) (*Store, error) {
	c, raw, err := load(file)
	if err != nil {
		return nil, err
	}
	s := &Store{file: file, content: raw}
	s.current.Store(c)
	return s, nil
}

// Fixed is a store without file, for tests and for mappers that are configured by other means.
func Fixed(c Config) *Store {
	s := new(Store)
	s.current.Store(&c)
	return s
}

// Current is the configuration in force. It must not be written to.
func (s *Store) Current() *Config { return s.current.Load() }

// Resolve is [AnomalyDetection.Resolve] on the configuration in force.
func (s *Store) Resolve(t Target, own map[string]any) *admethod.Layers {
	return s.Current().AnomalyDetection.Resolve(t, own)
}

// Watch follows the file until ctx ends, and calls changed after the section anomalyDetection has changed. Of the rest of the file it only says that it needs a restart. A file that is broken or gone changes nothing
// and is said so once.
//
// It looks at the content every interval (0 means [DefaultInterval]), which works on every file system and with
// ConfigMaps, whose files are links that are swapped.
func (s *Store) Watch(ctx context.Context, interval time.Duration, changed func()) {
	if interval <= 0 {
		interval = DefaultInterval
	}
	if s.file == "" {
		<-ctx.Done()
		return
	}
	unreadable := false
	wait.Tick(ctx, interval, func(time.Time) {
		raw, err := regular.Read(s.file, regular.MaxConfig)
		if err != nil {
			if !unreadable {
				logs.ErrorS(err, "Configuration cannot be read, the old one stays in force", "file", s.file)
			}
			unreadable = true
			return
		}
		unreadable = false
		if !bytes.Equal(raw, s.content) {
			s.content = raw
			s.due = s.reload(raw) || s.due
		}
		if s.due { // until it has returned: one that panics is called again
			changed()
			s.due = false
		}
	})
}

// reload reports whether properties are to be resolved anew.
func (s *Store) reload(raw []byte) bool {
	next, err := Parse(raw)
	if err != nil {
		logs.ErrorS(err, "Configuration is broken, the old one stays in force", "file", s.file)
		return false
	}
	now := s.Current()
	merged := *now
	merged.AnomalyDetection = next.AnomalyDetection
	if rest := *next; !reflect.DeepEqual(rest, merged) {
		logs.InfoS("Configuration outside anomalyDetection has changed: restart the mapper to use it",
			"file", s.file)
	}
	if reflect.DeepEqual(merged, *now) {
		return false
	}
	s.current.Store(&merged)
	logs.InfoS("Configuration of anomaly detection has changed", "file", s.file)
	return true
}
