// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Devices stay where they are; those of a detector that is killed go to the others, nobody else moves, and they return.
func TestDevicesMoveAndReturn(t *testing.T) {
	for name, silent := range map[string]bool{"detectors with sequences": false, "detectors that answer in order": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b, c := newDetector("a:6804"), newDetector("b:6804"), newDetector("c:6804")
				a.silent, b.silent, c.silent = silent, silent, silent
				r := newRig(t, 60, a, b, c)
				before := r.places()
				for i, devices := range before {
					if len(devices) < 10 {
						t.Errorf("detector %d has %d of 60 devices", i, len(devices))
					}
				}
				if again := r.places(); !equal(before, again) {
					t.Errorf("devices moved although nothing happened")
				}
				b.kill()
				r.read(100)
				during := r.places()
				if len(during[1]) > 0 {
					t.Errorf("a detector that is away has %v", during[1])
				}
				for _, i := range []int{0, 2} {
					for _, device := range before[i] {
						if !slices.Contains(during[i], device) {
							t.Errorf("%s moved away from a detector that works", device)
						}
					}
					if len(during[i]) == len(before[i]) {
						t.Errorf("detector %d took over nothing", i)
					}
				}
				b.start()
				r.read(500)
				if after := r.places(); !equal(before, after) {
					t.Errorf("devices are not where they were before")
				}
				if lost := r.check(); lost > 60 {
					t.Errorf("%d readings were lost, more than were on their way", lost)
				}
			})
		})
	}
}

// A detector that goes in good order, having answered all, loses nothing, and neither does the return of another.
func TestNothingIsLostInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newDetector("a"), newDetector("b")
		b.away = true
		r := newRig(t, 20, a, b)
		r.read(50)
		b.start()
		r.read(500)
		if places := r.places(); len(places[1]) == 0 {
			t.Error("nothing went to the detector that came later")
		}
		r.flush()
		b.kill()
		synctest.Wait() // the end is noticed
		r.read(100)
		if places := r.places(); len(places[1]) > 0 {
			t.Error("readings go to a detector that is away")
		}
		if lost := r.check(); lost > 0 {
			t.Errorf("%d readings were lost", lost)
		}
	})
}

// One that hangs is found out, does not come back as long as it hangs, and costs the others nothing but pauses.
func TestHungDetector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newDetector("a"), newDetector("b")
		a.probed, b.probed = true, true
		r := newRig(t, 20, a, b)
		before := r.places()
		b.set(func() { b.hung = true })
		r.read(1000) // 10 s
		if places := r.places(); len(places[0]) != 20 || len(places[1]) > 0 {
			t.Errorf("devices are at %v", places)
		}
		opened := b.sessions
		r.read(3000)
		if b.sessions != opened {
			t.Errorf("%d sessions were opened with a detector that hangs", b.sessions-opened)
		}
		b.start()
		r.read(3000)
		if after := r.places(); !equal(before, after) {
			t.Errorf("devices are not where they were before")
		}
		// It hung for seven seconds until it was given up.
		if lost, most := r.check(), len(before[1])*720; lost > most {
			t.Errorf("%d readings were lost, want at most the %d that it was sent", lost, most)
		}
	})
}

// One that refuses is tried less and less often, and the link does not wait for what it asks for.
func TestRefusingDetector(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of virtual time")
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := newDetector("a"), newDetector("b")
		b.denies = true
		r := newRig(t, 8, a, b)
		r.read(10_000)       // 100 s
		if b.sessions > 28 { // each try opens two, after waits that are drawn at random
			t.Errorf("%d sessions in 100 s", b.sessions)
		}
		b.mu.Lock()
		b.denies = false // what is being tried is answered before the end
		b.mu.Unlock()
		r.read(15_000)                     // the next try, and its devices on their way back
		if lost := r.check(); lost > 800 { // of 200,000
			t.Errorf("%d readings were lost", lost)
		}
	})
}

func TestNobodyIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newDetector("a"), newDetector("b")
		a.away, b.away = true, true
		shard, err := New([]Target{{"a", a}, {"b", b}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shard.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody is there") {
			t.Errorf("error %v", err)
		}
		if err := shard.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestTargets(t *testing.T) {
	a := newDetector("a")
	if one, err := New([]Target{{"a", a}}, Options{}); err != nil || one != remote.Transport(a) {
		t.Errorf("one target: %v, %v", one, err)
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("no target is taken")
	}
	if _, err := New([]Target{{"a", a}, {"a", a}}, Options{}); err == nil || !strings.Contains(err.Error(), `"a": named twice`) {
		t.Errorf("error %v", err)
	}
}

func TestOpen(t *testing.T) {
	opened := make(map[string]*detector)
	open := func(address string) (remote.Transport, error) {
		if address == "bad" {
			return nil, errors.New("cannot be")
		}
		opened[address] = newDetector(address)
		return opened[address], nil
	}
	for list, want := range map[string]string{
		"a:1": "", "a:1, b:2": "", "a:1,,b:2": "address 2: empty", "": "empty",
		"a:1,bad": "address 2: cannot be", "a:1,a:1": "named twice",
	} {
		clear(opened)
		transport, err := Open(list, Options{}, open)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", list, err, want)
		}
		if err == nil {
			err = transport.Close()
			if err != nil || len(opened) != 1+strings.Count(list, ",") {
				t.Errorf("%q: %d opened, %v", list, len(opened), err)
			}
		}
		for _, d := range opened {
			if !d.closed && list != "a:1,a:1" { // of which one hides the other
				t.Errorf("%q: %s is not closed", list, d.address)
			}
		}
	}
}

// The place is part of what users see: it must not change between versions.
func TestPlaces(t *testing.T) {
	lamp := admethod.StreamSettings{Members: []driver.Member{{Key: driver.Key{Namespace: "default", Device: "lamp-1", Property: "power"}}}}
	other := admethod.StreamSettings{Members: []driver.Member{{Key: driver.Key{Namespace: "default", Device: "lamp-1", Property: "light"}}}}
	group := admethod.StreamSettings{Group: "default/room", Members: lamp.Members}
	if place(&lamp) != place(&other) {
		t.Error("properties of one device are at different places")
	}
	if place(&lamp) == place(&group) {
		t.Error("a group is where its first member is, by its name")
	}
	if got := place(&lamp); got != 0x8e1ed2da85d6f6d0 {
		t.Errorf("place %#x", got)
	}
	if got := weight(place(&lamp), hash("a:6804")); got != 0x55134371a514fd57 {
		t.Errorf("weight %#x", got)
	}
}

// Devices spread evenly, and a detector more takes its share from all others and moves nothing else.
func TestBalance(t *testing.T) {
	const devices, detectors = 20_000, 5
	choose := func(where uint64, n int) (best int) {
		most := uint64(0)
		for i := range n {
			if w := weight(where, hash(fmt.Sprintf("detector-%d.detector.edge.svc:6804", i))); w >= most {
				best, most = i, w
			}
		}
		return best
	}
	counts := make([]int, detectors+1)
	moved := 0
	for i := range devices {
		where := add(hash("default"), fmt.Sprintf("lamp-%d", i))
		before, after := choose(where, detectors), choose(where, detectors+1)
		counts[after]++
		if before != after {
			moved++
			if after != detectors {
				t.Fatalf("lamp-%d moved between old detectors", i)
			}
		}
	}
	for i, n := range append(counts, moved) {
		if share := float64(n) * (detectors + 1) / devices; math.Abs(share-1) > 0.1 {
			t.Errorf("%d: %.2f of an equal share", i, share)
		}
	}
}

// FuzzOwed holds answers of every kind against a plain list of what is owed.
func FuzzOwed(f *testing.F) {
	f.Add([]byte{3, 1, 2, 0x80, 0x81})
	f.Fuzz(func(t *testing.T, steps []byte) {
		s := &session{ctx: t.Context(), idle: make(chan struct{})}
		l := new(lane)
		s.lanes = []*lane{l}
		var plain []uint64
		next := uint64(1)
		for _, step := range steps {
			if n := int(step & 0x7f); step < 0x80 {
				n = n%8 + 1
				l.batch = []remote.Request{{Sequence: next, Row: make(driver.Row, n)}}
				l.owe(time.Time{})
				for range n {
					plain = append(plain, next)
					next++
				}
				next += uint64(step & 1) // of another lane
			} else {
				answer := uint64(0) // in order
				if n > 0 && len(plain) > 0 {
					answer = plain[min(n-1, len(plain)-1)]
				}
				got := s.sequenceOf(l, answer)
				if len(plain) > 0 {
					if answer == 0 {
						answer = plain[0]
					}
					plain = plain[slices.Index(plain, answer)+1:]
				}
				if got != answer {
					t.Fatalf("sequence %d, want %d", got, answer)
				}
				s.answered(l, answer)
			}
			var owed []uint64
			for _, o := range l.owed[l.head:] {
				for i := range o.n {
					owed = append(owed, o.first+uint64(i))
				}
			}
			if !slices.Equal(owed, plain) {
				t.Fatalf("owed %v, want %v", owed, plain)
			}
		}
	})
}
