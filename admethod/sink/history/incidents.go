// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// One row per incident and property. Times are Unix nanoseconds; an incident that lasts has no end, and at is the reading
// of the last verdict on it.
const incidentSchema = `
CREATE TABLE IF NOT EXISTS incidents (
	incident TEXT NOT NULL, namespace TEXT NOT NULL, device TEXT NOT NULL, property TEXT NOT NULL,
	start INTEGER NOT NULL, at INTEGER NOT NULL, "end" INTEGER, phase TEXT NOT NULL, severity INTEGER NOT NULL, kind TEXT NOT NULL,
	score REAL, causeNamespace TEXT NOT NULL, causeDevice TEXT NOT NULL, causeProperty TEXT NOT NULL,
	detector TEXT NOT NULL, model TEXT NOT NULL, message TEXT NOT NULL,
	UNIQUE (incident, namespace, device, property));
CREATE INDEX IF NOT EXISTS incidents_start ON incidents (start);
CREATE INDEX IF NOT EXISTS incidents_open ON incidents ("end") WHERE "end" IS NULL;`

const upsertIncident = `
INSERT INTO incidents (incident, namespace, device, property, start, at, "end", phase, severity, kind, score,
	causeNamespace, causeDevice, causeProperty, detector, model, message, written)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET written = excluded.written, at = excluded.at, "end" = excluded."end", phase = excluded.phase, severity = excluded.severity,
	kind = excluded.kind, score = excluded.score, causeNamespace = excluded.causeNamespace, causeDevice = excluded.causeDevice,
	causeProperty = excluded.causeProperty,
	detector = CASE WHEN excluded.detector = '' THEN detector ELSE excluded.detector END,
	model = CASE WHEN excluded.detector = '' THEN model ELSE excluded.model END,
	message = CASE WHEN excluded.message = '' THEN message ELSE excluded.message END`

// mostOpen is how many properties may have an open incident.
const mostOpen = 100_000

// change is what a batch tells of an incident, in the end.
type change struct {
	key      driver.Key
	incident driver.Incident
	verdict  *driver.Result // the last on it; nil: its property is no longer watched
	message  string         // the last reason that was given
}

// changes are the incidents that a batch tells of, in the order in which it began to.
func (s *Sink) changes(batch []driver.Result) (all []change) {
	type id struct {
		key driver.Key
		id  uint64
	}
	index := make(map[id]int)
	add := func(r *driver.Result, i driver.Incident) {
		if i.ID == 0 {
			return
		}
		at, known := index[id{r.Key, i.ID}]
		if !known {
			at = len(all)
			index[id{r.Key, i.ID}] = at
			all = append(all, change{key: r.Key})
		}
		c := &all[at]
		if c.incident, c.verdict = i, r; i.Phase.Open() && r.Message != "" {
			c.message = shorten(r.Message)
		}
	}
	for i := range batch {
		news := s.book.Take(&batch[i])
		add(&batch[i], news.Ended)
		add(&batch[i], news.Now)
	}
	return all
}

// put writes changes at a time of the clock.
func put(ctx context.Context, tx *sql.Tx, all []change, clock int64) (err error) {
	if len(all) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, upsertIncident)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	for n := range all {
		c := &all[n]
		i := &c.incident
		var end sql.NullInt64
		if !i.Phase.Open() {
			end = sql.NullInt64{Int64: i.End.UnixNano(), Valid: true}
		}
		at, detector, model := i.End, "", ""
		if r := c.verdict; r != nil {
			at, detector, model = r.At, r.Detector, r.Model
		}
		_, err := stmt.ExecContext(ctx, shared.ID(i.ID), c.key.Namespace, c.key.Device, c.key.Property,
			i.Start.UnixNano(), at.UnixNano(), end, i.Phase.String(), i.Severity, string(i.Kind),
			sql.NullFloat64{Float64: i.Score, Valid: !math.IsNaN(i.Score) && !math.IsInf(i.Score, 0)},
			i.Cause.Namespace, i.Cause.Device, i.Cause.Property, detector, model, c.message, clock)
		if err != nil {
			return err
		}
	}
	return nil
}

// recall makes the incidents known that were open when the file was last written: they go on, or end with the next verdict
// on their property.
func (s *Sink) recall(ctx context.Context, db *sql.DB) error {
	s.book = incidents.NewBook(mostOpen)
	rows, err := scan(ctx, db, `WHERE "end" IS NULL`, "")
	for _, row := range rows {
		s.book.Restore(row.key, row.incident)
	}
	for _, g := range s.gone {
		s.book.Forget(g.key, g.incident.End)
	}
	return err
}

// Forget ends the incident of a property that is no longer watched; the next batch, or Shutdown, writes it.
func (s *Sink) Forget(key driver.Key) {
	if s.book == nil {
		return
	}
	if ended := s.book.Forget(key, s.now()); ended.ID != 0 && len(s.gone) < mostOpen {
		s.gone = append(s.gone, change{key: key, incident: ended})
	}
}

type row struct {
	key                      driver.Key
	incident                 driver.Incident
	at                       time.Time
	detector, model, message string
}

// scan reads incidents; where and order are parts of the query.
func scan(ctx context.Context, db *sql.DB, where, order string, args ...any) (found []row, err error) {
	rows, err := db.QueryContext(ctx, `SELECT incident, namespace, device, property, start, at, "end", phase, severity, kind, score,
		causeNamespace, causeDevice, causeProperty, detector, model, message FROM incidents `+where+" "+order, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var (
			r         row
			id, phase string
			start, at int64
			end       sql.NullInt64
			score     sql.NullFloat64
		)
		i := &r.incident
		if err := rows.Scan(&id, &r.key.Namespace, &r.key.Device, &r.key.Property, &start, &at, &end, &phase, &i.Severity, &i.Kind, &score,
			&i.Cause.Namespace, &i.Cause.Device, &i.Cause.Property, &r.detector, &r.model, &r.message); err != nil {
			return nil, err
		}
		if i.ID, err = shared.ParseID(id); err != nil {
			return nil, err
		}
		if err := i.Phase.UnmarshalText([]byte(phase)); err != nil {
			return nil, fmt.Errorf("phase: want %w", err)
		}
		i.Start, r.at, i.Score = time.Unix(0, start), time.Unix(0, at), math.NaN()
		if end.Valid {
			i.End = time.Unix(0, end.Int64)
		}
		if score.Valid {
			i.Score = score.Float64
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// Incidents reads incidents from a file of history, in the order of [shared.Compare]. The file may be in use by a mapper.
func Incidents(ctx context.Context, path string, f httpapi.IncidentFilter) (found []httpapi.Incident, err error) {
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	where, args := condition(&f)
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := scan(ctx, db, where, `ORDER BY start DESC, incident DESC, namespace, device, property LIMIT `+strconv.Itoa(f.Limit), args...)
	if err != nil {
		if strings.Contains(err.Error(), "no such table") { // written before there were incidents
			return nil, nil
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range rows {
		r := &rows[i]
		var report httpapi.Incident
		report.Update(&driver.Result{Key: r.key, At: r.at, Detector: r.detector, Model: r.model}, &r.incident)
		report.Message = r.message
		found = append(found, report)
	}
	return found, nil
}

// condition is a filter in SQL.
func condition(f *httpapi.IncidentFilter) (where string, args []any) {
	terms := []string{"severity >= ?"}
	args = append(args, f.Severity)
	add := func(term string, values ...any) { terms, args = append(terms, term), append(args, values...) }
	for _, c := range []struct{ column, glob string }{{"namespace", f.Namespace}, {"device", f.Device}, {"property", f.Property}} {
		if c.glob != "" {
			add(c.column+" GLOB ?", c.glob)
		}
	}
	if len(f.Seen) > 0 {
		globs := make([]any, len(f.Seen))
		for i, g := range f.Seen {
			globs[i] = g
		}
		add(strings.Repeat("namespace GLOB ? OR ", len(globs)-1)+"namespace GLOB ?", globs...)
	}
	if f.ID != "" {
		add("incident = ?", f.ID)
	}
	if f.Kind != "" {
		add("kind = ?", string(f.Kind))
	}
	if !f.Since.IsZero() {
		add(`("end" IS NULL OR "end" >= ?)`, f.Since.UnixNano())
	}
	if f.Open != nil {
		add(`("end" IS NULL) = ?`, *f.Open)
	}
	if a := f.After; a != nil {
		add("(start, incident) < (?, ?) OR (start, incident) = (?, ?) AND (namespace, device, property) > (?, ?, ?)",
			a.Start.UnixNano(), a.ID, a.Start.UnixNano(), a.ID, a.Namespace, a.Device, a.Property)
	}
	for i := range terms {
		terms[i] = "(" + terms[i] + ")"
	}
	return "WHERE " + strings.Join(terms, " AND "), args
}
