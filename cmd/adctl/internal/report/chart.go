// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// part is a part of the recording: bins from … to, the latter not included.
type part struct {
	bins     *bins
	from, to int
	broken   int // bins without rows after which a line is broken
}

func (p *part) span() (from, to time.Time) { return p.bins.at(p.from), p.bins.at(p.to) }

// runs calls draw with the first bin of each run of bins of which holds says yes, and with the one after its last. What is
// shorter than least bins is that long, so that it is seen.
func (p *part) runs(least float64, holds func(i int) bool, draw func(from, to float64)) {
	begin, until := -1, -1
	end := func() {
		if begin < 0 {
			return
		}
		from, to := float64(begin), float64(until)
		if w := to - from; w < least {
			from, to = from-(least-w)/2, to+(least-w)/2
		}
		draw(from, to)
		begin = -1
	}
	for i := p.from; i < p.to; i++ {
		if p.bins.bins[i].rows == 0 {
			continue
		}
		if !holds(i) {
			end()
			continue
		}
		if begin < 0 || i-until > p.broken {
			end()
			begin = i
		}
		until = i + 1
	}
	end()
}

// anomalous reports whether a bin has an alert of that severity; of one member, whether that is blamed, or nobody is. A
// member below 0 is all of them.
func (b *bins) anomalous(i, member int, severity driver.Severity) bool {
	if b.bins[i].severity != severity {
		return false
	}
	if member < 0 || b.blamed[member][i] {
		return true
	}
	for m := range b.blamed {
		if b.blamed[m][i] {
			return false
		}
	}
	return true
}

var alerting = [...]driver.Severity{driver.Warning, driver.Critical}
