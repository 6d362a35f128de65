// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// RowsConfig tells how the readings of a group become rows.
type RowsConfig struct {
	Evaluate string        `param:"evaluate" enum:"cycle,each" doc:"when a row is judged: once each member has a new reading (cycle), or with each reading (each)"`
	MaxAge   time.Duration `param:"maxAge" min:"0s" doc:"age from which a member's last reading no longer stands for it; 0 means 4 cycles of the slowest member"`
}

type groupKey struct{ namespace, name string }

// group aligns the readings of its members to rows: a member without a new reading is represented by its last one
// (flag Held) until that is older than the maximum age (flag Stale). While a member has no reading that counts, the
// members' verdicts are Unknown and name it.
type group struct {
	key     groupKey
	handler *Handler

	mu      sync.Mutex
	members []*Binding // sorted by key; a member's slot is its index
	row     []driver.Sample
	fresh   []bool
	began   time.Time // when the first of the fresh readings was taken
	stream  Stream
}

// join adds a property to its group and opens the group's stream anew. The caller holds h.mu.
func (h *Handler) join(b *Binding) error {
	key := groupKey{b.Key().Namespace, b.config.Group}
	g, ok := h.groups[key]
	if !ok {
		g = &group{key: key, handler: h}
	}
	members := append(slices.Clone(g.members), b)
	slices.SortFunc(members, func(x, y *Binding) int { return strings.Compare(x.Key().String(), y.Key().String()) })
	if err := g.open(members); err != nil {
		return fmt.Errorf("group %q: %w", key.name, err)
	}
	b.group = g
	h.groups[key] = g
	return nil
}

// leave takes a property out of the group. The caller holds h.mu.
func (g *group) leave(b *Binding) {
	members := slices.DeleteFunc(slices.Clone(g.members), func(m *Binding) bool { return m == b })
	if err := g.open(members); err != nil {
		g.handler.reject(b.Key(), nil, fmt.Errorf("group %q without %v: %w", g.key.name, b.Key(), err))
	}
}

func (g *group) empty() bool { return len(g.members) == 0 }

// open replaces the stream by one for the given members. On an error nothing changes. The caller holds the handler's
// lock, which guards members against other writers.
func (g *group) open(members []*Binding) error {
	if len(members) == 0 {
		g.close()
		g.mu.Lock()
		g.members = nil
		g.mu.Unlock()
		return nil
	}
	first := members[0].config
	id := fnv.New32a() // another set of members is another stream: what was learned of one says nothing of the other
	settings := StreamSettings{
		Config: *first, Deliver: g.deliver, Dropped: members[0].dropped, Aux: stages(members),
		ModelFile: g.handler.modelFile(first.Model),
	}
	for _, m := range members {
		if m.config.ADMethodName != first.ADMethodName || m.config.Detector != first.Detector || m.config.Model != first.Model {
			return fmt.Errorf("%v and %v differ in adMethodName, detector or model: want the same in a group",
				members[0].Key(), m.Key())
		}
		member, err := newMember(m.Key(), m.config, m.setup.meta)
		if err != nil {
			return err
		}
		settings.Members = append(settings.Members, member)
		fmt.Fprintln(id, m.Key())
	}
	settings.Group = fmt.Sprintf("%s/group/%s#%08x", g.key.namespace, g.key.name, id.Sum32())
	a, err := g.handler.adapter(first.ADMethodName)
	if err != nil {
		return err
	}
	stream, err := a.Open(settings)
	if err != nil {
		return err
	}
	g.mu.Lock()
	old := g.stream
	row := make([]driver.Sample, len(members))
	for i, m := range members {
		row[i].Key = m.Key()
		if slot := slices.Index(g.members, m); slot >= 0 {
			row[i] = g.row[slot]
		}
	}
	g.members, g.row, g.fresh, g.stream = members, row, make([]bool, len(members)), stream
	g.mu.Unlock()
	if old != nil {
		old.Close()
	}
	return nil
}

func (g *group) close() {
	g.mu.Lock()
	stream := g.stream
	g.stream = nil
	g.mu.Unlock()
	if stream != nil {
		stream.Close()
	}
}

// observe takes a member's reading, and submits a row when one is due. The caller holds b.mu.
func (g *group) observe(b *Binding, s *driver.Sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	slot := slices.Index(g.members, b)
	if slot < 0 || g.stream == nil {
		return
	}
	// A member comes round before others did, or a new cycle has begun: what there is makes a row of its own. Without
	// the latter, one reading that is missed would mix two cycles in every row from then on.
	if cycle := b.config.Quality.Cycle; g.fresh[slot] || cycle > 0 && slices.Contains(g.fresh, true) && s.At.Sub(g.began) > cycle*6/10 {
		g.submit()
	}
	if !slices.Contains(g.fresh, true) {
		g.began = s.At
	}
	g.row[slot] = *s
	g.fresh[slot] = true
	if b.config.Rows.Evaluate == "each" || !slices.Contains(g.fresh, false) {
		g.submit()
	}
}

// submit sends the row on, unless a member has no reading that counts.
func (g *group) submit() {
	var newest time.Time
	var slowest time.Duration
	for i := range g.row {
		if g.row[i].At.After(newest) {
			newest = g.row[i].At
		}
		slowest = max(slowest, g.members[i].config.Quality.Cycle)
	}
	maxAge := g.members[0].config.Rows.MaxAge
	if maxAge == 0 {
		maxAge = 4 * slowest // 0 where no cycle is known: then every age counts
	}
	for i := range g.row {
		s := &g.row[i]
		switch age := newest.Sub(s.At); {
		case s.At.IsZero(), maxAge > 0 && age > maxAge:
			s.Flags |= driver.Stale
			g.unknown(i, newest)
			clear(g.fresh)
			return
		case !g.fresh[i]:
			s.Flags |= driver.Held
		}
	}
	g.stream.TrySubmit(g.row)
	clear(g.fresh)
}

// unknown tells every member that the group cannot be judged for want of the member in slot. It says so each time: a
// verdict that is still on its way from the adapter must not have the last word.
func (g *group) unknown(slot int, at time.Time) {
	for _, m := range g.members {
		var r driver.Result
		r.Reset(nil)
		r.Key, r.At, r.Threshold, r.Detector = m.Key(), at, m.config.Threshold, m.config.Detector
		r.Message = fmt.Sprintf("group %s: no recent reading of %v", g.key.name, g.members[slot].Key())
		r.Causes = []driver.Cause{{Key: g.members[slot].Key(), Weight: 1}}
		m.deliver(&r, false)
	}
}

// deliver gives each member its own verdict: the group's to those that are blamed, a clean one to the others. Where
// the detector blames nobody, the verdict is everybody's.
func (g *group) deliver(r *driver.Result, row driver.Row) {
	g.mu.Lock()
	members := g.members // replaced as a whole, never written to
	g.mu.Unlock()
	deliverEach(members, r, row)
}

func deliverEach(members []*Binding, r *driver.Result, row driver.Row) {
	for i, m := range members {
		own := *r
		own.Key = m.Key()
		if own.Key != r.Key { // what was expected is said of one member
			own.Value, own.Expected, own.Lower, own.Upper = math.NaN(), math.NaN(), math.NaN(), math.NaN()
			if i < len(row) && row[i].Key == own.Key {
				own.Value = row[i].Value
			}
		}
		blamed := len(r.Causes) == 0 || slices.ContainsFunc(r.Causes, func(c driver.Cause) bool {
			return c.Key == own.Key || c.Key.Property == "" && c.Key.Device == own.Key.Device && c.Key.Namespace == own.Key.Namespace
		})
		if r.Severity.Anomalous() && !blamed {
			own.Severity, own.Kind, own.Score, own.Causes, own.Message = driver.Normal, driver.KindNone, 0, nil, ""
		}
		m.deliver(&own, false)
	}
}

// stages is the state of the stages of all members, as one.
type stages []*Binding

// MarshalBinary writes the members' states one after the other.
func (s stages) MarshalBinary() ([]byte, error) {
	var w state.Writer
	for _, m := range s {
		part, err := m.MarshalBinary()
		if err != nil {
			return nil, err
		}
		w.Text(string(part))
	}
	return w.Bytes, nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (s stages) UnmarshalBinary(data []byte) error {
	const largest = 64 << 10
	r := state.NewReader(data)
	parts := make([]string, len(s))
	for i := range s {
		parts[i] = r.Text("state of a member", largest)
	}
	if err := r.Close(); err != nil {
		return err
	}
	for i, m := range s {
		if err := m.UnmarshalBinary([]byte(parts[i])); err != nil {
			return err
		}
	}
	return nil
}
