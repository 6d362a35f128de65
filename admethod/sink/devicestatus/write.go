// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// How long a failed write waits before the next, at the least and at the most; the wait doubles from one to the next.
const (
	shortestWait = time.Second
	longestWait  = 15 * time.Second
	missingWait  = 5 * time.Second // CloudCore creates the status with the device
	refusedWait  = time.Minute     // somebody has to mend it first
)

// write tries to bring one device up to date. Nobody else writes it meanwhile.
func (s *Sink) write(ctx context.Context, d *record, w job) {
	var object []byte
	created := false
	err := guard.Call("a request for a device status", func() (err error) { // one that panics has failed like others
		object, err = s.client.patch(ctx, d.id.namespace, d.id.name, w.body)
		if err != nil && apierrors.IsNotFound(err) && s.config.Create && !w.gone {
			if err = s.client.create(ctx, d.id.namespace, d.id.name); err == nil {
				created = true
			}
		}
		return err
	})
	now := time.Now()
	s.mu.Lock()
	d.writing = false
	switch {
	case created:
		s.stats.Created++ // and is patched at the next turn
	case err == nil:
		s.stats.Written++
		s.settle(d, w, object, now)
	case ctx.Err() != nil: // the sink is being ended
	default:
		s.fail(d, err, now)
		if s.closing {
			s.lost++
			s.drop(d, now)
		}
		if w.gone && len(d.entries) == 0 && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)) {
			s.drop(d, now)
		}
	}
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil && s.hooks.SinkFailed != nil {
		s.hooks.SinkFailed(Name, fmt.Errorf("%s/%s: %w", d.id.namespace, d.id.name, err), true)
	}
	s.poke()
}

// settle takes in that a write arrived.
func (s *Sink) settle(d *record, w job, object []byte, now time.Time) {
	d.told, d.heard, d.toldWorst, d.failures, d.refusals, d.after = w.changes, w.verdicts, w.worst, 0, 0, time.Time{}
	if len(d.entries) == 0 && d.changes == d.told {
		s.drop(d, now)
		return
	}
	d.changed = now
	// What the extension holds beyond is of a former process, or of a write that was thought to have failed.
	clear(d.stale)
	for _, property := range watched(object, s.config.Extension) {
		if _, known := d.entries[property]; !known {
			d.discard(property)
		}
	}
	if len(d.stale) > 0 {
		d.change(now)
	}
}

// fail counts a failure, says it where it is news, and sets how long to wait.
func (s *Sink) fail(d *record, err error, now time.Time) {
	d.failures++
	wait := min(shortestWait<<min(d.failures-1, 10), longestWait)
	what, where := "", d.id.namespace+"/"+d.id.name
	seconds, asked := apierrors.SuggestsClientDelay(err)
	switch {
	case apierrors.IsNotFound(err):
		s.stats.Missing++
		what, wait = "is missing", missingWait*time.Duration(min(d.failures, 12))
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		s.stats.Forbidden++
		what, where = "may not be written", "in namespace "+d.id.namespace
		// An API server that starts refuses for a moment, before it knows its roles.
		wait = min(shortestWait<<min(d.refusals, 10), refusedWait)
		d.refusals++
	case apierrors.IsConflict(err):
		s.stats.Conflicts++
		wait = 0 // and the interval
	case apierrors.IsTooManyRequests(err):
		s.stats.Throttled++
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		s.stats.Failed++
		what, wait = "is refused", refusedWait
	default:
		s.stats.Failed++
		what, where = "cannot be reached", "of all devices"
	}
	if asked {
		wait = max(wait, time.Duration(seconds)*time.Second)
	}
	// Those that failed together shall not come back together.
	d.after = now.Add(wait + rand.N(wait/4+1))
	about := what
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		about += where // once a namespace; of devices, one stands for all
	}
	if what != "" {
		s.said.Warningf(about, "devicestatus: the status %s %s: %v", where, what, err)
	}
}
