// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

// mostPools bounds how many tenants have lanes of their own; more of them share.
const mostPools = 256

// pool is the lanes of a tenant: whoever's detector hangs delays nobody else's.
type pool struct {
	lanes   []*lane
	tenant  string
	streams int // that are open
}

// newPool makes lanes and starts them.
func (a *Adapter) newPool() *pool {
	p := new(pool)
	for range a.config.Lanes {
		l := newLane(a.config.Queue, a.failed)
		p.lanes = append(p.lanes, l)
		l.start(nil)
	}
	return p
}

// poolOf is the pool of a tenant: its own, else one that has no streams, else a new one or, where there are too many,
// the one with the fewest. The caller holds a.mu.
func (a *Adapter) poolOf(tenant string) *pool {
	if tenant == "" {
		return a.pools[0]
	}
	others := a.pools[1:]
	var least *pool
	for _, p := range others {
		if p.tenant == tenant {
			return p
		}
		if least == nil || p.streams < least.streams {
			least = p
		}
	}
	switch {
	case least != nil && least.streams == 0:
		least.tenant = tenant
	case len(others) < mostPools:
		least = a.newPool()
		least.tenant = tenant
		a.pools = append(a.pools, least)
	}
	return least
}

// lanes are those of all pools.
func (a *Adapter) lanes() []*lane {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*lane
	for _, p := range a.pools {
		all = append(all, p.lanes...)
	}
	return all
}

// leave gives up a stream's place in its pool.
func (a *Adapter) leave(s *stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.pool != nil {
		s.pool.streams--
		s.pool = nil
	}
}
