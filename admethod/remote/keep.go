// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/spool"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// keep writes rows to disk that are not answered soon, until ctx ends.
func (l *link) keep(ctx context.Context) {
	k := l.keeper
	trimEvery := min(max(k.opts.MaxAge/64, keepEvery), time.Minute)
	wait.Tick(ctx, keepEvery, func(now time.Time) {
		l.openLate(now)
		if err := l.persist(now.Add(-keepAfter)); err != nil {
			l.trouble(err)
		}
		log := k.log.Load()
		if log == nil {
			return
		}
		if now.Sub(k.trimmed) >= trimEvery {
			k.trimmed = now
			l.delivering.Lock()
			log.Trim(now)
			lost := l.takeLost()
			l.delivering.Unlock()
			l.lose(lost)
		}
		if now.Sub(k.swept) >= trimEvery {
			k.swept = now
			k.sweep(now, func(r lostRow) { l.lose([]lostRow{r}) })
		}
		if now.Sub(k.synced) >= syncEvery {
			k.synced = now
			if err := errors.Join(log.Sync(), l.reserveSequences(log)); err != nil {
				l.trouble(err)
			}
		}
	})
}

func (l *link) reserveSequences(log *spool.Log) error {
	l.mu.Lock()
	sequence := l.sequence
	l.mu.Unlock()
	if sequence+reserve/2 < log.Mark() {
		return nil
	}
	return log.SetMark(sequence + reserve)
}

// persist writes the rows to disk that came until then and are not there. Where there is no room in memory, the oldest
// rows are left to the disk or, where they are not on it, dropped.
func (l *link) persist(until time.Time) error {
	k := l.keeper
	for {
		l.delivering.Lock()
		l.mu.Lock()
		dropped := l.fetchAll()
		log := k.log.Load()
		if log != nil {
			l.collect(until)
		}
		l.mu.Unlock()
		n := len(k.records)
		var err error
		if n > 0 {
			err = l.store(log)
		}
		lost := l.takeLost()
		l.delivering.Unlock()
		count(dropped)
		l.lose(lost)
		if err != nil || n == 0 {
			return err
		}
	}
}

// fetchAll moves all rows of the inbox to the queue, and returns whose rows were dropped from it. The caller holds l.mu.
func (l *link) fetchAll() (dropped []*Stream) {
	for c := l.inbox.take(); c != nil; c = l.inbox.take() {
		for l.queue.n+c.n-c.first > l.queue.limit {
			if it := l.queue.at(0); it.onDisk {
				if k := l.keeper; !k.away {
					k.away, k.cursor = true, it.place
				}
			} else if !it.judged {
				dropped = append(dropped, it.s)
			}
			l.queue.pop()
		}
		l.enqueue(c)
		l.signal() // the sender looks for them in the inbox
	}
	return dropped
}

// collect encodes rows that are to be written, at most a batch. The caller holds l.delivering and l.mu.
func (l *link) collect(until time.Time) {
	k := l.keeper
	k.records, k.data = k.records[:0], k.data[:0]
	type span struct{ from, to int }
	var spans [batchSize]span
	add := func(it *item) (more bool) {
		if it.since.After(until) {
			return false
		}
		if it.s == nil || it.onDisk || it.sequence <= k.kept || it.s.closed.Load() {
			return true
		}
		from := len(k.data)
		if k.data = appendRow(k.data, it.s.id, it.row); len(k.data)-from > maxRow {
			k.data = k.data[:from]
			return true
		}
		spans[len(k.records)] = span{from, len(k.data)}
		k.records = append(k.records, spool.Record{ID: it.sequence, At: it.since, State: it.state()})
		return len(k.records) < batchSize && len(k.data) < maxRow
	}
	for _, part := range []struct {
		r    *ring
		from int
	}{{&l.pending, 0}, {&l.retry, 0}, {&l.queue, l.queue.after(k.kept)}} {
		more := true
		for i := part.from; i < part.r.n && more; i++ {
			more = add(part.r.at(i))
		}
		if !more {
			break
		}
	}
	for i := range k.records {
		k.records[i].Data = k.data[spans[i].from:spans[i].to]
	}
}

// store writes what was collected. The caller holds l.delivering: none of it is answered meanwhile.
func (l *link) store(log *spool.Log) error {
	k := l.keeper
	var err error
	k.places, err = log.Append(k.records, k.places)
	if err != nil {
		return err
	}
	l.mu.Lock()
	var changed []change
	for i := range k.records {
		sequence := k.records[i].ID
		k.kept = sequence
		it := l.inMemory(sequence)
		if it == nil { // its stream was closed
			changed = append(changed, change{k.places[i], spool.Done})
			continue
		}
		it.onDisk, it.place = true, k.places[i]
		if state := it.state(); state != k.records[i].State { // sent meanwhile
			changed = append(changed, change{it.place, state})
		}
	}
	l.mu.Unlock()
	k.mark(changed)
	return nil
}

// inMemory finds a row that is not answered. The caller holds l.mu.
func (l *link) inMemory(sequence uint64) *item {
	for _, r := range []*ring{&l.queue, &l.retry, &l.pending} {
		if it := r.find(sequence); it != nil && it.s != nil {
			return it
		}
	}
	return nil
}

// takeLost returns the rows that the log has given up and that are not in memory. The caller holds l.delivering.
func (l *link) takeLost() []lostRow {
	k := l.keeper
	if len(k.lost) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost []lostRow
	for _, r := range k.lost {
		if it := l.inMemory(r.sequence); it != nil {
			it.onDisk = false
		} else if !r.judged {
			lost = append(lost, r)
		}
	}
	k.lost = k.lost[:0]
	return lost
}

// lose counts rows that were given up. The caller holds no lock.
func (l *link) lose(lost []lostRow) {
	for _, r := range lost {
		l.mu.Lock()
		s := l.keeper.byID[r.id]
		l.mu.Unlock()
		switch {
		case s != nil:
			s.Settings.Dropped(1)
		case l.hooks.Dropped != nil:
			l.hooks.Dropped(rowKey(r.id), 1)
		}
	}
}

// load reads rows from the disk that are to be sent next, where there are such and none is at hand.
func (l *link) load() {
	for {
		l.mu.Lock()
		need := l.keeper.behind() && l.retry.n == 0
		l.mu.Unlock()
		if !need {
			return
		}
		l.delivering.Lock()
		lost, ok := l.loadSome()
		l.delivering.Unlock()
		l.lose(lost)
		if !ok {
			return
		}
	}
}

// loadSome reads what one look at the disk gives. The caller holds l.delivering.
func (l *link) loadSome() (lost []lostRow, ok bool) {
	k := l.keeper
	log := k.log.Load()
	if log == nil {
		return nil, false
	}
	l.mu.Lock()
	if k.scanning == nil && len(k.returned) > 0 {
		k.scanning, k.returned = k.returned, make(map[string]struct{})
		k.scan = k.recovered
		for id := range k.scanning {
			if p := k.orphans[id]; p.Before(k.scan) {
				k.scan = p
			}
		}
	}
	scanning, from, until := k.scanning != nil, k.cursor, uint64(math.MaxUint64)
	if scanning {
		from = k.scan
	} else if l.queue.n > 0 {
		until = l.queue.at(0).sequence
	}
	l.mu.Unlock()
	stopped := false
	k.found = k.found[:0]
	next, err := log.Next(from, k.buf, func(p spool.Pos, r spool.Record) bool {
		if scanning && !p.Before(k.recovered) || !scanning && r.ID >= until {
			stopped, from = true, p
			return false
		}
		k.found = append(k.found, found{p, r})
		return len(k.found) < batchSize
	})
	if err != nil {
		logs.ErrorS(err, "Readings on disk cannot be read", "adapter", k.kind)
	}
	if stopped {
		next = from
	}
	atEnd := stopped || !next.Before(log.End())
	l.mu.Lock()
	var gone []change
	lost, gone = l.takeFound(scanning)
	if scanning {
		if k.scan = next; atEnd || !next.Before(k.recovered) {
			for id := range k.scanning {
				delete(k.orphans, id)
			}
			k.scanning = nil
		}
	} else {
		k.cursor = next
		head := uint64(math.MaxUint64)
		if l.queue.n > 0 {
			head = l.queue.at(0).sequence
		}
		k.away = !atEnd || head != until // more was left to the disk meanwhile
	}
	l.settle()
	l.mu.Unlock()
	k.mark(gone)
	return lost, true
}

// takeFound makes what was found on disk the next to be sent. It returns what is not to be sent any more. The caller
// holds l.delivering and l.mu.
func (l *link) takeFound(recovered bool) (lost []lostRow, gone []change) {
	k := l.keeper
	oldest := time.Now().Add(-k.opts.MaxAge)
	for i := range k.found {
		f := &k.found[i]
		id, samples, err := cutRow(f.record.Data)
		s := k.byID[string(id)]
		if recovered && err == nil {
			if _, ok := k.scanning[string(id)]; !ok || s == nil {
				continue // it may be opened yet
			}
		}
		it := &k.spare
		*it = item{row: it.row[:0]}
		if err == nil && s != nil && !f.record.At.Before(oldest) {
			it.row, err = appendSamples(it.row, samples, s.Settings.Members)
			if err == nil {
				it.s, it.sequence, it.onDisk, it.place = s, f.record.ID, true, f.place
				it.judged = f.record.State&stateJudged != 0
				if it.sent = f.record.State&stateSent != 0; it.sent {
					it.attempt = 1
				}
				l.retry.move(it)
				continue
			}
		}
		gone = append(gone, change{f.place, spool.Done})
		if f.record.State&stateJudged == 0 {
			lost = append(lost, lostRow{f.record.ID, string(id), false})
		}
	}
	return lost, gone
}

// keepAll writes what is left to disk and closes the spool. The link has ended.
func (l *link) keepAll() error {
	k := l.keeper
	l.adoptLate()
	err := l.persist(time.Now().Add(time.Hour))
	log := k.log.Load()
	if log == nil {
		return errors.New("there is no spool")
	}
	return errors.Join(err, log.Sync(), log.Close())
}
