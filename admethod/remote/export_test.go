// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import "github.com/kubeedge/edge-anomaly/admethod"

// Unkept is the number of rows of the stream's link that are neither answered nor on disk, and the number on disk.
func Unkept(s admethod.Stream) (memory, disk int) {
	l := s.(*Stream).link
	l.mu.Lock()
	defer l.mu.Unlock()
	memory = l.inbox.len()
	for _, r := range []*ring{&l.queue, &l.retry, &l.pending} {
		for i := range r.n {
			if it := r.at(i); it.s != nil && !it.onDisk {
				memory++
			}
		}
	}
	return memory, l.keeper.waiting()
}

// Child is what the test binary is to do instead of testing; nil for testing.
var Child func()
