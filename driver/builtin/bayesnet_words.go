// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

// wording has the sentences of verdicts ready, as making one takes memory.
type wording struct {
	names   []string
	single  []string // a member is wrong
	both    []string // two members are, at a*n+b with a < b; empty for large groups
	either  []string // one of two is, rather the first
	anybody string
}

// wordedMembers bounds the groups for which sentences on two members are made.
const wordedMembers = 32

func newWording(keys []driver.Key) wording {
	n := len(keys)
	w := wording{names: labels(keys), anybody: "cannot tell which of the causes is wrong"}
	for _, name := range w.names {
		w.single = append(w.single, name+" contradicts the other members")
	}
	if n > wordedMembers {
		return w
	}
	w.both, w.either = make([]string, n*n), make([]string, n*n)
	for a := range n {
		for b := a + 1; b < n; b++ {
			w.both[a*n+b] = w.names[a] + " and " + w.names[b] + " contradict the other members"
			w.either[a*n+b] = "cannot tell: " + w.names[a] + " or " + w.names[b]
			w.either[b*n+a] = "cannot tell: " + w.names[b] + " or " + w.names[a]
		}
	}
	return w
}

// message says who is blamed: the members of one candidate, or of several that cannot be told apart.
func (w *wording) message(candidates []bayes.Candidate) string {
	first := candidates[0].Members
	switch {
	case len(candidates) == 1 && len(first) == 1:
		return w.single[first[0]]
	case len(candidates) == 1:
		if w.both == nil {
			return "the causes contradict the other members"
		}
		return w.both[min(first[0], first[1])*len(w.names)+max(first[0], first[1])]
	case len(candidates) == 2 && len(first) == 1 && len(candidates[1].Members) == 1 && w.either != nil:
		return w.either[first[0]*len(w.names)+candidates[1].Members[0]]
	}
	return w.anybody
}
