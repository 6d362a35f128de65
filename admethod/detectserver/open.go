// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Route gives settings to the properties that match, over the defaults of the server. Patterns are as path.Match has
// them, such as "room-*"; an empty one matches everything.
type Route struct {
	Namespace, Device, Property string
	Client                      string // name of the client
	// Settings are keys of anomalyDetection. A series that a client describes itself goes before them. With the key
	// group, properties that clients do not describe are put together to rows by the server.
	Settings map[string]any
}

func (r *Route) matches(client string, key driver.Key) bool {
	for _, p := range [...][2]string{
		{r.Namespace, key.Namespace}, {r.Device, key.Device}, {r.Property, key.Property}, {r.Client, client},
	} {
		if ok, err := path.Match(p[0], p[1]); p[0] != "" && (err != nil || !ok) {
			return false
		}
	}
	return true
}

// checkSettings finds wrong patterns and settings that can never be used.
func (c *Config) checkSettings() error {
	var errs []error
	if _, err := wire.Config(nil, c.Defaults); err != nil {
		errs = append(errs, fmt.Errorf("defaults: %w", err))
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		for _, pattern := range []string{r.Namespace, r.Device, r.Property, r.Client} {
			if _, err := path.Match(pattern, ""); err != nil {
				errs = append(errs, fmt.Errorf("routes[%d]: %q: want a pattern such as room-*", i, pattern))
			}
		}
		if _, err := wire.Config(nil, r.Settings); err != nil {
			errs = append(errs, fmt.Errorf("routes[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// settings are those of a property below what its client says.
func (s *Server) settings(client string, key driver.Key) map[string]any {
	settings := maps.Clone(s.config.Defaults)
	if settings == nil {
		settings = make(map[string]any)
	}
	for i := range s.config.Routes {
		if r := &s.config.Routes[i]; r.matches(client, key) {
			maps.Copy(settings, r.Settings)
		}
	}
	return settings
}

// plan is a series as it is to be.
type plan struct {
	id, group string
	members   []driver.Member
	config    admethod.ADMethodConfig
	identity  string
	open      bool // members may join
}

func (p *plan) finish() {
	var identity strings.Builder
	identity.WriteString(p.config.Fingerprint())
	for i := range p.members {
		identity.WriteString("|" + p.members[i].Key.String())
	}
	p.identity = identity.String()
}

// planned is the series that a client describes with info or, where that is nil, the one that the server's settings
// make of the property.
func (s *Server) planned(c *client, info *pb.SeriesInfo, key driver.Key) (p plan, err error) {
	settings := s.settings(c.name, key)
	described := info != nil
	if !described {
		info = &pb.SeriesInfo{Members: []*pb.Member{{
			Namespace: key.Namespace, DeviceName: key.Device, PropertyName: key.Property,
		}}}
	} else {
		delete(settings, "group")
	}
	if p.members, err = wire.Members(info); err != nil {
		return p, err
	}
	if p.config, err = wire.Config(info, settings); err != nil {
		return p, err
	}
	switch {
	case !described && p.config.Group != "":
		p.open = true
		p.group = key.Namespace + "/group/" + p.config.Group
	case info.GetGroup() != "":
		p.group = info.GetGroup()
		if prefix := key.Namespace + "/"; !strings.HasPrefix(p.group, prefix) {
			p.group = prefix + p.group
		}
	}
	p.id = key.String()
	if p.group != "" {
		p.id = "group:" + p.group
	}
	p.finish()
	return p, nil
}

// openSeries returns the series of a property, attached anew where its configuration or its members changed.
//
// The first one wins: while a session uses a series, no other client may use it, and no other session may configure it
// otherwise. A session that sent nothing for it for [Config.Handover] does not use it any more.
func (s *Server) openSeries(asker *session, info *pb.SeriesInfo, key driver.Key) (*series, error) {
	c, now := asker.client, s.clock.Load()
	p, err := s.planned(c, info, key)
	if err != nil {
		return nil, err
	}
	// One at a time for each client: a detector that hangs makes the closing of its series slow, and must keep no other
	// client from opening one.
	c.opening.Lock()
	defer c.opening.Unlock()
	n, old, err := s.reserve(asker, &p, info == nil, key, now)
	if err != nil || n.attached != nil {
		return n, err
	}
	if old != nil {
		old.close() // what it learned is kept, and found again if it fits
	}
	name := p.group
	if p.open { // another set of members is another stream: what was learned of one says nothing of the other
		h := fnv.New32a()
		for i := range p.members {
			fmt.Fprintln(h, p.members[i].Key)
		}
		name = fmt.Sprintf("%s#%08x", name, h.Sum32())
	}
	attached, err := s.handler.Attach(admethod.AttachSettings{
		Group: name, Members: p.members, Config: p.config, Tenant: c.name, Answer: n.settled,
	})
	if err != nil {
		s.mu.Lock()
		s.forget(n)
		s.mu.Unlock()
		return nil, err
	}
	n.submitting.Lock()
	n.attached = attached
	n.submitting.Unlock()
	return n, nil
}

// reserve finds the series in the table, or puts a new one there that is to be attached in place of old.
func (s *Server) reserve(asker *session, p *plan, undescribed bool, key driver.Key, now int64) (n, old *series, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, nil, errDrain
	}
	c := asker.client
	old = s.series[p.id]
	if undescribed { // what the client described before holds on
		if g := s.groups[key]; g != nil && g.owner == c {
			old = g
		}
		if old != nil && old.owner == c && !old.gone(now) && slices.ContainsFunc(old.members, func(m driver.Member) bool { return m.Key == key }) {
			old.holders[asker] = struct{}{}
			return old, nil, nil
		}
	}
	if old != nil {
		switch mine := old.owner == c; {
		case mine && old.identity == p.identity && !old.gone(now):
			old.holders[asker] = struct{}{}
			return old, nil, nil
		case mine && p.open:
			p.join(old)
		case mine && old.identity == p.identity:
		case old.inUse(asker, now, s.config.Handover) && mine:
			return nil, nil, fmt.Errorf("%s is scored with another configuration for another stream of this client: want the same from all", p.id)
		case old.inUse(asker, now, s.config.Handover):
			return nil, nil, fmt.Errorf("%s is being scored for another client", p.id)
		}
	}
	weight := len(p.members)
	if old != nil {
		s.forget(old)
	}
	switch {
	case c.series+weight > c.limits.Series:
		err = fmt.Errorf("%s: the client has %d properties scored already, which is all that it may", p.id, c.series)
	case s.weight+weight > s.config.MaxSeries:
		err = fmt.Errorf("%s: the server scores %d properties already, which is all that it may", p.id, s.weight)
	}
	if err != nil {
		if old != nil {
			s.enter(old)
		}
		return nil, nil, err
	}
	n = &series{
		id: p.id, group: p.group, owner: c, members: p.members, identity: p.identity,
		holders: map[*session]struct{}{asker: {}},
	}
	if n.group != "" {
		n.rows = newRows(p.members, &p.config.Rows)
	}
	n.used.Store(now)
	s.enter(n)
	return n, old, nil
}

// join adds the members of a group that is there to one that is planned.
func (p *plan) join(old *series) {
	for i := range old.members {
		if m := &old.members[i]; !slices.ContainsFunc(p.members, func(o driver.Member) bool { return o.Key == m.Key }) {
			p.members = append(p.members, *m)
		}
	}
	slices.SortFunc(p.members, func(a, b driver.Member) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	p.finish()
}

// enter puts a series into the tables. The caller holds the server's lock.
func (s *Server) enter(n *series) {
	s.series[n.id] = n
	s.weight += len(n.members)
	n.owner.series += len(n.members)
	if n.group != "" {
		for i := range n.members {
			s.groups[n.members[i].Key] = n
		}
	}
}

// forget takes a series out of the tables. The caller holds the server's lock.
func (s *Server) forget(n *series) {
	if s.series[n.id] != n {
		return
	}
	delete(s.series, n.id)
	s.weight -= len(n.members)
	n.owner.series -= len(n.members)
	for i := range n.members {
		if s.groups[n.members[i].Key] == n {
			delete(s.groups, n.members[i].Key)
		}
	}
}

// expire closes series that nobody has sent for since limit, and forgets streams that are not used any more.
func (s *Server) expire(limit int64) {
	s.mu.Lock()
	for _, c := range s.clients {
		c.forgetStreams(time.Unix(0, limit))
	}
	if s.anybody != nil {
		s.anybody.forgetStreams(time.Unix(0, limit))
	}
	var idle []*series
	for _, n := range s.series {
		if n.used.Load() < limit {
			idle = append(idle, n)
		}
	}
	s.mu.Unlock()
	for _, n := range idle {
		n.owner.opening.Lock() // it is not to be opened again before what it learned is kept
		if n.used.Load() < limit {
			s.mu.Lock()
			s.forget(n)
			s.mu.Unlock()
			n.close()
		}
		n.owner.opening.Unlock()
	}
}

// gone says that a series cannot be used as it is.
func (n *series) gone(now int64) bool {
	_, again := n.broken(now)
	return again
}
