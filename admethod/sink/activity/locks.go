// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Lock keeps an activity from running again for a property.
type Lock struct {
	Activity  string    `json:"activity"`
	Namespace string    `json:"namespace"`
	Device    string    `json:"device"`
	Property  string    `json:"property"`
	Since     time.Time `json:"since"`
	Model     string    `json:"model,omitempty"`    // that judged when the activity ran
	Incident  string    `json:"incident,omitempty"` // that it ran on

	// Ran is the property that the activity ran on, and Holds the incidents that hold the lock, by their properties, where
	// several share it; Device and Property are empty then as far as it is for all of them.
	Ran   string            `json:"ran,omitempty"`
	Holds map[string]string `json:"holds,omitempty"`

	// Gone is since when the property is not watched, as far as is known: not since this process began, if it has given
	// no verdict on it.
	Gone *time.Time `json:"gone,omitempty"`

	// For how long processes saw both last when they were saved. Since and Gone are for people: the clock that told them
	// may be a year off, and nothing ends by them.
	HeldSeconds float64 `json:"heldSeconds,omitempty"`
	GoneSeconds float64 `json:"goneSeconds,omitempty"`

	began, left time.Time // on the clock of this process
}

// lockID says what a lock is for.
type lockID struct {
	activity string
	key      driver.Key
}

func (l *Lock) id() lockID {
	return lockID{l.Activity, driver.Key{Namespace: l.Namespace, Device: l.Device, Property: l.Property}}
}

// name is how people and the API call a lock.
func (id lockID) name() string {
	parts := slices.DeleteFunc([]string{id.key.Namespace, id.key.Device, id.key.Property}, func(part string) bool { return part == "" })
	return id.activity + "@" + strings.Join(parts, "/")
}

// lockOf is the lock that an activity has for a property with that predicted metric.
func (a *Activity) lockOf(key driver.Key, metric string) lockID {
	switch {
	case a.Lock == LockNamespace:
		key = driver.Key{Namespace: key.Namespace}
	case a.Lock == LockDevice:
		key.Property = ""
	case a.Lock == LockMetric && metric != "":
		key = driver.Key{Namespace: key.Namespace, Property: metric}
	}
	return lockID{a.Name, key}
}

// shared reports whether a lock is for several properties.
func (l *Lock) shared() bool { return l.Ran != "" }

// hold notes that the incident of one more property holds a lock.
func (t *locks) hold(id lockID, r *driver.Result) {
	l := t.held[id]
	if now, is := l.Holds[r.Key.String()]; l.shared() && (!is || now != name(r.Incident.ID)) && (is || len(l.Holds) < maxLocks) {
		if l.Holds == nil {
			l.Holds = make(map[string]string)
			t.held[id] = l
		}
		l.Holds[r.Key.String()], t.dirty = name(r.Incident.ID), true
	}
}

// left reports whether nothing holds a shared lock any more, with this verdict.
func (t *locks) left(l *Lock, r *driver.Result) bool {
	key := r.Key.String()
	incident, is := l.Holds[key]
	if !is || !over(&Lock{Incident: incident}, r) {
		return false
	}
	delete(l.Holds, key)
	t.dirty = true
	return len(l.Holds) == 0
}

// These bound memory and file. Beyond them no activity starts: without a lock it might run over and over. No namespace can
// take the locks of another, nor can many together: each has a few of its own.
const (
	maxLocks    = 10_000        // of a namespace
	maxAllLocks = 10 * maxLocks // of all, but for
	ownLocks    = 16            // of each namespace
)

// locks is the table of locks and the file that holds it; callers serialize.
type locks struct {
	file  string // "" keeps them in memory only
	held  map[lockID]Lock
	of    map[string]int // how many, by namespace
	dirty bool
}

// add holds a lock.
func (t *locks) add(id lockID, l Lock) {
	if _, ok := t.held[id]; !ok {
		t.of[id.key.Namespace]++
	}
	t.held[id], t.dirty = l, true
}

// full reports whether there is no room for a lock of a namespace.
func (t *locks) full(namespace string) bool {
	own := t.of[namespace]
	return own >= maxLocks || own >= ownLocks && len(t.held) >= maxAllLocks
}

// load reads the file. One that is damaged is set aside: activities may then run once more.
func (t *locks) load(now time.Time) error {
	t.of = make(map[string]int)
	if t.file == "" {
		t.held = make(map[lockID]Lock)
		return nil
	}
	data, err := os.ReadFile(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		t.held = make(map[lockID]Lock)
		return nil
	} else if err != nil {
		return err
	}
	t.held = make(map[lockID]Lock)
	var list []Lock
	if err := json.Unmarshal(data, &list); err != nil {
		logs.Errorf("activity: file of locks %s is damaged and set aside, activities may run once more: %v", t.file, err)
		return os.Rename(t.file, t.file+".damaged")
	}
	for _, l := range list {
		l.began, l.left = now.Add(-seconds(l.HeldSeconds)), now.Add(-seconds(l.GoneSeconds))
		if l.Gone == nil {
			l.Gone, l.left = &now, now
		}
		t.add(l.id(), l)
	}
	t.dirty = false
	return nil
}

// seen notes that the property of a lock is watched.
func (t *locks) seen(id lockID) {
	if l, ok := t.held[id]; ok && l.Gone != nil {
		l.Gone = nil
		t.held[id], t.dirty = l, true
	}
}

// gone notes that it is not.
func (t *locks) gone(id lockID, now time.Time) {
	if l, ok := t.held[id]; ok && l.Gone == nil {
		l.left, now = now, now.UTC()
		l.Gone = &now
		t.held[id], t.dirty = l, true
	}
}

// save writes the file if something changed, so that it is whole whenever the process or the machine stops.
func (t *locks) save(now time.Time) error {
	if !t.dirty || t.file == "" {
		t.dirty = false
		return nil
	}
	list := t.list()
	for i := range list {
		l := &list[i]
		l.HeldSeconds = max(now.Sub(l.began).Seconds(), 0)
		if l.GoneSeconds = 0; l.Gone != nil {
			l.GoneSeconds = max(now.Sub(l.left).Seconds(), 0)
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(t.file, 0o600, data); err != nil {
		return fmt.Errorf("locks: %w", err)
	}
	t.dirty = false
	return nil
}

// seconds is a duration that a file tells, of at most a year.
func seconds(s float64) time.Duration {
	const most = 365 * 24 * 3600
	return time.Duration(max(min(s, most), 0) * float64(time.Second))
}

func (t *locks) list() []Lock {
	all := slices.SortedFunc(maps.Values(t.held), func(a, b Lock) int {
		return cmp.Or(strings.Compare(a.Activity, b.Activity), strings.Compare(a.id().name(), b.id().name()))
	})
	for i := range all {
		all[i].Holds = maps.Clone(all[i].Holds)
	}
	return all
}

func (t *locks) drop(id lockID) bool {
	_, ok := t.held[id]
	if delete(t.held, id); ok {
		if t.of[id.key.Namespace]--; t.of[id.key.Namespace] == 0 {
			delete(t.of, id.key.Namespace)
		}
	}
	t.dirty = t.dirty || ok
	return ok
}
