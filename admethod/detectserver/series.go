// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const remembered = 128 // answers of a series that a repeat gets again

// slot is a request that waits for its answer.
type slot struct {
	stream   string // the client's stream_id
	sequence uint64
	nano     int64
	done     chan *pb.AnomalyResponse // of capacity 1
}

func (w *slot) answer(m *pb.AnomalyResponse) {
	if m.Sequence != w.sequence { // a kept answer is being sent by others perhaps
		m.Sequence = w.sequence
	}
	w.done <- m
}

// series is what is scored as one. It outlives the streams of its clients.
type series struct {
	members  []driver.Member
	identity string // of its configuration

	submitting sync.Mutex // around TrySubmit, which is not concurrent; taken before mu
	attached   *admethod.Attachment
	closed     bool

	mu      sync.Mutex
	used    time.Time
	pending []*slot // in the order of submission
	kept    map[string]map[uint64]*pb.AnomalyResponse
	order   []*slot // of kept, the oldest first
	last    map[string]uint64
}

func name(info *pb.SeriesInfo, members []driver.Member) (id, group string) {
	if group = info.GetGroup(); group == "" {
		return members[0].Key.String(), ""
	}
	if prefix := members[0].Key.Namespace + "/"; !strings.HasPrefix(group, prefix) {
		group = prefix + group
	}
	return "group:" + group, group
}

// open returns the series, attached anew where its configuration or its members changed.
func (s *Server) open(info *pb.SeriesInfo) (*series, error) {
	members, err := wire.Members(info)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	config, err := wire.Config(info, s.config.Defaults)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	id, group := name(info, members)
	var identity strings.Builder
	identity.WriteString(config.Fingerprint())
	for i := range members {
		identity.WriteString("|" + members[i].Key.String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.series[id]; old != nil {
		if old.identity == identity.String() {
			old.mu.Lock()
			old.used = time.Now()
			old.mu.Unlock()
			return old, nil
		}
		old.close()
		delete(s.series, id)
	}
	if len(s.series) >= s.config.MaxSeries {
		return nil, status.Errorf(codes.ResourceExhausted, "%s: the server scores %d series already", id, len(s.series))
	}
	n := &series{members: members, identity: identity.String(), used: time.Now(), last: make(map[string]uint64),
		kept: make(map[string]map[uint64]*pb.AnomalyResponse)}
	n.attached, err = s.handler.Attach(admethod.AttachSettings{
		Group: group, Members: members, Config: config, Answer: n.judged, Dropped: n.dropped,
	})
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	s.series[id] = n
	return n, nil
}

func (s *Server) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.series {
		n.mu.Lock()
		idle := len(n.pending) == 0 && now.Sub(n.used) > s.config.Idle
		n.mu.Unlock()
		if idle {
			n.close()
			delete(s.series, id)
		}
	}
}

func (n *series) close() {
	n.submitting.Lock()
	n.closed = true
	n.attached.Close()
	n.submitting.Unlock()
	n.mu.Lock()
	lost := len(n.pending)
	n.mu.Unlock()
	n.dropped(lost)
}

// submit has a row judged, unless it is a repeat: that gets the answer of the first time.
func (n *series) submit(w *slot, row driver.Row) bool {
	n.submitting.Lock()
	defer n.submitting.Unlock()
	if n.closed {
		return false
	}
	n.mu.Lock()
	n.used = time.Now()
	if w.stream != "" && w.sequence != 0 && w.sequence <= n.last[w.stream] {
		defer n.mu.Unlock()
		for _, p := range n.pending {
			if p.stream == w.stream && p.sequence == w.sequence {
				old := *p
				w.nano = p.nano
				*p = *w // the new connection hears the verdict
				old.answer(unjudged(row, "sent again"))
				return true
			}
		}
		m := n.kept[w.stream][w.sequence]
		if m == nil {
			m = unjudged(row, "judged before; the verdict is not kept any more")
		}
		w.answer(m)
		return true
	}
	if w.stream != "" {
		if len(n.last) >= remembered {
			clear(n.last)
		}
		n.last[w.stream] = w.sequence
	}
	w.nano = row[0].At.UnixNano()
	n.pending = append(n.pending, w)
	n.mu.Unlock()
	n.attached.TrySubmit(row) // a row lost is told to dropped
	return true
}

// judged answers the oldest request of that time; the adapter judges in order.
func (n *series) judged(r *driver.Result, row driver.Row) {
	if row == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, w := range n.pending {
		if w.nano != row[0].At.UnixNano() {
			continue
		}
		for _, skipped := range n.pending[:i] {
			skipped.answer(unjudged(row, "the reading was not judged"))
		}
		m := wire.Answer(r)
		n.pending = n.pending[i+1:]
		n.keep(w, m)
		w.answer(m)
		return
	}
}

func (n *series) keep(w *slot, m *pb.AnomalyResponse) {
	if w.stream == "" {
		return
	}
	if len(n.order) == remembered {
		delete(n.kept[n.order[0].stream], n.order[0].sequence)
		if len(n.kept[n.order[0].stream]) == 0 {
			delete(n.kept, n.order[0].stream)
		}
		n.order = n.order[1:]
	}
	if n.kept[w.stream] == nil {
		n.kept[w.stream] = make(map[uint64]*pb.AnomalyResponse)
	}
	n.kept[w.stream][w.sequence] = m
	n.order = append(n.order, &slot{stream: w.stream, sequence: w.sequence})
}

func (n *series) dropped(lost int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lost = min(lost, len(n.pending))
	for _, w := range n.pending[:lost] {
		w.answer(unjudged(driver.Row{{Key: n.members[0].Key, At: time.Unix(0, w.nano)}}, "the reading was not judged"))
	}
	n.pending = n.pending[lost:]
}

// unjudged is an answer without a verdict.
func unjudged(row driver.Row, why string) *pb.AnomalyResponse {
	var r driver.Result
	r.Reset(row)
	r.Message = why
	return wire.Answer(&r)
}
