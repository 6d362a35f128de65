// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty

import "math"

// ranks keeps the largest distances of the past, descending.
type ranks struct {
	d [topSize]float32
	n int32
}

// evidence ranks d among the past and adds it: 1/(1 + number not smaller), 0 when d is among the ordinary. A tie, up to
// rounding, is no record.
func (r *ranks) evidence(d float32) float64 {
	n := int(r.n)
	if d <= 0 {
		if n < topSize {
			r.d[n] = 0
			r.n++
		}
		return 0
	}
	if n == topSize && d <= r.d[n-1] {
		return 0
	}
	i := n
	for i > 0 && r.d[i-1] < d {
		i--
	}
	k := i
	for k < n && r.d[k] >= d*tie {
		k++
	}
	var e float64
	if k < n {
		e = 1 / float64(1+k)
	}
	if n < topSize {
		r.n++
		n++
	}
	copy(r.d[i+1:n], r.d[i:n-1])
	r.d[i] = d
	return e
}

func (r *ranks) fade() {
	for i := range r.d[:r.n] {
		r.d[i] *= fade
	}
}

// levels is a channel of single values.
type levels struct {
	values [storeSize + 1]float64 // ascending; the last place is free but for a moment
	seen   [storeSize + 1]uint32  // when last the nearest
	top    ranks
	n      int32
}

// evidence of the value z at time t; closer than tol is the same value.
func (l *levels) evidence(z, tol float64, t uint32) float64 {
	return l.top.evidence(float32(l.distance(z, tol, t)))
}

// distance to the nearest stored value; z is stored when it is a new one. A full store drops the inner value that
// leaves the smallest gap, so that the ends and the gaps between modes survive.
func (l *levels) distance(z, tol float64, now uint32) float64 {
	if l.n == 0 {
		l.values[0], l.seen[0], l.n = z, now, 1
		return 0
	}
	l.expire(now)
	n := int(l.n)
	i, j := 0, n
	for i < j {
		if h := (i + j) / 2; l.values[h] < z {
			i = h + 1
		} else {
			j = h
		}
	}
	up, down := math.Inf(1), math.Inf(1)
	if i < n {
		up = l.values[i] - z
	}
	if i > 0 {
		down = z - l.values[i-1]
	}
	d := min(up, down)
	if up <= d+tol {
		l.seen[i] = now
	}
	if down <= d+tol {
		l.seen[i-1] = now
	}
	if d <= tol {
		return 0
	}
	copy(l.values[i+1:n+1], l.values[i:n])
	copy(l.seen[i+1:n+1], l.seen[i:n])
	l.values[i], l.seen[i] = z, now
	if l.n++; l.n > storeSize {
		l.drop(l.densest(tol, now))
	}
	return d
}

// expire looks at one value a reading, from either end in turn, and forgets it when it was not met for long.
func (l *levels) expire(now uint32) {
	n := int(l.n)
	k := int(now/2) % storeSize
	if k >= n || n == 1 {
		return
	}
	if now&1 == 1 {
		k = n - 1 - k
	}
	if now-l.seen[k] > expireRows {
		l.drop(k)
	}
}

// densest is the inner value that leaves the smallest gap. Of equal gaps the value longer unseen goes, so that no side
// is favoured.
func (l *levels) densest(tol float64, now uint32) int {
	b, gap := 1, math.Inf(1)
	for k := 1; k < int(l.n)-1; k++ {
		if g := l.values[k+1] - l.values[k-1]; g < gap-tol || g <= gap+tol && now-l.seen[k] > now-l.seen[b] {
			b, gap = k, g
		}
	}
	return b
}

func (l *levels) drop(k int) {
	n := int(l.n)
	copy(l.values[k:n-1], l.values[k+1:n])
	copy(l.seen[k:n-1], l.seen[k+1:n])
	l.n--
}

// span of the stored values.
func (l *levels) span() float64 {
	if l.n < 2 {
		return 0
	}
	return l.values[l.n-1] - l.values[0]
}

// pairs is the channel of a reading and the one before it. A full store gives up its least novel point for a more novel
// one.
type pairs struct {
	a, b [storeSize]float64
	d    [storeSize]float32 // how novel each was
	top  ranks
	n    int32
}

func (p *pairs) evidence(a, b, tol float64) float64 {
	n := int(p.n)
	best := math.Inf(1)
	for i, pa := range p.a[:n] {
		u, v := a-pa, b-p.b[i]
		if s := u*u + v*v; s < best {
			best = s
		}
	}
	d := math.Sqrt(best)
	switch {
	case n == 0:
		d = 0
	case d <= tol:
		return p.top.evidence(0)
	}
	k := n
	if n < storeSize {
		p.n++
	} else {
		k = 0
		for i := range p.d {
			if p.d[i] < p.d[k] {
				k = i
			}
		}
	}
	if n < storeSize || float32(d) > p.d[k] {
		p.a[k], p.b[k], p.d[k] = a, b, float32(d)
	}
	return p.top.evidence(float32(d))
}

func (p *pairs) fade() {
	p.top.fade()
	for i := range p.d {
		p.d[i] *= fade
	}
}
