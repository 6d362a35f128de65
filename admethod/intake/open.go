// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

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
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Route gives settings to the properties that match, over the defaults of the server. Patterns are as path.Match has
// them, such as "room-*"; an empty one matches everything.
type Route struct {
	Namespace, Device, Property string
	Client                      string // name of the client, or of the source
	Model                       string // of the device, where a source knows it
	// Labels of the device, where a source knows them: each must match.
	Labels map[string]string
	// Settings are keys of anomalyDetection. A series that a client describes itself goes before them. With the key
	// group, properties that clients do not describe are put together to rows by the server.
	Settings map[string]any
}

func (r *Route) matches(client string, key driver.Key, about *source.Property) bool {
	if about == nil {
		about = &unknown
	}
	for _, p := range [...][2]string{
		{r.Namespace, key.Namespace}, {r.Device, key.Device}, {r.Property, key.Property}, {r.Client, client}, {r.Model, about.Model},
	} {
		if p[0] != "" && !fits(p[0], p[1]) {
			return false
		}
	}
	for name, pattern := range r.Labels {
		if value, has := about.Labels[name]; !has || !fits(pattern, value) {
			return false
		}
	}
	return true
}

// unknown is a property of which nothing is known but its name.
var unknown source.Property

func fits(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

// patterns are those of a route.
func (r *Route) patterns() []string {
	return slices.AppendSeq([]string{r.Namespace, r.Device, r.Property, r.Client, r.Model}, maps.Values(r.Labels))
}

// checkSettings finds wrong patterns and settings that can never be used.
func (c *Config) checkSettings() error {
	var errs []error
	if _, err := wire.Config(nil, c.Defaults); err != nil {
		errs = append(errs, fmt.Errorf("defaults: %w", err))
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		for _, pattern := range r.patterns() {
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
func (in *Intake) settings(client string, key driver.Key, about *source.Property) map[string]any {
	settings := maps.Clone(in.Config.Defaults)
	if settings == nil {
		settings = make(map[string]any)
	}
	for i := range in.Config.Routes {
		if r := &in.Config.Routes[i]; r.matches(client, key, about) {
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
	fed       bool // by a source: what it knows of a member may change
	lasting   bool // its source tells when it is gone
}

func (p *plan) finish() {
	var identity strings.Builder
	identity.WriteString(p.config.Fingerprint())
	for i := range p.members {
		m := &p.members[i]
		identity.WriteString("|" + m.Key.String())
		if p.fed {
			fmt.Fprintf(&identity, " %q %q %v %v %v", m.DataType, m.Unit, m.Minimum, m.Maximum, m.Cycle)
		}
	}
	p.identity = identity.String()
}

// planned is the series that a client describes with info or, where that is nil, the one that the server's settings
// make of the property.
func (in *Intake) planned(c *Client, of *member) (p plan, err error) {
	key, info := of.key, of.info
	settings := in.settings(c.Name, key, of.about)
	if of.fed {
		return fed(settings, key, of.about)
	}
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

// replayMargin is how much further back than the last snapshot an origin may begin after a restart.
const replayMargin = time.Minute

// openSeries returns the series of a property, attached anew where its configuration or its members changed.
//
// The first one wins: while a session uses a series, no other client may use it, and no other session may configure it
// otherwise. A session that sent nothing for it for [Config.Handover] does not use it any more.
func (in *Intake) openSeries(asker *Session, of *member) (*series, error) {
	c, now := asker.client, in.clock.Load()
	if err := in.full(c, of.key); err != nil { // before much is done for it: there may be any number
		return nil, err
	}
	p, err := in.planned(c, of)
	if err != nil {
		return nil, err
	}
	// One at a time for each client: a detector that hangs makes the closing of its series slow, and must keep no other
	// client from opening one.
	c.opening.Lock()
	defer c.opening.Unlock()
	if of.fed {
		in.leave(c, of.key, p.id)
	}
	n, old, err := in.reserve(asker, &p, of.info == nil && !of.fed, of.key, now)
	if err != nil {
		return nil, err
	}
	if n.attached != nil {
		n.describe(of)
		return n, nil
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
	settings := pipeline.AttachSettings{
		Group: name, Members: p.members, Config: p.config, Tenant: c.Name, Answer: n.settled, Observed: of.fed, Replays: in.Config.Snapshot + replayMargin,
	}
	if in.Config.Driven {
		settings.Exact, settings.Replays = true, 0
		if n.rows != nil {
			settings.Kept = n.rows
		}
	}
	attached, err := in.handler.Attach(settings)
	if err != nil {
		in.mu.Lock()
		in.forget(n)
		in.mu.Unlock()
		return nil, err
	}
	n.submitting.Lock()
	n.attached = attached
	n.submitting.Unlock()
	n.describe(of)
	return n, nil
}

// reserve finds the series in the table, or puts a new one there that is to be attached in place of old.
func (in *Intake) reserve(asker *Session, p *plan, undescribed bool, key driver.Key, now int64) (n, old *series, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.draining {
		return nil, nil, errDrain
	}
	c := asker.client
	old = in.series[p.id]
	if undescribed { // what the client described before holds on
		if g := in.groups[key]; g != nil && g.owner == c {
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
			if p.fed && old.identity == p.identity && !old.gone(now) {
				old.holders[asker] = struct{}{}
				return old, nil, nil
			}
		case mine && old.identity == p.identity:
		case old.inUse(asker, now, in.Config.Handover) && mine:
			return nil, nil, fmt.Errorf("%s is scored with another configuration for another stream of this client: want the same from all", p.id)
		case old.inUse(asker, now, in.Config.Handover):
			return nil, nil, fmt.Errorf("%s is being scored for another client", p.id)
		}
	}
	weight := len(p.members)
	if old != nil {
		in.forget(old)
	}
	err = in.room(c, p.id, weight)
	if err != nil {
		if old != nil {
			in.enter(old)
		}
		return nil, nil, err
	}
	n = &series{
		id: p.id, group: p.group, owner: c, members: p.members, identity: p.identity,
		holders: map[*Session]struct{}{asker: {}},
	}
	if n.group != "" {
		n.rows = newRows(p.members, &p.config.Rows)
		n.rows.late = p.fed && len(p.members) > 1
	}
	n.lasting = p.lasting
	n.used.Store(now)
	in.enter(n)
	return n, old, nil
}

// join adds the members of a group that is there to one that is planned.
func (p *plan) join(old *series) {
	p.lasting = p.lasting || old.lasting
	for i := range old.members {
		if m := &old.members[i]; !slices.ContainsFunc(p.members, func(o driver.Member) bool { return o.Key == m.Key }) {
			p.members = append(p.members, *m)
		}
	}
	slices.SortFunc(p.members, func(a, b driver.Member) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	p.finish()
}

// enter puts a series into the tables. The caller holds the server's lock.
func (in *Intake) enter(n *series) {
	in.series[n.id] = n
	in.weight += len(n.members)
	n.owner.series += len(n.members)
	if n.group != "" {
		for i := range n.members {
			in.groups[n.members[i].Key] = n
		}
	}
}

// forget takes a series out of the tables. The caller holds the server's lock.
func (in *Intake) forget(n *series) {
	if in.series[n.id] != n {
		return
	}
	delete(in.series, n.id)
	in.weight -= len(n.members)
	n.owner.series -= len(n.members)
	for i := range n.members {
		if in.groups[n.members[i].Key] == n {
			delete(in.groups, n.members[i].Key)
		}
	}
}

// expire closes series that nobody has sent for since limit, and forgets streams that are not used any more.
func (in *Intake) expire(limit int64) {
	in.mu.Lock()
	for _, c := range in.clients {
		c.forgetStreams(time.Unix(0, limit))
	}
	var idle []*series
	for _, n := range in.series {
		if n.used.Load() < limit && !n.lasting {
			idle = append(idle, n)
		}
	}
	in.mu.Unlock()
	for _, n := range idle {
		n.owner.opening.Lock() // it is not to be opened again before what it learned is kept
		if n.used.Load() < limit {
			in.mu.Lock()
			in.forget(n)
			in.mu.Unlock()
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
