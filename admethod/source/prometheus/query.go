// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/pkg/kept"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	// batch is how many readings are handed over at once.
	batch = 1024
	// idle is for how long a series is known that has no samples any more.
	idle = time.Hour
	// ahead is how far the end of what was read may be in the future, as far as clocks differ.
	ahead = time.Minute

	firstPause, longestPause = time.Second, time.Minute
)

// query is one query and how far it came.
type query struct {
	Query
	config *Config
	server asker
	report admethod.Report
	part   string // of the program, for reports
	kept   *kept.File
	behind time.Duration

	floor time.Time     // of a first start: what is before was not asked for
	end   time.Time     // up to here all is handed over
	chunk time.Duration // asked for at once
	table labelled.Table

	answers []item // of one answer, in the order of time
	batch   []source.Reading
	told    labelled.Complaint
}

var errPartial = errors.New("the answer is partial; the key partial takes it as it is")

type item struct {
	source.Reading
	of *labelled.Series
}

func newQuery(c *Config, q Query, s source.Settings, server asker) *query {
	out := &query{
		Query: q, config: c, server: server, report: s.Report, part: fmt.Sprintf("source %s: query %s", s.Name, q.Metric),
		kept: newKept(s.StateDir, &q), behind: s.Behind, chunk: c.History, table: labelled.Table{Names: q.Names, Most: c.Series, Idle: max(c.Overlap, idle)},
	}
	if !q.plain {
		out.table.Cycle = q.Step
	}
	return out
}

// Risks, for reports.
const (
	riskAway    = "no readings come; the server keeps what there is, and it is asked for once the query is answered"
	riskRefused = "what is named is not watched"
	riskKept    = "after a crash, readings come a second time"
	riskGap     = "what was in the gap is lost; history bounds it"
)

// run asks until ctx ends.
func (q *query) run(ctx context.Context, in source.Intake) (err error) {
	began := time.Now()
	if err := q.load(); err != nil {
		q.report(q.part+": state", riskKept, err)
	}
	var past time.Time // up to here nobody watched
	if q.end.IsZero() {
		past = q.due(began)
		q.end = past.Add(-q.config.History)
		q.floor = q.end
	}
	defer func() { q.save(true) }()
	pause := wait.Backoff{First: min(firstPause, q.Step), Longest: longestPause}
	for {
		err := q.catchUp(ctx, in, past)
		if over := source.Over(ctx, err); over != nil {
			return over
		}
		sleep := q.until(time.Now())
		if err != nil {
			q.report(q.part, riskAway, err)
			throttled, _ := admethod.RetryAfter(err)
			sleep = max(pause.Next(), throttled)
		} else {
			q.report(q.part, "", nil)
			pause.Reset()
			q.save(false)
		}
		if err := wait.Sleep(ctx, sleep); err != nil {
			return err
		}
	}
}

// due is up to when there is something to ask for.
func (q *query) due(now time.Time) time.Time {
	if q.plain {
		return now.Add(-q.config.Settle).Truncate(time.Millisecond)
	}
	return now.Add(-q.config.Delay).Truncate(q.Step)
}

// until is how long to wait before the next turn.
func (q *query) until(now time.Time) time.Duration {
	next := now.Truncate(q.Step).Add(q.Step)
	if !q.plain {
		next = now.Add(-q.config.Delay).Truncate(q.Step).Add(q.Step + q.config.Delay)
	}
	return next.Sub(now)
}

// catchUp asks for all that there is by now. What is up to past is of the past.
func (q *query) catchUp(ctx context.Context, in source.Intake, past time.Time) error {
	to := q.due(time.Now())
	if q.end.After(to.Add(ahead)) {
		q.report(q.part+": clock", riskGap, fmt.Errorf("readings were read up to %v, and it is %v: the clock was set back", q.end, to))
		q.end = to
	}
	oldest := to.Add(-max(q.config.History, 2*q.Step)).Truncate(q.grain())
	if q.end.Before(oldest) && !past.After(q.end) {
		q.report(q.part+": gap", riskGap, fmt.Errorf("nothing was read since %v", q.end))
		q.end = oldest
	}
	q.chunk = min(2*q.chunk, q.config.History)
	all := stretch{selector: q.Query.Query, from: q.end, to: to, oldest: oldest}
	if past.After(q.end) { // first; the rest is live
		all.to, all.past = past, true
		if err := q.read(ctx, in, all); err != nil {
			return err
		}
		all.from, all.to, all.past = past, to, false
	} else if q.plain {
		// Of replicas that scrape the same, Thanos answers with the one that has the first sample: it stays the same where
		// answers begin at the same time of their scrapes.
		all.from = all.from.Add(-q.config.Overlap).Truncate(q.config.Overlap)
	}
	if !to.After(q.end) {
		return nil
	}
	return q.read(ctx, in, all)
}

// stretch is what is read of a query: what a selector has in (from, to].
type stretch struct {
	selector string
	from, to time.Time
	past     bool
	missed   bool      // it is that of series that were silent
	oldest   time.Time // nothing before is looked for
}

// read hands over a stretch, in parts where it is too much at once.
func (q *query) read(ctx context.Context, in source.Intake, all stretch) error {
	for part := all; all.to.After(part.from); part.from = part.to {
		part.to = all.to
		if most := q.most(); part.to.Sub(part.from) > most {
			part.to = part.from.Add(most)
		}
		answer, err := q.server.ask(ctx, q.form(part.selector, part.from, part.to))
		if much, busy := tooMuch(err); (much || busy) && part.to.Sub(part.from) > q.least() {
			if q.chunk = max(part.to.Sub(part.from)/2, q.least()); much {
				part.to = part.from
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("%s to %s: %w", part.from.Format(time.RFC3339), part.to.Format(time.RFC3339), err)
		}
		if err := q.handOver(ctx, in, answer, part); err != nil {
			return err
		}
		q.end = later(q.end, part.to)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// grain is what times of readings are multiples of.
func (q *query) grain() time.Duration {
	if q.plain {
		return time.Millisecond
	}
	return q.Step
}

// least is the shortest time that is asked for, most the longest.
func (q *query) least() time.Duration { return max(q.grain(), q.Step) }

func (q *query) most() time.Duration {
	most := max(q.chunk, q.least())
	if !q.plain {
		most = min(most, mostPoints*q.Step)
	}
	return most.Truncate(q.grain())
}

// handOver gives what is new in an answer to the intake, in the order of time.
func (q *query) handOver(ctx context.Context, in source.Intake, answer *promapi.Answer, part stretch) error {
	switch {
	case answer.Type != promapi.Matrix:
		return fmt.Errorf("the answer is a %s: want series", answer.Type)
	case answer.Partial && !q.config.Partial:
		var why labelled.Complaint
		why.Add(answer.Warnings...)
		if err := why.Err(); err != nil {
			return fmt.Errorf("%w: %w", errPartial, err)
		}
		return errPartial
	}
	q.collect(answer, part.past)
	if missed, some := q.missed(part); some {
		if err := q.read(ctx, in, missed); err != nil {
			return err
		}
		q.collect(answer, part.past)
	}
	for rest := q.answers; len(rest) > 0; {
		some := rest[:min(len(rest), batch)]
		rest = rest[len(some):]
		q.batch = q.batch[:0]
		for i := range some {
			q.batch = append(q.batch, some[i].Reading)
		}
		refused, err := source.Refused(in.Take(ctx, q.batch))
		if err != nil {
			return &source.EndedError{Err: err}
		}
		for i := range refused {
			q.told.Add(refused[i].Err.Error())
		}
		for i := range some {
			some[i].of.Last = some[i].At
		}
	}
	clear(q.answers) // the memory of a long past
	if cap(q.answers) > 16*batch {
		q.answers = nil
	}
	q.report(q.part+": answer", riskRefused, q.told.Err())
	return nil
}

// collect notes the samples of an answer that were not handed over yet, in the order of time.
func (q *query) collect(answer *promapi.Answer, past bool) {
	q.told = labelled.Complaint{}
	q.told.Add(answer.Warnings...)
	q.answers = q.answers[:0]
	for i := range answer.Series {
		q.collectOf(&answer.Series[i], past)
	}
	slices.SortStableFunc(q.answers, func(a, b item) int { return a.At.Compare(b.At) })
}

func (q *query) collectOf(s *promapi.Series, past bool) {
	if s.Histograms > 0 && len(s.Points) == 0 {
		q.told.Add(fmt.Sprintf("%s: a native histogram: want numbers, such as histogram_quantile gives", s.Labels))
		return
	}
	of, err := q.table.Find(s.Labels, q.Metric, source.Property{}, q.end)
	if err != nil {
		q.told.Add(err.Error())
		return
	}
	last := later(of.Last, q.floor)
	for _, p := range s.Points {
		at, err := p.At()
		if err != nil {
			q.told.Add(fmt.Sprintf("%s: %v", of.Labels, err))
			continue
		}
		if !at.After(last) {
			continue
		}
		value, err := p.Float()
		if err != nil {
			q.told.Add(fmt.Sprintf("%s: %v", of.Labels, err))
			continue
		}
		last = at
		q.answers = append(q.answers, item{source.Reading{Key: of.Key, At: at, Value: value, Property: of.Property, Past: past}, of})
	}
}
