// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	stdsql "database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/admethod/source/sql"
	_ "github.com/kubeedge/edge-anomaly/admethod/source/sql/mysql" // driver
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database is one of SQLite, in a file.
type database struct {
	*stdsql.DB
	t   *testing.T
	dsn string
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)"
	db, err := stdsql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &database{db, t, dsn}
}

func (d *database) exec(text string, args ...any) {
	d.t.Helper()
	if _, err := d.ExecContext(d.t.Context(), text, args...); err != nil {
		d.t.Fatal(err)
	}
}

// push writes a reading as a mapper of KubeEdge does.
func (d *database) push(quote, auto string, device int, at time.Time, value string) {
	d.t.Helper()
	table := strings.ReplaceAll(quote, "x", fmt.Sprintf("plant/press-%d/force", device))
	d.exec("CREATE TABLE IF NOT EXISTS " + table + " (id " + auto + ", ts  DATETIME NOT NULL,field TEXT)")
	d.exec("INSERT INTO "+table+" (ts,field) VALUES (?,?)", at.Format(time.DateTime), value)
}

func (d *database) settings(r *sourcetest.Reports, dir string, options map[string]any) source.Settings {
	all := map[string]any{"driver": "sqlite", "dsn": d.dsn, "every": "50ms"}
	maps.Copy(all, options)
	return source.Settings{Name: "test", Options: all, StateDir: dir, Report: r.Report}
}

func (d *database) source(r *sourcetest.Reports, dir string, options map[string]any) source.Source {
	d.t.Helper()
	s, err := sql.New(d.settings(r, dir, options))
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// measurements is a table of several devices, in the way of a historian: by time alone.
func measurements() map[string]any {
	return map[string]any{"tables": []any{map[string]any{
		"table": "measurements", "order": "at", "time": "at", "values": "value", "namespace": "plant", "device": "{machine}", "property": "force",
	}}}
}

var epoch = time.Now().UnixMilli()

// What a source promises, with rows that are counted up, as mappers write them, and with rows that have nothing but a time,
// which many of them share.
func TestSource(t *testing.T) {
	for name, c := range map[string]struct {
		options map[string]any
		series  int // each is read on its own where it has a table, but the test takes the last reading for all
		send    func(d *database, n int)
	}{
		"mappers": {nil, 1, func(d *database, n int) {
			d.push(`"x"`, "INTEGER PRIMARY KEY AUTOINCREMENT", 0, time.Now().UTC(), fmt.Sprint(n))
		}},
		"a table by time": {measurements(), 3, func(d *database, n int) {
			d.exec(`INSERT INTO measurements VALUES (?, ?, ?)`, epoch+int64(n/7), fmt.Sprint("press-", n%3), n)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
				d, dir := newDatabase(t), t.TempDir()
				d.exec(`CREATE TABLE measurements (at INTEGER, machine TEXT, value REAL)`)
				d.exec(`CREATE TABLE "plant/press-0/force" (id INTEGER PRIMARY KEY AUTOINCREMENT, ts  DATETIME NOT NULL,field TEXT)`)
				return &sourcetest.Origin{
					New:  func(*testing.T) source.Source { return d.source(new(sourcetest.Reports), dir, c.options) },
					Send: func(_ *testing.T, n int) { c.send(d, n) },
					// At the first start, what is there is of the past; it is handed over all the same.
					Series: c.series, Replays: true,
				}
			})
		})
	}
}

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// texts are readings as the test has them.
func texts(all []source.Reading) (out []string) {
	for _, r := range all {
		text := fmt.Sprint(r.Key, " ", r.At.Sub(began), " ", r.Value, r.Text)
		if r.Past {
			text += " past"
		}
		out = append(out, text)
	}
	return out
}

// Rows of one time that come one after the other are each read once, also where many are alike, and where they become visible
// late; so they are after a restart.
func TestEqualTimes(t *testing.T) {
	d, dir, in := newDatabase(t), t.TempDir(), new(sourcetest.Intake)
	d.exec(`CREATE TABLE measurements (at INTEGER, machine TEXT, value REAL)`)
	insert := func(at int64, value float64) {
		d.exec(`INSERT INTO measurements VALUES (?, 'press', ?)`, at, value)
	}
	second := time.Now().Unix()
	want := 0
	await := func(what string) {
		t.Helper()
		want++
		waittest.Eventually(t, what, func() bool { return len(in.Readings()) == want })
	}
	for range 2 {
		stop := sourcetest.Run(t, d.source(new(sourcetest.Reports), dir, measurements()), in)
		insert(second, 1)
		await("the first one")
		insert(second, 1)
		await("one that is alike")
		insert(second, 2)
		await("another one of that time")
		insert(second-5, 3)
		await("a late one")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	insert(second, 1)
	stop := sourcetest.Run(t, d.source(new(sourcetest.Reports), dir, measurements()), in)
	await("one that came in between")
	insert(second+1, 4)
	await("a new one")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(in.Readings()); n != want {
		t.Errorf("%d readings of %d rows: %v", n, want, texts(in.Readings()))
	}
}

// More rows of one time than are read at once, and more than are known at a time.
func TestManyRows(t *testing.T) {
	d, dir, in := newDatabase(t), t.TempDir(), new(sourcetest.Intake)
	d.exec(`CREATE TABLE measurements (at INTEGER, machine TEXT, value REAL)`)
	stop := sourcetest.Run(t, d.source(new(sourcetest.Reports), dir, measurements()), in)
	waittest.Eventually(t, "it has begun", func() bool {
		d.exec(`INSERT INTO measurements VALUES (1, 'press', 0)`)
		return len(in.Readings()) > 0
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	rows, alike := 30_000, 5000
	if testing.Short() {
		rows, alike = 4000, 2500
	}
	d.exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO measurements SELECT 1772352000 + CASE WHEN i <= ? THEN 0 ELSE i END, 'press', i FROM n`, rows, alike)
	sourcetest.Run(t, d.source(new(sourcetest.Reports), dir, measurements()), in)
	counted := func() (all []float64) { // those before may have been there at the first start
		for _, r := range in.Readings() {
			if r.Value > 0 {
				all = append(all, r.Value)
			}
		}
		return all
	}
	waittest.Eventually(t, "all are read", func() bool { return len(counted()) >= rows })
	seen := make(map[float64]bool)
	for _, v := range counted() {
		if seen[v] {
			t.Fatalf("row %v was read twice", v)
		}
		seen[v] = true
	}
	if len(seen) != rows {
		t.Errorf("%d of %d rows", len(seen), rows)
	}
}

// At the first start what is there is learned from, as far back as is asked for; tables that come later are new.
func TestHistory(t *testing.T) {
	d, dir, in := newDatabase(t), t.TempDir(), new(sourcetest.Intake)
	now := time.Now().UTC().Truncate(time.Second)
	push := func(device int, ago time.Duration, value string) {
		d.push(`"x"`, "INTEGER PRIMARY KEY AUTOINCREMENT", device, now.Add(-ago), value)
	}
	push(1, 8*time.Hour, "1")
	push(1, 2*time.Hour, "2")
	push(1, time.Hour, "3")
	start := func() func() error { return sourcetest.Run(t, d.source(new(sourcetest.Reports), dir, nil), in) }
	stop := start()
	waittest.Eventually(t, "the past", func() bool { return len(in.Readings()) == 2 })
	push(1, 0, "4")
	waittest.Eventually(t, "what is new", func() bool { return len(in.Readings()) == 3 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	push(2, time.Minute, "5")
	start()
	waittest.Eventually(t, "another table", func() bool { return len(in.Readings()) == 4 })
	var got []string
	for _, r := range in.Readings() {
		got = append(got, fmt.Sprint(r.Key, " ", r.Text, " ", r.Past))
	}
	want := "plant/press-1/force 2 true, plant/press-1/force 3 true, plant/press-1/force 4 false, plant/press-2/force 5 false"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// Columns and queries of any shape; what makes no sense is told, and keeps none of the others.
func TestTables(t *testing.T) {
	d, in, r := newDatabase(t), new(sourcetest.Intake), new(sourcetest.Reports)
	d.exec(`CREATE TABLE "odd ""name" (n INTEGER, "when" TEXT, site TEXT, temp REAL, pressure INTEGER, open BOOLEAN)`)
	wide := map[string]any{"table": `odd "name`, "order": "n", "time": "when", "values": "temp,pressure,open", "namespace": "{site}", "device": "{table}", "property": "{column}"}
	query := map[string]any{"query": `SELECT n AS id, "when" AS at, temp * 2 AS v FROM "odd ""name"`, "order": "id", "time": "at", "values": "v", "namespace": "n", "device": "twice", "property": "{column}"}
	absent := map[string]any{"table": "nowhere", "order": "id", "time": "at", "values": "v", "namespace": "n", "device": "d", "property": "p"}
	sourcetest.Run(t, d.source(r, "", map[string]any{"tables": []any{wide, query, absent}}), in)
	waittest.Eventually(t, "it has begun", func() bool { return r.Now("source test: tables") != "" })
	d.exec(`INSERT INTO "odd ""name" VALUES (1, '2026-03-01T08:00:01', 'a/b', 20.5, 3, 1), (2, '2026-03-01 08:00:02', 'c', NULL, 4, NULL),
		(3, 'soon', 'c', 1, 1, 1), (4, '2026-03-01 09:00:04.5+01:00', '', 1, 1, 1), (5, '1772352005000', 'c', NULL, 5, NULL), (6, NULL, 'c', 1, 1, 1)`)
	waittest.Eventually(t, "all are read", func() bool { return len(in.Readings()) >= 7 && r.Now("source test: tables") != "" })
	got := strings.Join(texts(in.Readings()), ", ")
	for _, want := range []string{
		`a%2Fb/odd "name/temp 1s 20.5`, `a%2Fb/odd "name/pressure 1s 3`, `a%2Fb/odd "name/open 1s`, `c/odd "name/pressure 2s 4`, `c/odd "name/pressure 5s 5`, "n/twice/v 1s 41", "n/twice/v 4.5s 2",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s: want %s", got, want)
		}
	}
	if ever, _ := r.Told("source test: rows"); !strings.Contains(ever, `"soon": want Unix time`) || !strings.Contains(ever, "{site}") {
		t.Errorf("told %q", ever)
	}
	if told := r.Now("source test: tables"); !strings.Contains(told, "table nowhere: ") {
		t.Errorf("told %q", told)
	}
}

func TestNewRefuses(t *testing.T) {
	d := newDatabase(t)
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"no driver":   {map[string]any{"driver": "oracle"}, "driver: got \"oracle\", want one that is linked: mysql, sqlite"},
		"no source":   {map[string]any{"dsn": ""}, "dsn or dsnFile"},
		"no file":     {map[string]any{"dsn": "", "dsnFile": "/nowhere"}, "dsnFile"},
		"plaintext":   {map[string]any{"driver": "mysql", "insecure": true, "tls.ca": "/nowhere"}, "insecure: got true, want no tls"},
		"TLS":         {map[string]any{"tls.ca": "/nowhere"}, "tls: nothing: the driver sqlite has it in its data source name"},
		"both":        {map[string]any{"dsnFile": "/nowhere"}, "dsn or dsnFile"},
		"a zone":      {map[string]any{"zone": "Mars"}, "zone"},
		"no tables":   {map[string]any{"tables": []any{}}, "tables: at least one"},
		"table twice": {map[string]any{"tables": []any{map[string]any{"table": "x", "query": "SELECT 1"}}}, "tables[0].table"},
		"a pattern":   {map[string]any{"tables": []any{map[string]any{"table": "{"}}}, "tables[0].table"},
		"no order":    {map[string]any{"tables": []any{map[string]any{"table": "x", "order": ""}}}, "tables[0].order"},
		"unknown":     {map[string]any{"tables": []any{map[string]any{"tabel": "x"}}}, `"table"`},
	} {
		if _, err := sql.New(d.settings(new(sourcetest.Reports), "", c.options)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// A data source name with a password stands in a file, and may change.
func TestDataSourceName(t *testing.T) {
	d, in, r := newDatabase(t), new(sourcetest.Intake), new(sourcetest.Reports)
	d.push(`"x"`, "INTEGER PRIMARY KEY AUTOINCREMENT", 1, time.Now().UTC(), "7")
	file := filepath.Join(t.TempDir(), "dsn")
	write := func(dsn string) {
		if err := os.WriteFile(file, []byte(dsn+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("file:/nowhere/at/all/db?mode=ro")
	sourcetest.Run(t, d.source(r, "", map[string]any{"dsn": "", "dsnFile": file}), in)
	waittest.Eventually(t, "it is told", func() bool { return r.Now("source test") != "" })
	write(d.dsn)
	waittest.Eventually(t, "it reads", func() bool { return len(in.Readings()) == 1 && r.Now("source test") == "" })
}
