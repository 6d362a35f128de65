// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// MaxMembers bounds a group.
const MaxMembers = 1024

// Monitor watches a group. It is not safe for concurrent use.
type Monitor struct {
	config  Config
	members []member
	quiet   int // rows of alarm left after the last member's
	lead    int // the member that is or was furthest out in the present alarm; -1 without one
}

// Verdict is what a Monitor says about a row.
type Verdict struct {
	Ready bool    // at least one member of the row was judged
	Alarm bool    // the group is in alarm
	Level float64 // the largest deviation relative to where an alarm begins; at least 1 while a member is in alarm
	Lead  int     // the member furthest out, in alarm the one to blame; -1 where no member was judged
}

// ErrTooFew is wrapped when there is too little to learn from.
var ErrTooFew = errors.New("too few readings")

// New makes a Monitor that learns from the first readings of each member.
func New(members int, c Config) (*Monitor, error) {
	if members < 1 || members > MaxMembers {
		return nil, fmt.Errorf("group: %d members, want 1 to %d", members, MaxMembers)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	m := &Monitor{config: c, members: make([]member, members), lead: -1}
	for i := range m.members {
		m.members[i].history = make([]float64, 0, c.TrainRows)
	}
	return m, nil
}

// Fit learns every member from rows instead, in time order, however many there are; more than 100,000 are too many and
// only the last of them are used. A member with fewer than 20 finite readings goes on learning from the stream. It
// fails, and changes nothing, where a row has another length or all members have too few readings.
func (m *Monitor) Fit(rows [][]float64) error {
	for i, row := range rows {
		if len(row) != len(m.members) {
			return fmt.Errorf("group: row %d has %d members, want %d", i, len(row), len(m.members))
		}
	}
	rows = rows[max(0, len(rows)-maxTrain):]
	columns := make([][]float64, len(m.members))
	learned := 0
	for j := range columns {
		for _, row := range rows {
			if finite(row[j]) {
				columns[j] = append(columns[j], row[j])
			}
		}
		if len(columns[j]) >= minTrain {
			learned++
		}
	}
	if learned == 0 {
		return fmt.Errorf("group: %w: no member has %d finite ones", ErrTooFew, minTrain)
	}
	for j, x := range columns {
		if len(x) < minTrain {
			continue
		}
		m.members[j] = member{}
		m.members[j].learn(&m.config, x)
	}
	m.quiet, m.lead = 0, -1
	return nil
}

// Observe judges a row and learns from it. A NaN or an infinity is a member that is missing: its state stays as it is.
// A row of another length than the group is not judged.
func (m *Monitor) Observe(row []float64) Verdict {
	v := Verdict{Lead: -1}
	if len(row) != len(m.members) {
		return v
	}
	active := false
	for j, x := range row {
		k := &m.members[j]
		if finite(x) {
			k.observe(&m.config, x)
		}
		active = active || k.phase == alarm
		if k.phase == learning || !finite(x) {
			continue
		}
		v.Ready = true
		if level := k.level(&m.config); v.Lead < 0 || level > v.Level {
			v.Level, v.Lead = level, j
		}
	}
	switch {
	case active:
		m.quiet = m.config.Quiet
		if v.Lead >= 0 && m.members[v.Lead].phase == alarm {
			m.lead = v.Lead
		}
	case m.quiet > 0:
		m.quiet--
	default:
		m.lead = -1
	}
	v.Alarm = active || m.quiet > 0
	if v.Alarm && m.lead >= 0 {
		v.Lead = m.lead
	}
	if active {
		v.Level = max(v.Level, 1)
	}
	return v
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Members is the number of members.
func (m *Monitor) Members() int { return len(m.members) }

// Learned is the share of member j's learning that is done, 1 when it is judged.
func (m *Monitor) Learned(j int) float64 {
	if k := &m.members[j]; k.phase == learning {
		return float64(len(k.history)) / float64(m.config.TrainRows)
	}
	return 1
}

// Level is member j's deviation relative to where its alarm begins, at least 1 while it is in alarm.
func (m *Monitor) Level(j int) float64 { return m.members[j].level(&m.config) }

// Alarmed reports whether member j itself is in alarm.
func (m *Monitor) Alarmed(j int) bool { return m.members[j].phase == alarm }

// Expected is member j's baseline and the band around it outside which its mean begins an alarm, in the unit of the
// member. All are NaN while it learns.
func (m *Monitor) Expected(j int) (level, lower, upper float64) {
	k := &m.members[j]
	if k.phase == learning {
		return math.NaN(), math.NaN(), math.NaN()
	}
	level = k.centre + k.base*k.scale
	band := m.config.Start * k.sigma * k.scale
	return level, level - band, level + band
}

// EncodeState writes what was learned.
func (m *Monitor) EncodeState(w *state.Writer) {
	w.Int(int64(len(m.members)))
	w.Int(int64(m.quiet))
	w.Int(int64(m.lead))
	for j := range m.members {
		m.members[j].encode(w)
	}
}

// DecodeState reads what EncodeState wrote of a Monitor with as many members.
func (m *Monitor) DecodeState(r *state.Reader) {
	if n := r.Int(); r.Err() == nil && n != int64(len(m.members)) {
		r.Fail("%d members, want %d", n, len(m.members))
		return
	}
	m.quiet = r.Count("quiet", math.MaxInt32)
	m.lead = int(r.Int())
	if m.lead < -1 || m.lead >= len(m.members) {
		r.Fail("lead is %d, want -1 to %d", m.lead, len(m.members)-1)
		m.lead = -1
	}
	for j := range m.members {
		m.members[j] = member{}
		m.members[j].decode(r, &m.config)
	}
}
