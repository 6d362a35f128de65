// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sql is the source that reads new rows of tables: those in which KubeEdge's mappers keep readings where a Device
// says dbMethod mysql, and any other. Import it for its side effect, and a driver of database/sql beside it, such as package
// mysql below it links: it registers itself under the name "sql".
//
//	type: sql
//	dsnFile: dsn
//	tables:
//	  - {table: measurements, order: id, time: at, values: [temp, pressure], device: "{machine}", property: "{column}"}
//
// Rows are read in order of a column, from where the last ones were. What was read of the rows at that place is known, so
// that rows of the same time that come later are found, and none is read twice; likewise those that become visible later than
// rows behind them, as of a transaction that took longer. How far it came is kept in the state directory.
package sql

import (
	"context"
	"crypto/tls"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/pkg/kept"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Name of the source.
const Name = "sql"

const (
	idle          = time.Hour        // series without rows for as long make room for others
	discoverEvery = 10 * time.Second // tables whose name fits a pattern are looked for
	saveEvery     = 10 * time.Second
	mostDSN       = 4096

	firstPause, longestPause = time.Second, time.Minute
)

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "reads new rows of tables of MySQL or MariaDB, as KubeEdge's mappers write them, and any other; InfluxDB, Redis and TDengine are not read yet",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params: func() []params.Param {
			all := params.Describe(DefaultConfig())
			for _, p := range params.Describe(DefaultTable()) {
				p.Key = "tables[]." + p.Key
				all = append(all, p)
			}
			return all
		},
	}
}

// Connector makes what connects by a data source name, over TLS where security is not nil.
type Connector func(dsn string, security *tls.Config) (driver.Connector, error)

var connectors = make(map[string]Connector)

// RegisterConnector is for the init function of a package that links a driver: with it the keys tls and insecure are for that
// driver as well; without, its data source names say all.
func RegisterConnector(driver string, c Connector) { connectors[driver] = c }

// Source reads tables.
type Source struct {
	config Config
	files  *tlsfiles.Loader // nil in plaintext, and where the driver has no connector
	zone   *time.Location
	report admethod.Report
	part   string
	kept   *kept.File

	items      []*item
	discovered time.Time
	dirty      bool
}

// item is an item of the configuration, and the tables that fit it.
type item struct {
	Table
	id     string   // in the state
	read   []string // columns
	names  *regexp.Regexp
	parts  []string // of names
	series labelled.Table
	tables map[string]*table
	begun  bool // its tables at the first start are known
}

// New makes a source. It reaches nothing before Run.
func New(s source.Settings) (*Source, error) {
	c, tables, zone, err := decode(s.Options)
	out := &Source{config: c, zone: zone, report: s.Report, part: "source " + s.Name, kept: kept.New(s.StateDir, "rows.json", saveEvery)}
	errs := []error{err}
	_, err = out.dsn()
	errs = append(errs, err)
	if connectors[c.Driver] != nil && !c.Insecure {
		out.files, err = tlsfiles.New(c.TLS, func(err error) { s.Report(out.part+": files", "the old content of the files stays in use", err) })
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range tables {
		one := &item{Table: tables[i], tables: make(map[string]*table)}
		one.read = one.columns()
		one.names, one.parts = one.pattern()
		one.id = strings.Join(append([]string{one.Table.Table, one.Query}, one.read...), " ")
		one.series = labelled.Table{Names: labelled.Names{Namespace: one.Namespace, Device: one.Device, Property: one.Property}, Most: c.Series, Idle: idle}
		out.items = append(out.items, one)
	}
	return out, nil
}

// dsn is the data source name, as the file has it now.
func (s *Source) dsn() (string, error) {
	if s.config.DSNFile == "" {
		return s.config.DSN, nil
	}
	text, err := regular.Read(s.config.DSNFile, mostDSN)
	if err != nil {
		return "", &params.Error{Key: "dsnFile", Value: s.config.DSNFile, Want: "a file that can be read: " + err.Error()}
	}
	return strings.TrimSpace(string(text)), nil
}

// Risks, for reports.
const (
	riskAway    = "no readings come; they are read once the database is back"
	riskRefused = "what is named is not watched"
	riskKept    = "after a restart it reads rows again, or begins anew"
)

// Run reads until ctx ends.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	s.report(s.part+": state", riskKept, s.load())
	defer s.save(true)
	var db *stdsql.DB
	away := func() {
		if db != nil {
			_ = db.Close()
		}
		db = nil
	}
	defer away()
	pause := wait.Backoff{First: firstPause, Longest: longestPause}
	for {
		began := time.Now()
		var err error
		if db == nil {
			db, err = s.open()
		}
		if err == nil {
			err = s.look(ctx, db, in)
		}
		if over := source.Over(ctx, err); over != nil {
			return over
		}
		s.report(s.part, riskAway, err)
		next := s.config.Every - time.Since(began)
		if err != nil {
			away() // the data source may be another by then
			next = pause.Next()
		} else {
			pause.Reset()
		}
		s.save(false)
		if err := wait.Sleep(ctx, max(next, 0)); err != nil {
			return err
		}
	}
}

func (s *Source) open() (*stdsql.DB, error) {
	dsn, err := s.dsn()
	if err != nil {
		return nil, err
	}
	var db *stdsql.DB
	if connect := connectors[s.config.Driver]; connect != nil {
		var security *tls.Config
		if s.files != nil {
			security = s.files.Client()
		}
		var c driver.Connector
		if c, err = connect(dsn, security); err == nil {
			db = stdsql.OpenDB(c)
		}
	} else {
		db, err = stdsql.Open(s.config.Driver, dsn)
	}
	if err != nil {
		return nil, fmt.Errorf("data source name: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// look reads what is new in all tables. An error is of the database as a whole; those of tables are told.
func (s *Source) look(ctx context.Context, db *stdsql.DB, in source.Intake) error {
	if err := s.discover(ctx, db); err != nil {
		return err
	}
	var told labelled.Complaint
	wrong, read := "", false
	for _, i := range s.items {
		for _, t := range i.tables {
			news, err := t.look(ctx, db, in, &told)
			read = read || news
			var ended *source.EndedError
			switch {
			case err == nil:
			case errors.As(err, &ended), ctx.Err() != nil, isAway(err):
				return err
			case wrong == "":
				wrong = fmt.Sprintf("%s: %v", t.title(), err)
			}
		}
	}
	s.dirty = s.dirty || read
	var err error
	if wrong != "" {
		err = errors.New(wrong)
	}
	s.report(s.part+": tables", riskRefused, err)
	if complaint := told.Err(); read || complaint != nil {
		s.report(s.part+": rows", riskRefused, complaint)
	}
	return nil
}

// isAway reports whether an error is of the connection, and not of what was asked.
func isAway(err error) bool {
	var of net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &of) || errors.Is(err, stdsql.ErrConnDone)
}

// discover finds the tables.
func (s *Source) discover(ctx context.Context, db *stdsql.DB) error {
	if !s.discovered.IsZero() && time.Since(s.discovered) < discoverEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	var names []string
	for _, i := range s.items {
		if i.names == nil {
			i.add(s, i.Table.Table, nil)
			continue
		}
		if names == nil {
			var err error
			if names, err = tableNames(ctx, db, s.config.Driver); err != nil {
				return fmt.Errorf("the names of tables: %w", err)
			}
		}
		there := make(map[string]bool)
		left := 0
		for _, name := range names {
			found := i.names.FindStringSubmatch(name)
			if found == nil {
				continue
			}
			if there[name] = true; i.tables[name] == nil && len(i.tables) >= s.config.Tables {
				left++
				continue
			}
			meaning := make(map[string]string)
			for j, part := range i.parts {
				meaning[part] = found[j+1]
			}
			i.add(s, name, meaning)
		}
		for name := range i.tables {
			if !there[name] {
				delete(i.tables, name)
			}
		}
		var err error
		if left > 0 {
			err = fmt.Errorf("%d tables more than the key mostTables allows, %d", left, s.config.Tables)
		}
		s.report(s.part+": "+i.Table.Table, riskRefused, err)
	}
	for _, i := range s.items {
		s.dirty = s.dirty || !i.begun
		i.begun = true
	}
	s.discovered = time.Now()
	return nil
}

// add makes a table known.
func (i *item) add(s *Source, name string, meaning map[string]string) {
	if t := i.tables[name]; t != nil {
		t.meaning = meaning // it may come from the state
		return
	}
	i.tables[name] = &table{of: i, source: s, name: name, meaning: meaning, first: !i.begun}
}
