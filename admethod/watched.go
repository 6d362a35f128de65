// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import "github.com/kubeedge/edge-anomaly/driver"

// Watched says how a property is watched.
type Watched struct {
	Config   ADMethodConfig
	Meta     Meta         // the zero value for those whose mapper is elsewhere
	Members  []driver.Key // those that are judged together, itself among them
	ModelDir string       // where its model is looked up; "" where it has none
}

// Watched returns how a property is watched; false where it is not.
func (h *Handler) Watched(key driver.Key) (Watched, bool) {
	members, _ := h.streamOf(key)
	for _, m := range members {
		if m.Key() != key {
			continue
		}
		w := Watched{Config: *m.config, Meta: m.setup.meta}
		if m.config.Model != "" {
			w.ModelDir = h.opts.ModelDir
		}
		for _, m := range members {
			w.Members = append(w.Members, m.Key())
		}
		return w, true
	}
	return Watched{}, false
}
