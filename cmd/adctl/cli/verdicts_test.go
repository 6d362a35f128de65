// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

func TestVerdicts(t *testing.T) {
	c := history.DefaultConfig()
	c.Path = filepath.Join(t.TempDir(), history.File)
	kept := history.New(c)
	server, err := httpapi.New(httpapi.Config{Address: "127.0.0.1:0"}, new(httpapi.Routes))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	verdict := func(device string, ago time.Duration) driver.Result {
		return driver.Result{
			Key: driver.Key{Namespace: "default", Device: device, Property: "brightness"}, At: now.Add(-ago), Severity: driver.Critical,
			Score: 0.99, Value: 42, Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN(), Detector: "auto", Model: "m@1", Config: "c0ffee",
		}
	}
	batch := []driver.Result{verdict("light-1", 2*time.Hour), verdict("light-1", time.Minute), verdict("door\x1b[31m", time.Minute)}
	for _, s := range []admethod.Sink{kept, server} {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Shutdown(t.Context()) }()
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args string
		code int
		rows int
	}{
		{"--history " + c.Path + " --device light-1 --since 1h", exitOK, 1},
		{"--history " + c.Path, exitOK, 3},
		{"--history " + c.Path + " --limit 2", exitOK, 2},
		{"--history " + c.Path + " --device light-* --until 1h", exitOK, 1},
		{"--url http://" + server.Addr().String(), exitOK, 2},
		{"--url http://" + server.Addr().String() + " --device light-* --since 1h", exitOK, 1},
		{"--history /nonexistent", exitUsage, 0},
		{"--since yesterday", exitUsage, 0},
		{"--severity bad", exitUsage, 0},
		{"--device [", exitUsage, 0},
		{"--output xml", exitUsage, 0},
		{"--url 127.0.0.1", exitUsage, 0},
	} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), append([]string{"verdicts"}, strings.Fields(test.args)...), nil, &out, &errs)
		if n := max(0, strings.Count(out.String(), "\n")-1); code != test.code || n != test.rows {
			t.Errorf("%s: exit %d, %d rows, want %d, %d\n%s%s", test.args, code, n, test.code, test.rows, &out, &errs)
		}
		if strings.Contains(out.String(), "\x1b") || test.rows > 0 && !strings.Contains(out.String(), "c0ffee") {
			t.Errorf("%s: %q", test.args, &out)
		}
	}
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"verdicts", "--history", c.Path, "-o", "json"}, nil, &out, &errs); code != exitOK || !strings.Contains(out.String(), `"config": "c0ffee"`) {
		t.Errorf("%d %s%s", code, &out, &errs)
	}
}

// The API of a mapper in the network: with a certificate of one's own authority, and a token.
func TestVerdictsOverTLS(t *testing.T) {
	dir := t.TempDir()
	files := certtest.New().Issue(t, dir, "127.0.0.1")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("a-token-of-good-length"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := httpapi.New(httpapi.Config{
		Address: "127.0.0.1:0", TokenFile: token, TLS: tlsfiles.Files{Cert: files.Cert, Key: files.Key},
	}, new(httpapi.Routes))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Shutdown(t.Context()) }()
	if err := server.Write(t.Context(), []driver.Result{{Key: driver.Key{Namespace: "default", Device: "light-1"}, At: time.Now(), Severity: driver.Critical}}); err != nil {
		t.Fatal(err)
	}
	url := " --url https://" + server.Addr().String()
	for _, test := range []struct {
		args string
		code int
	}{
		{url + " --ca " + files.CA + " --token " + token, exitOK},
		{url + " --ca " + files.CA, exitFailed},
		{url + " --token " + token, exitFailed},
		{url + " --ca " + token, exitUsage},
		{url + " --cert " + files.Cert, exitUsage},
		{url + " --ca " + files.CA + " --token /nonexistent", exitUsage},
	} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), append([]string{"verdicts"}, strings.Fields(test.args)...), nil, &out, &errs)
		if code != test.code || (code == exitOK) != strings.Contains(out.String(), "light-1") {
			t.Errorf("%s: exit %d, want %d\n%s%s", test.args, code, test.code, &out, &errs)
		}
	}
}
