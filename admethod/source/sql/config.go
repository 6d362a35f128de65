// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	stdsql "database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/naming"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Config of the source. Beside it stands tables, a list of [Table]; without it the tables are those of KubeEdge's mappers.
type Config struct {
	Driver   string         `param:"driver" doc:"driver of database/sql that the program links: mysql, for MySQL and MariaDB"`
	DSN      string         `param:"dsn" maxlen:"4096" doc:"data source name without a secret, as the driver has it: user@tcp(db:3306)/plant"`
	DSNFile  string         `param:"dsnFile" doc:"file with a data source name that has a password in it, instead of dsn; read again when it changes"`
	Insecure bool           `param:"insecure" doc:"connects without TLS: anyone on the way can read and change readings"`
	TLS      tlsfiles.Files `param:"tls"`
	Every    time.Duration  `param:"every" min:"50ms" max:"1h" doc:"time between two looks for new rows"`
	Overlap  time.Duration  `param:"overlap" min:"0s" max:"1h" doc:"how much later than rows behind it in order a row may become visible, and is still found"`
	History  time.Duration  `param:"history" min:"0s" max:"720h" doc:"how far back it reads at the first start, for detectors to learn from"`
	Timeout  time.Duration  `param:"timeout" min:"100ms" max:"10m" doc:"time after which the database counts as away where it does not answer"`
	Zone     string         `param:"zone" doc:"time zone of times that name none, such as Europe/Berlin; Local is that of this process"`
	Tables   int            `param:"mostTables" min:"1" max:"100000" doc:"tables that are read at one time; others are told"`
	Series   int            `param:"series" min:"1" max:"1000000" doc:"series that are read; others are refused"`
}

// Table is what is read: the tables whose name fits a pattern, or the rows of a query.
type Table struct {
	Table  string   `param:"table" maxlen:"256" doc:"its name, or a pattern with names in braces, each of which stands for a part without a slash"`
	Query  string   `param:"query" maxlen:"16384" doc:"a SELECT instead, whose columns are those of the table; without ORDER BY and LIMIT"`
	Order  string   `param:"order" maxlen:"128" doc:"column that new rows have more of than all before: a number that is counted up, or a time; rows of the same time are told apart by all that is read of them"`
	Time   string   `param:"time" maxlen:"128" doc:"column with the time of a reading: a time, or Unix time"`
	Values []string `param:"values" max:"4096" doc:"columns with readings; {column} is the name of it"`

	Namespace naming.Template `param:"namespace" doc:"namespace of a reading, made of columns in braces, {column}, {table}, and of names in the pattern"`
	Device    naming.Template `param:"device" doc:"its device, likewise"`
	Property  naming.Template `param:"property" doc:"its property, likewise"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Driver: "mysql", Every: time.Second, Overlap: 10 * time.Second, History: 6 * time.Hour, Timeout: 30 * time.Second, Zone: "UTC",
		Tables: 10000, Series: 10000,
	}
}

// DefaultTable is what KubeEdge's mappers write where a Device says dbMethod mysql: a table for each property.
func DefaultTable() Table {
	t := Table{Table: "{namespace}/{device}/{property}", Order: "id", Time: "ts", Values: []string{"field"}}
	for _, part := range []struct {
		to   *naming.Template
		text string
	}{{&t.Namespace, "{namespace}"}, {&t.Device, "{device}"}, {&t.Property, "{property}"}} {
		var err error
		if *part.to, err = naming.Parse(part.text); err != nil {
			panic(err) // of this package's own
		}
	}
	return t
}

// mostTables bounds the list of tables.
const mostTables = 256

func decode(options map[string]any) (c Config, tables []Table, zone *time.Location, err error) {
	c = DefaultConfig()
	options = maps.Clone(options)
	list, given := options["tables"]
	delete(options, "tables")
	errs := []error{source.Decode(&c, options)}
	if !given {
		tables = []Table{DefaultTable()}
	}
	errs = append(errs, params.Each("tables", list, func(settings map[string]any) error {
		t := DefaultTable()
		if _, query := settings["query"]; query {
			t.Table = ""
		}
		err := params.Decode(&t, settings)
		tables = append(tables, t)
		return errors.Join(err, t.validate())
	}))
	if zone, err = time.LoadLocation(c.Zone); err != nil {
		errs = append(errs, &params.Error{Key: "zone", Value: c.Zone, Want: "a time zone: " + err.Error()})
	}
	switch {
	case len(tables) == 0:
		errs = append(errs, &params.Error{Key: "tables", Want: "at least one, or no such key for those of KubeEdge's mappers"})
	case len(tables) > mostTables:
		errs = append(errs, &params.Error{Key: "tables", Want: fmt.Sprintf("at most %d, not %d", mostTables, len(tables))})
	}
	return c, tables, zone, errors.Join(append(errs, c.validate())...)
}

func (c *Config) validate() error {
	var errs []error
	if linked := stdsql.Drivers(); !slices.Contains(linked, c.Driver) {
		errs = append(errs, &params.Error{Key: "driver", Value: c.Driver, Want: "one that is linked: " + strings.Join(linked, ", ")})
	}
	if (c.DSN == "") == (c.DSNFile == "") {
		errs = append(errs, &params.Error{Key: "dsn", Want: "dsn or dsnFile, and not both"})
	}
	switch secured := c.TLS != (tlsfiles.Files{}); {
	case secured && c.Insecure:
		errs = append(errs, &params.Error{Key: "insecure", Value: true, Want: "no tls.* keys beside it"})
	case secured && connectors[c.Driver] == nil:
		errs = append(errs, &params.Error{Key: "tls", Want: "nothing: the driver " + c.Driver + " has it in its data source name"})
	}
	return errors.Join(errs...)
}

func (t *Table) validate() error {
	var errs []error
	if (t.Table == "") == (t.Query == "") {
		errs = append(errs, &params.Error{Key: "table", Value: t.Table, Want: "a table or a query, and not both"})
	}
	if _, err := naming.Parse(t.Table); err != nil {
		errs = append(errs, &params.Error{Key: "table", Value: t.Table, Want: "a name, or a pattern: " + err.Error()})
	}
	for _, c := range [...]struct{ key, name string }{{"order", t.Order}, {"time", t.Time}, {"values", strings.Join(t.Values, "")}} {
		if c.name == "" {
			errs = append(errs, &params.Error{Key: c.key, Want: "required"})
		}
	}
	return errors.Join(errs...)
}

// pattern is what the names of tables fit, and the names in it; nil for a table of one name.
func (t *Table) pattern() (*regexp.Regexp, []string) {
	of, err := naming.Parse(t.Table)
	if err != nil || len(of.Names()) == 0 {
		return nil, nil
	}
	return of.Pattern(), of.Names()
}

// columns are those that are read: order, time, values, and what names are made of.
func (t *Table) columns() []string {
	all := append([]string{t.Order, t.Time}, t.Values...)
	_, parts := t.pattern()
	for _, of := range []*naming.Template{&t.Namespace, &t.Device, &t.Property} {
		for _, name := range of.Names() {
			if name != "column" && name != "table" && !slices.Contains(parts, name) && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}
