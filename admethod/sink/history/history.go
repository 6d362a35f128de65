// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history is the sink that keeps incidents and verdicts in a local SQLite file, bounded by rows and age, so that
// what was judged by which detector, model and configuration on which reading can be told later. Import it for its side effect:
// it registers itself under the name "history". The file may be read while it is written, see [Query] and [Incidents].
package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the sink.
const Name = "history"

// File is the name of the history in the directory for state.
const File = "verdicts.db"

// Config of the sink.
type Config struct {
	Path string        `param:"path" doc:"file of the history; verdicts.db in the state directory where unset"`
	Rows int           `param:"rows" min:"100" max:"100000000" doc:"verdicts kept at most, and incidents likewise; a batch, of 256 at most, may come on top for a moment"`
	Age  time.Duration `param:"age" min:"1m" doc:"what was written longer ago is dropped: verdicts, and incidents that have ended; it goes by the time for which mappers had the file open, not by the wall clock"`
}

// DefaultConfig keeps some 50 MB at most.
func DefaultConfig() Config { return Config{Rows: 100_000, Age: 30 * 24 * time.Hour} }

func init() { admethod.RegisterSink(Factory()) }

// Factory describes the sink.
func Factory() admethod.SinkFactory {
	return admethod.SinkFactory{
		Name:    Name,
		Summary: "keeps incidents and verdicts in a bounded local file, for adctl verdicts",
		New: func(s admethod.SinkSettings) (admethod.Sink, error) {
			config := DefaultConfig()
			if err := params.Decode(&config, s.Options); err != nil {
				return nil, err
			}
			if config.Path == "" {
				if s.StateDir == "" {
					return nil, errors.New("history: want path, as no state directory is set")
				}
				config.Path = filepath.Join(s.StateDir, File)
			}
			sink := New(config)
			sink.routes = httpapi.Default
			return sink, nil
		},
		Params: func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

const schema = `
CREATE TABLE IF NOT EXISTS verdicts (
	id INTEGER PRIMARY KEY, at INTEGER NOT NULL, namespace TEXT NOT NULL, device TEXT NOT NULL, property TEXT NOT NULL,
	severity INTEGER NOT NULL, verdict TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS verdicts_at ON verdicts (at);
CREATE INDEX IF NOT EXISTS verdicts_device ON verdicts (device, at);`

// After a twentieth of the rows that are kept, but after so many at the latest, what is too old or too much is dropped.
const pruneAfter = 4096

// What one verdict may take: detectors elsewhere may have a lot to say.
const (
	mostMessage = 1024 // bytes
	mostCauses  = 16
)

// Sink writes the history. It is made by [New].
type Sink struct {
	config Config
	now    func() time.Time
	routes *httpapi.Routes // that show the incidents; nil is none
	remove func()          // takes them back
	db     *sql.DB         // nil while the file cannot be opened
	book   *incidents.Book // nil: what is open is to be read from the file first
	gone   []change        // to be written
	added  int             // rows since the last prune
	closed bool

	// For how long mappers had the file open when this one opened it, and when that was. Retention goes by that: a wall
	// clock that is a year ahead drops nothing.
	base   time.Duration
	opened time.Time
}

// New makes a sink; the file is opened by Start.
func New(config Config) *Sink { return &Sink{config: config, now: time.Now} }

// Start opens the file. One that is damaged is set aside and begun anew; one that cannot be opened is tried again with
// each batch.
func (s *Sink) Start(ctx context.Context) error {
	if s.routes != nil {
		s.remove = s.routes.Past(func(ctx context.Context, f httpapi.IncidentFilter) ([]httpapi.Incident, error) {
			found, err := Incidents(ctx, s.config.Path, f)
			if errors.Is(err, os.ErrNotExist) {
				return nil, nil
			}
			return found, err
		})
	}
	if err := s.ready(ctx); err != nil {
		logs.Errorf("history: verdicts wait until the file can be opened: %v", err)
	}
	return nil
}

func (s *Sink) ready(ctx context.Context) error {
	if s.db != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.config.Path), 0o700); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	err := s.open(ctx)
	if !damaged(err) {
		return err
	}
	return s.renew(ctx, err)
}

// renew sets a damaged file aside and opens a new one.
func (s *Sink) renew(ctx context.Context, cause error) error {
	if s.db != nil {
		_ = s.db.Close()
		s.db = nil
	}
	logs.Errorf("history: %s is damaged and set aside: %v", s.config.Path, cause)
	if err := os.Rename(s.config.Path, s.config.Path+".damaged"); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	for _, ending := range []string{"-wal", "-shm"} {
		_ = os.Remove(s.config.Path + ending)
	}
	return s.open(ctx)
}

// pragmas of the writer. A small cache saves memory, and pages that are damaged are met sooner.
const pragmas = "_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=journal_size_limit(4194304)&_pragma=cache_size(-256)"

func (s *Sink) open(ctx context.Context) error {
	db, err := sql.Open("sqlite", dsn(s.config.Path, "rwc", pragmas))
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	db.SetMaxOpenConns(1)
	var check string
	if err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&check); err == nil && check != "ok" {
		err = fmt.Errorf("%w: %s", errDamaged, check)
	}
	if err == nil {
		_, err = db.ExecContext(ctx, schema+incidentSchema)
	}
	if err == nil {
		err = s.wind(ctx, db)
	}
	if err == nil {
		err = s.recall(ctx, db)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("history: %w", err), db.Close())
	}
	s.db = db
	return nil
}

var errDamaged = errors.New("database disk image is malformed")

// damaged reports whether SQLite says that the file is none of its own (26) or malformed (11).
func damaged(err error) bool {
	var code interface{ Code() int }
	return errors.Is(err, errDamaged) || errors.As(err, &code) && (code.Code()&0xff == 11 || code.Code()&0xff == 26)
}

func dsn(path, mode, pragmas string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=" + mode + "&_pragma=busy_timeout(5000)"}
	if pragmas != "" {
		u.RawQuery += "&" + pragmas
	}
	return u.String()
}

// Write adds a batch in one transaction. While the disk is full, it fails and is tried again.
func (s *Sink) Write(ctx context.Context, batch []driver.Result) error {
	if s.closed {
		return admethod.Permanent(fmt.Errorf("history: %w", admethod.ErrClosed))
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	err := s.insert(ctx, batch)
	if damaged(err) {
		if err = s.renew(ctx, err); err == nil {
			err = s.insert(ctx, batch)
		}
	}
	if err != nil {
		return err
	}
	if s.added += len(batch); s.added >= min(s.config.Rows/20, pruneAfter) {
		s.added = 0
		return s.prune(ctx)
	}
	return nil
}

func (s *Sink) insert(ctx context.Context, batch []driver.Result) (err error) {
	if s.book == nil {
		if err := s.recall(ctx, s.db); err != nil {
			return fmt.Errorf("history: %w", err)
		}
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("history: %w", errors.Join(err, tx.Rollback()))
			s.book = nil // it knows what is not written
		}
	}()
	clock := int64(s.clock())
	if _, err := tx.ExecContext(ctx, setClock, clock); err != nil {
		return err
	}
	if err := put(ctx, tx, s.gone, clock); err != nil {
		return err
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO verdicts (at, namespace, device, property, severity, verdict, written) VALUES (?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for i := range batch {
		r := &batch[i]
		v := httpapi.FromResult(r)
		v.Message = shorten(v.Message)
		v.Causes = v.Causes[:min(len(v.Causes), mostCauses)]
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := stmt.ExecContext(ctx, r.At.UnixNano(), v.Namespace, v.Device, v.Property, r.Severity, string(text), clock); err != nil {
			return err
		}
	}
	if err := put(ctx, tx, s.changes(batch), clock); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.gone = nil
	return nil
}

func shorten(message string) string {
	if len(message) > mostMessage {
		return strings.ToValidUTF8(message[:mostMessage], "") + "…"
	}
	return message
}

// prune drops what is too old or too much. The pages that become free are used again, so the file does not grow.
func (s *Sink) prune(ctx context.Context) error {
	old := int64(s.clock() - s.config.Age)
	var err error
	for query, arg := range map[string]any{
		// They were written in the order of their ids: the first one that is young enough ends the search.
		"DELETE FROM verdicts WHERE id < (SELECT id FROM verdicts WHERE written >= ? ORDER BY id LIMIT 1)": old,
		"DELETE FROM verdicts WHERE id <= (SELECT max(id) FROM verdicts) - ?":                              s.config.Rows,
		`DELETE FROM incidents WHERE "end" IS NOT NULL AND written < ?`:                                    old,
		"DELETE FROM incidents WHERE rowid <= (SELECT max(rowid) FROM incidents) - ?":                      s.config.Rows,
	} {
		if err == nil {
			_, err = s.db.ExecContext(ctx, query, arg)
		}
	}
	if damaged(err) {
		return s.renew(ctx, err)
	} else if err != nil {
		logs.Warningf("history: dropping what is old: %v", err) // what was added stays; the next batches try again
	}
	return nil
}

// Shutdown closes the file.
func (s *Sink) Shutdown(ctx context.Context) (err error) {
	s.closed = true
	if s.remove != nil {
		s.remove()
		s.remove = nil
	}
	if s.db == nil {
		return nil
	}
	if len(s.gone) > 0 {
		err = s.insert(ctx, nil)
	}
	_, _ = s.db.ExecContext(ctx, setClock, int64(s.clock())) // without it, what is kept stays a little younger
	err = errors.Join(err, s.db.Close())
	s.db = nil
	return err
}

// Filter narrows a query. Globs and times that are empty match all.
type Filter struct {
	Namespace, Device, Property string          // globs
	Severity                    driver.Severity // that or worse
	Since, Until                time.Time       // of the reading
	Limit                       int             // the latest so many; 0 means 1000
}

// openFile opens a file of history for reading.
func openFile(path string) (*sql.DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, "ro", ""))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, nil
}

// Query reads verdicts from a file of history, oldest first. The file may be in use by a mapper.
func Query(ctx context.Context, path string, f Filter) (found []httpapi.Verdict, err error) {
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	where, args := []string{"severity >= ?"}, []any{f.Severity}
	for column, glob := range map[string]string{"namespace": f.Namespace, "device": f.Device, "property": f.Property} {
		if glob != "" {
			where, args = append(where, column+" GLOB ?"), append(args, glob)
		}
	}
	if !f.Since.IsZero() {
		where, args = append(where, "at >= ?"), append(args, f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		where, args = append(where, "at < ?"), append(args, f.Until.UnixNano())
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	query := "SELECT verdict FROM (SELECT at, id, verdict FROM verdicts WHERE " + strings.Join(where, " AND ") + " ORDER BY at DESC, id DESC LIMIT ?) ORDER BY at, id"
	rows, err := db.QueryContext(ctx, query, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		var v httpapi.Verdict
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		found = append(found, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}
