// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sql_test

import (
	stdsql "database/sql"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/admethod/source/sql"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// mariaDB is Debian's server, without users.
type mariaDB struct {
	*database
	address string
	start   func() *proctest.Process
	process *proctest.Process
}

func newMariaDB(t *testing.T, more ...string) *mariaDB {
	t.Helper()
	if testing.Short() {
		t.Skip("starts MariaDB")
	}
	server, install := proctest.Program(t, "mariadbd"), proctest.Program(t, "mariadb-install-db")
	dir := t.TempDir()
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
	if out, err := exec.CommandContext(t.Context(), install, "--no-defaults", "--datadir="+data, "--user=root", "--skip-test-db").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := &mariaDB{address: proctest.FreeAddress(t)}
	host, port, err := net.SplitHostPort(m.address)
	if err != nil {
		t.Fatal(err)
	}
	m.start = func() *proctest.Process {
		return proctest.Start(t, server, append([]string{"--no-defaults", "--datadir=" + data, "--socket=" + socket, "--bind-address=" + host, "--port=" + port, "--user=root",
			"--skip-grant-tables", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=2", "--pid-file=" + filepath.Join(dir, "pid")}, more...)...)
	}
	m.process = m.start()
	db, err := stdsql.Open("mysql", "mapper@tcp("+m.address+")/")
	if err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it answers", func() bool {
		_, err := db.ExecContext(t.Context(), "CREATE DATABASE IF NOT EXISTS kubeedge")
		return err == nil
	})
	_ = db.Close()
	if db, err = stdsql.Open("mysql", "mapper@tcp("+m.address+")/kubeedge"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	m.database = &database{db, t, ""}
	return m
}

func (m *mariaDB) source(t *testing.T, address, dir string, r *sourcetest.Reports, options map[string]any, dsn string) source.Source {
	t.Helper()
	s := m.settings(r, dir, options)
	s.Options["driver"], s.Options["dsn"] = "mysql", "mapper@tcp("+address+")/kubeedge"+dsn
	if s.Options["tls.ca"] == nil {
		s.Options["insecure"] = true
	}
	out, err := sql.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const auto = "INT AUTO_INCREMENT PRIMARY KEY"

// What a source promises, with what mappers of KubeEdge write into a real server.
func TestRealMariaDB(t *testing.T) {
	m := newMariaDB(t)
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		const table = "`plant/press-0/force`" // one alone, as the test takes the last reading for all; new tables are looked for every ten seconds
		m.exec("DROP TABLE IF EXISTS " + table)
		m.exec("CREATE TABLE " + table + " (id " + auto + ", ts  DATETIME NOT NULL,field TEXT)")
		proxy, dir := faultproxy.New(t, m.address), t.TempDir()
		return &sourcetest.Origin{
			New: func(t *testing.T) source.Source {
				return m.source(t, proxy.Addr(), dir, new(sourcetest.Reports), nil, "")
			},
			Send:   func(_ *testing.T, n int) { m.push("`x`", auto, 0, time.Now().UTC(), fmt.Sprint(n)) },
			Cut:    func(*testing.T) { proxy.Cut() },
			Within: 30 * time.Second, Replays: true,
		}
	})
}

// TLS is the default, with authorities of one's own.
func TestMariaDBOverTLS(t *testing.T) {
	files := certtest.New().Issue(t, t.TempDir(), "127.0.0.1")
	m := newMariaDB(t, "--ssl-cert="+files.Cert, "--ssl-key="+files.Key)
	for name, c := range map[string]struct {
		options map[string]any
		dsn     string
		want    string
	}{
		"its authority":     {map[string]any{"tls.ca": files.CA}, "", ""},
		"another authority": {map[string]any{"tls.ca": certtest.New().Issue(t, t.TempDir(), "127.0.0.1").CA}, "", "unknown authority"},
		"in the name":       {map[string]any{"tls.ca": files.CA}, "?tls=skip-verify", "want the keys tls or insecure"},
	} {
		r := new(sourcetest.Reports)
		r.Report("source test", "", fmt.Errorf("not yet"))
		sourcetest.Run(t, m.source(t, m.address, "", r, c.options, c.dsn), new(sourcetest.Intake))
		waittest.Eventually(t, name, func() bool {
			now := r.Now("source test")
			return c.want == "" && now == "" || c.want != "" && strings.Contains(now, c.want)
		})
	}
}

// Rows by time alone, of every type of number, as a driver brings them that makes times of them, and one that does not; over
// restarts of the server.
func TestMariaDBRestarts(t *testing.T) {
	m := newMariaDB(t)
	m.exec("CREATE TABLE measurements (at DATETIME(3), machine VARCHAR(20), value FLOAT, exact DECIMAL(10,2), open BOOLEAN, count BIGINT UNSIGNED)")
	options := map[string]any{"overlap": "2s", "tables": []any{map[string]any{
		"table": "measurements", "order": "at", "time": "at", "values": "value,exact,open,count", "namespace": "plant", "device": "{machine}", "property": "{column}",
	}}}
	plain, timed := new(sourcetest.Intake), new(sourcetest.Intake)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	start := func() (stop func()) {
		one := sourcetest.Run(t, m.source(t, m.address, dirs[0], new(sourcetest.Reports), options, ""), plain)
		two := sourcetest.Run(t, m.source(t, m.address, dirs[1], new(sourcetest.Reports), options, "?parseTime=true"), timed)
		return func() {
			if err := one(); err != nil {
				t.Error(err)
			}
			if err := two(); err != nil {
				t.Error(err)
			}
		}
	}
	stop := start()
	began, n := time.Now().UTC().Truncate(time.Second), 0
	for round := range 4 {
		for range 25 {
			n++
			waittest.Eventually(t, "it is written", func() bool {
				_, err := m.ExecContext(t.Context(), "INSERT INTO measurements VALUES (?, 'press', ?, ?, ?, ?)",
					began.Add(time.Duration(n/10)*time.Millisecond).Format("2006-01-02 15:04:05.000"), float64(n)+0.25, n, n%2 == 0, n)
				return err == nil
			})
		}
		if round%2 == 0 {
			m.process.Stop()
			m.process = m.start()
		} else {
			stop()
			stop = start()
		}
	}
	for name, in := range map[string]*sourcetest.Intake{"as text": plain, "as times": timed} {
		waittest.Eventually(t, "all are read "+name, func() bool { return len(in.Readings()) >= 4*n })
		seen := make(map[string]int)
		for _, r := range in.Readings() {
			seen[fmt.Sprint(r.Key.Property, " ", r.At.Sub(began), " ", r.Value, r.Text)]++
		}
		for i := 1; i <= n; i++ {
			at := time.Duration(i/10) * time.Millisecond
			for _, want := range []string{fmt.Sprint("value ", at, " ", float64(i)+0.25), fmt.Sprintf("exact %v 0%d.00", at, i), fmt.Sprint("count ", at, " ", i)} {
				if seen[want] != 1 {
					t.Errorf("%s: %q %d times", name, want, seen[want])
				}
			}
		}
		if t.Failed() {
			t.Logf("%v", texts(in.Readings()))
			return
		}
	}
}
