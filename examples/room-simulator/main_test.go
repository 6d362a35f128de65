// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServesUntilItsContextEnds(t *testing.T) {
	pump := filepath.Join(t.TempDir(), "pump.csv")
	if err := os.WriteFile(pump, []byte("timestamp,value\n0,42\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--listen", "127.0.0.1:0", "--day", "1m", "--replay", "pump=" + pump}, in)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(address).ReadString('\n')
	if err != nil {
		t.Fatalf("%v; run: %v", err, <-ended)
	}
	_, url, _ := strings.Cut(strings.TrimSpace(line), ": ")

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Get(url + "/replay/pump")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "42" {
		t.Errorf("replay: %q, %v", body, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestArguments(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(bad, []byte("timestamp,value\n0,x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--replay", "pump"}, "want name=file.csv"},
		{[]string{"--replay", "pump=" + bad}, `bad.csv: line 2, column 2: "x", want a finite number`},
		{[]string{"--replay", "pump=" + bad + ".not"}, "no such file"},
		{[]string{"--day", "-1h"}, "day: -1h0m0s, want a positive duration"},
		{[]string{"--listen", "nowhere"}, "missing port"},
		{[]string{"here"}, `argument "here": want none`},
	} {
		if err := run(t.Context(), tt.args, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want %q", tt.args, err, tt.want)
		}
	}
}
