// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
)

// setup is what properties with the same configuration and the same kind of property share.
type setup struct {
	config      admethod.ADMethodConfig
	meta        admethod.Meta
	fingerprint string
	hash        string // of the configuration alone
	policy      *stage.Policy
	queues      []*sinkQueue
	refs        int // guarded by the handler's lock
}

// hold notes that a setup has users more, and keeps what uses it. It fails after Shutdown.
func (h *Handler) hold(s *setup, users int, keep func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != started {
		return false
	}
	s.refs += users
	if _, ok := h.setups[s.fingerprint]; !ok {
		h.setups[s.fingerprint] = s
	}
	keep()
	return true
}

// share returns the setup of a configuration, the one that is in use already if there is one. The error is that of a
// new one: what is wrong with its policy and sinks.
func (h *Handler) share(config admethod.ADMethodConfig, meta admethod.Meta) (*setup, error) {
	if config.Quality.Cycle == 0 {
		config.Quality.Cycle = meta.Cycle
	}
	if !config.Sets("threshold") {
		config.Threshold = cmp.Or(config.Policy.Alarms.Threshold(config.Quality.Cycle), config.Threshold)
	}
	hash := config.Fingerprint()
	// Who said a key matters to adapters as much as what it says.
	fingerprint := fmt.Sprintf("%s %#v %q", hash, meta, config.DeviceSets())
	h.mu.Lock()
	s, ok := h.setups[fingerprint]
	h.mu.Unlock()
	if ok {
		return s, nil
	}
	s = &setup{config: config, meta: meta, fingerprint: fingerprint, hash: hash}
	p, policyErr := stage.NewPolicy(&s.config.Policy)
	queues, err := h.queues(s.config.Sinks)
	s.policy, s.queues = p, queues
	return s, errors.Join(policyErr, err)
}
