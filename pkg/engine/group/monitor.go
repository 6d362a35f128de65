// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

const (
	someEvidence = 2  // that an alarm of the members together lasts by: one row in 100
	runs         = 1  // added to what begins one, as they come in runs of about ten rows
	soonOver     = 5  // rows that it outlasts that
	holdRows     = 10 // in such an alarm, of which one is learned
)

// MaxMembers bounds a group.
const MaxMembers = 1024

// Monitor watches a group. It is not safe for concurrent use.
type Monitor struct {
	config  Config
	members []member
	solos   []solo
	joint   *Joint
	alone   []float64 // scratch: what each member's own watch says
	tells   float64   // of it, that the group tells

	quiet    int  // rows of alarm left after the last that called for it
	age      int  // rows of the present alarm
	together bool // the alarm is that of the members together
	longs    int  // rows for which it has been, with no member away by itself
	tired    bool // it is over, although the members are still unusual together
	away     bool // a member is away by itself
	lead     int  // the member that is or was furthest out in the present alarm; -1 without one
	accepted bool // a member's alarm ended as the new normal
}

// Verdict is what a Monitor says about a row.
type Verdict struct {
	Ready    bool    // at least one member of the row was judged
	Alarm    bool    // the group is in alarm
	Accepted bool    // with the end of an alarm: what it was about is the new normal
	Level    float64 // the largest deviation relative to where an alarm begins; at least 1 while a member is in alarm
	Evidence float64 // −log10 of the probability of a row as unusual while all is well
	Now      float64 // the same by a fixed law, which compares rows of any time
	Lead     int     // the member furthest out, in alarm the one to blame; -1 where no member was judged
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
	c.crowd = crowdFactor(members)
	m := &Monitor{
		config: c, members: make([]member, members), solos: make([]solo, members), lead: -1,
		joint: NewJoint(members), alone: make([]float64, members), tells: told(&c, members),
	}
	for i := range m.members {
		m.members[i].history = make([]float64, 0, c.TrainRows)
		m.solos[i].configure(&m.config)
	}
	return m, nil
}

// crowdFactor keeps many members from making as many more false alarms (C. E. Bonferroni, 1936): a unit of level more is
// 20 times rarer. The defaults are those of a group of up to 8.
func crowdFactor(members int) float64 {
	return 1 + math.Log(max(1, float64(members)/8))/math.Log(20)
}

// Fit learns every member from rows instead, in time order, however many there are; more than 100,000 are too many and
// only the last of them are used. A member with fewer than 20 finite readings goes on learning from the stream. It
// fails, and changes nothing, where a row has another length or all members have too few readings.
func (m *Monitor) Fit(rows [][]float64, times []int64) error {
	for i, row := range rows {
		if len(row) != len(m.members) {
			return fmt.Errorf("group: row %d has %d members, want %d", i, len(row), len(m.members))
		}
	}
	if len(times) != len(rows) {
		return fmt.Errorf("group: %d times, want one for each of %d rows", len(times), len(rows))
	}
	times = times[max(0, len(rows)-maxTrain):]
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
	m.quiet, m.lead, m.age, m.longs, m.together, m.tired, m.away, m.accepted = 0, -1, 0, 0, false, false, false, false
	m.joint = NewJoint(len(m.members))
	clear(m.solos)
	for j := range m.solos {
		m.solos[j].configure(&m.config)
	}
	for i, row := range rows {
		m.listen(row, times[i], nil)
		m.joint.Next(row, m.alone, false, true)
	}
	return nil
}

// listen lets each member's own watch judge it.
func (m *Monitor) listen(row []float64, at int64, held []bool) (away bool) {
	for j, x := range row {
		k := &m.solos[j]
		if held == nil || !held[j] {
			k.evidence = 0
			if finite(x) && k.observe(&m.config, x, at, m.tells) {
				m.accepted = true
			}
		}
		m.alone[j] = k.evidence
		away = away || k.told
	}
	return away
}

// Observe judges a row taken at a time in Unix ns and learns from it, unless the group is in alarm. A NaN or an infinity
// is a member that is missing: its state stays as it is. What is held is a member's last reading once more; nil is none.
// A row of another length than the group is not judged.
func (m *Monitor) Observe(row []float64, at int64, held []bool) Verdict {
	v := Verdict{Lead: -1}
	if len(row) != len(m.members) {
		return v
	}
	was := m.quiet > 0
	active := m.listen(row, at, held)
	for j, x := range row {
		k := &m.members[j]
		if finite(x) {
			m.accepted = k.observe(&m.config, x) || m.accepted
		}
		active = active || k.phase == alarm
		if k.phase == learning || !finite(x) {
			continue
		}
		v.Ready = true
		if level := m.Level(j); v.Lead < 0 || level > v.Level {
			v.Level, v.Lead = level, j
		}
	}
	// Where no member has left its level it may be the measure that is wrong: it is moved, slowly.
	hold := active || m.together
	t := m.joint.Next(row, m.alone, hold, m.age%holdRows == 0)
	if t.Judged {
		v.Evidence, v.Now = t.Evidence, t.Now
	}
	m.unite(v.Evidence, active)
	switch {
	case active:
		m.quiet = max(min(m.config.Quiet, m.age+1), 1)
		if v.Lead >= 0 && m.Alarmed(v.Lead) {
			m.lead = v.Lead
		}
	case m.together:
		if m.quiet == 0 && t.Lead >= 0 {
			m.lead = t.Lead
		}
		m.quiet = max(min(m.config.Quiet, soonOver), m.quiet, 1)
	case m.quiet > 0:
		m.quiet--
	}
	v.Alarm = m.quiet > 0
	switch {
	case !v.Alarm:
		v.Accepted, m.accepted, m.age, m.lead = was && m.accepted, false, 0, -1
	case m.lead >= 0:
		m.age++
		v.Lead = m.lead
	}
	if active {
		v.Level = max(v.Level, 1)
	}
	return v
}

// unite follows what the members show together. Their alarm begins at the evidence that is asked for and lasts while
// there is some, until that is accepted; then there must be none before it begins again. Once members that were away by
// themselves are back it is over as well: what is unusual then is the way back, which is in the shape of the newest
// readings for as long as these reach back.
func (m *Monitor) unite(evidence float64, active bool) {
	if m.longs++; active || !m.together {
		m.longs = 0
	}
	returned := m.away && !active
	m.away = active
	switch {
	case evidence < someEvidence:
		m.together, m.tired = false, false
	case returned:
		m.together, m.tired = false, true
	case m.config.MaxAge > 0 && m.longs >= m.config.MaxAge:
		m.together, m.tired, m.accepted = false, true, true
	case !m.tired && evidence >= m.config.Together+runs:
		m.together = true
	}
}

// Accept takes the present alarm for the new normal, and ends it.
func (m *Monitor) Accept() {
	for j := range m.members {
		if k := &m.members[j]; k.phase == alarm {
			k.recover(&m.config)
		}
		m.solos[j].accept(&m.config)
	}
	m.tired = m.together
	m.together, m.accepted = false, true
	m.quiet = min(m.quiet, 1)
}

// Allow learns from rows and their times that no member that goes as far, and no shape that is the same, is to make an
// alarm.
func (m *Monitor) Allow(rows [][]float64, times []int64) {
	for j := range m.members {
		if far := m.members[j].allow(&m.config, rows, j); far || m.solos[j].verdict.Open || rests(rows, j) {
			m.solos[j].allow(rows, times, j)
		}
	}
	for _, row := range rows {
		if len(row) == len(m.members) {
			m.joint.Next(row, m.alone, false, true)
		}
	}
}

// AllowPresent is Allow of what the members in alarm did in it; it reports whether one is.
func (m *Monitor) AllowPresent() (away bool) {
	for j := range m.members {
		if k := &m.members[j]; k.phase == alarm {
			side := k.side()
			k.allowed[side] = max(k.allowed[side], allowShare*k.peak/(m.config.Start*m.config.crowd))
			away = true
		}
	}
	return away
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
func (m *Monitor) Level(j int) float64 {
	level := m.members[j].level(&m.config)
	if s := &m.solos[j]; s.told {
		level = max(level, 1, s.evidence/m.tells)
	}
	return level
}

// Alarmed reports whether member j itself is in alarm.
func (m *Monitor) Alarmed(j int) bool { return m.members[j].phase == alarm || m.solos[j].told }

// Charted reports whether member j is away from its baseline.
func (m *Monitor) Charted(j int) bool { return m.members[j].phase == alarm }

// Alone is what member j's own watch says of its last reading.
func (m *Monitor) Alone(j int) watch.Verdict { return m.solos[j].verdict }

// Evidence is how unusual a member was in the last row together with the others, and what was most unusual about it.
func (m *Monitor) Evidence(j int) (Sign, float64) { return m.joint.Evidence(j) }

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
	w.Int(int64(m.age))
	w.Bool(m.together)
	w.Int(int64(m.longs))
	w.Bool(m.tired)
	w.Bool(m.away)
	w.Bool(m.accepted)
	for j := range m.members {
		m.members[j].encode(w)
		m.solos[j].encode(w)
	}
	m.joint.EncodeState(w)
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
	m.age = r.Count("age", math.MaxInt32)
	m.together = r.Bool()
	m.longs = r.Count("rows together", math.MaxInt32)
	m.tired, m.away, m.accepted = r.Bool(), r.Bool(), r.Bool()
	for j := range m.members {
		m.members[j] = member{}
		m.members[j].decode(r, &m.config)
		m.solos[j] = solo{}
		m.solos[j].decode(r, &m.config)
	}
	m.joint = NewJoint(len(m.members))
	m.joint.DecodeState(r)
}
