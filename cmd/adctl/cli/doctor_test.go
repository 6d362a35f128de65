// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

func TestDoctor(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	e := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config.yaml", "grpc_server: {socket_path: "+dir+"/none.sock}\ncommon: {name: room, protocol: modbus, edgecore_sock: "+e.Socket()+"}\n")
	api := httptest.NewServer(http.NotFoundHandler())
	defer api.Close()
	kubeconfig := write("kubeconfig", `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "`+api.URL+`"}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x
`)
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		output string
	}{
		{"a node", []string{"--socket", e.Socket()}, exitOK, "edgecore limiter"},
		{"as JSON", []string{"--socket", e.Socket(), "-o", "json"}, exitOK, `"check": "edgecore limiter"`},
		{"a mapper that does not run", []string{"--config", config}, exitFailed, "mapper room"},
		{"no EdgeCore", []string{"--socket", dir + "/dmi.sock"}, exitFailed, "systemctl start edgecore"},
		{"a cluster that is none", []string{"--kubeconfig", kubeconfig}, exitFailed, "api server"},
		{"the role", []string{"--cloudcore-role"}, exitOK, `rbac/aggregate-to-cloudcore: "true"`},
		{"an unknown format", []string{"-o", "xml"}, exitUsage, ""},
		{"no configuration", []string{"--config", dir + "/none.yaml"}, exitUsage, ""},
		{"no kubeconfig", []string{"--kubeconfig", dir + "/none"}, exitUsage, ""},
		{"an argument", []string{"node"}, exitUsage, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), append([]string{"doctor"}, tt.args...), nil, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.output) {
				t.Errorf("exit code %d, want %d\n%swant %q\n%s", code, tt.code, &stdout, tt.output, &stderr)
			}
			if tt.name == "as JSON" && !json.Valid(stdout.Bytes()) {
				t.Errorf("no JSON: %s", &stdout)
			}
		})
	}
}
