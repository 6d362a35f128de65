// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// adctl doctor finds on a real API server what KubeEdge's own chart leaves, and what it says mends it.
func TestDoctor(t *testing.T) {
	s := Start(t, nil)
	adctl := filepath.Join(t.TempDir(), "adctl")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", adctl, "./cmd/adctl")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(kubeconfig, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "`+s.URL()+`", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: `+adminToken+`}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`), 0o600))
	type line struct{ Check, State, Found, Remedy string }
	doctor := func(args ...string) (out []byte, err error) {
		cmd := exec.CommandContext(t.Context(), adctl, append([]string{"doctor"}, args...)...)
		cmd.Env = append(os.Environ(), "KUBECONFIG=")
		return cmd.Output()
	}
	look := func() (lines map[string]line, err error) {
		t.Helper()
		out, err := doctor("--kubeconfig", kubeconfig, "-o", "json")
		var all []line
		if jsonErr := json.Unmarshal(out, &all); jsonErr != nil {
			t.Fatalf("%v, %v\n%s", jsonErr, err, out)
		}
		lines = make(map[string]line)
		for _, l := range all {
			lines[l.Check] = l
		}
		return lines, err
	}
	want := func(lines map[string]line, check, state, found string) {
		t.Helper()
		if l := lines[check]; l.State != state || !strings.Contains(l.Found, found) {
			t.Errorf("%s: %+v, want %s with %q", check, l, state, found)
		}
	}

	// What KubeEdge's chart gives CloudCore: an aggregated role without devicestatuses.
	s.Apply(t, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: cloudcore}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {rbac/aggregate-to-cloudcore: "true"}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cloudcore}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cloudcore}
subjects: [{kind: ServiceAccount, name: cloudcore, namespace: kubeedge}]
`)
	device := func(name string, detection map[string]any) {
		t.Helper()
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": map[string]any{"name": name},
			"spec": map[string]any{
				"nodeName": "edge", "protocol": map[string]any{"protocolName": "modbus"}, "deviceModelRef": map[string]any{"name": "sensor"},
				"properties": []any{map[string]any{
					"name": "t", "visitors": map[string]any{"configData": map[string]any{"register": int64(2)}},
					"pushMethod": map[string]any{"anomalyDetection": detection},
				}},
			},
		}}
		_, err := s.Client(t, "").Resource(Devices).Namespace("default").Create(t.Context(), o, metav1.CreateOptions{})
		must(t, err)
	}
	device("dropped", map[string]any{"detector": map[string]any{"window": int64(60)}})
	device("refused", map[string]any{"detector": "nothing"})
	lines, err := look()
	if err == nil {
		t.Error("exit status 0 although something is wrong")
	}
	want(lines, "api server", "ok", "Kubernetes v")
	want(lines, "crds", "ok", "devicestatuses")
	want(lines, "crd of devices", "ok", "keeps")
	want(lines, "rights of cloudcore", "wrong", "devicestatuses")
	want(lines, "rights of the sink", "warning", "kubeedge/mapper")
	want(lines, "admission policy", "warning", "is not there")
	want(lines, "devices that edgecore drops", "wrong", "default/dropped/t")
	want(lines, "devices that are refused", "wrong", "default/refused/t")
	want(lines, "devices at the edge", "wrong", "default/dropped")

	// No controller-manager runs here, which would aggregate: the rules are bound as they are.
	role, err := doctor("--cloudcore-role")
	must(t, err)
	s.Apply(t, string(role))
	var name struct{ Metadata struct{ Name string } }
	must(t, yaml.Unmarshal(role, &name))
	s.Apply(t, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cloudcore-statuses}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: `+name.Metadata.Name+`}
subjects: [{kind: ServiceAccount, name: cloudcore, namespace: kubeedge}]
`)
	sink, err := os.ReadFile("../../admethod/sink/devicestatus/manifests/cluster.yaml")
	must(t, err)
	s.Apply(t, string(sink))
	policy, err := exec.CommandContext(t.Context(), adctl, "lint", "--policy").Output()
	must(t, err)
	s.Apply(t, string(policy))
	for _, name := range []string{"dropped", "refused"} {
		must(t, s.Client(t, "").Resource(Devices).Namespace("default").Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	within(t, time.Minute, "rights in force", func() bool {
		lines, err = look()
		return lines["rights of cloudcore"].State == "ok" && lines["rights of the sink"].State == "ok"
	})
	for check, l := range lines {
		if l.State != "ok" {
			t.Errorf("%s: %+v", check, l)
		}
	}
	if err != nil {
		t.Errorf("exit status: %v", err)
	}
}
