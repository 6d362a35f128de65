// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"
	"testing/synctest"
)

// A panic of the search for a detector that was lost, and of an attempt to connect, costs time and no more: the devices
// return to it.
func TestPanicOfTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newDetector("a:6804"), newDetector("b:6804")
		a.panics = 1
		r := newRig(t, 20, a, b)
		r.read(500)
		before := r.places()
		b.kill()
		r.read(100)
		b.set(func() { b.panics = 3 })
		b.start()
		r.read(6000)
		if after := r.places(); !equal(before, after) || b.panics != 0 {
			t.Errorf("devices are not where they were before; %d panics are left", b.panics)
		}
		r.check()
	})
}
