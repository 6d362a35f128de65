// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Tell tells the default sinks, and hooks, a verdict that another process gave, as if it were one of this handler's own: of
// which properties that process is, this one knows nothing. It keeps nothing of r. The sinks have it for good when
// [Handler.Flush] returns.
func (h *Handler) Tell(r *driver.Result) error {
	if !h.running() {
		return admethod.ErrClosed
	}
	queues, err := h.queues(nil)
	if err != nil {
		return err
	}
	if h.watched.Load() {
		h.hooks.Verdict(r)
	}
	if len(queues) == 0 {
		return nil
	}
	clone, muted := r.Clone(), h.mutes.hide(r.Key)
	for _, q := range queues {
		if !muted || !q.alerts {
			q.push(clone)
		}
	}
	return nil
}
