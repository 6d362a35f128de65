// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/doctor"
)

// apiServer answers as an API server does what the doctor asks; test/apiserver has the real one.
type apiServer struct {
	objects   map[string][]any // by resource
	resources []string         // of devices.kubeedge.io
	crd       string
	may       map[string]bool // user and verb
	policy    bool
	forbidden string // path prefix
	date      time.Time
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.date.IsZero() {
		w.Header().Set("Date", a.date.UTC().Format(http.TimeFormat))
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	fail := func(code int) {
		w.WriteHeader(code)
		answer(map[string]any{"kind": "Status", "message": http.StatusText(code) + " " + r.URL.Path, "code": code})
	}
	const devices = "/apis/devices.kubeedge.io/v1beta1"
	switch resource, listed := strings.CutPrefix(r.URL.Path, devices+"/"); {
	case a.forbidden != "" && strings.HasPrefix(r.URL.Path, a.forbidden):
		fail(http.StatusForbidden)
	case r.URL.Path == "/version":
		answer(map[string]any{"gitVersion": "v1.35.4"})
	case r.URL.Path == devices && a.resources == nil:
		fail(http.StatusNotFound)
	case r.URL.Path == devices:
		var list []any
		for _, name := range a.resources {
			list = append(list, map[string]any{"name": name})
		}
		answer(map[string]any{"resources": list})
	case strings.HasPrefix(r.URL.Path, "/apis/apiextensions.k8s.io/"):
		_, _ = w.Write([]byte(a.crd))
	case strings.HasSuffix(r.URL.Path, "/subjectaccessreviews"):
		var review struct {
			Spec struct {
				User               string
				ResourceAttributes struct{ Verb, Resource string }
			}
		}
		_ = json.NewDecoder(r.Body).Decode(&review)
		answer(map[string]any{"status": map[string]any{"allowed": a.may[review.Spec.User+" "+review.Spec.ResourceAttributes.Verb]}})
	case strings.Contains(r.URL.Path, "/validatingadmissionpolic"):
		if !a.policy {
			fail(http.StatusNotFound)
			return
		}
		answer(map[string]any{})
	case listed: // two a page
		all := a.objects[resource]
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to, next := min(from+2, len(all)), ""
		if to < len(all) {
			next = strconv.Itoa(to)
		}
		answer(map[string]any{"metadata": map[string]any{"continue": next}, "items": all[from:to]})
	default:
		fail(http.StatusNotFound)
	}
}

func (a *apiServer) add(t *testing.T, resource, manifest string) {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(manifest), &o); err != nil {
		t.Fatal(err)
	}
	if a.objects == nil {
		a.objects = make(map[string][]any)
	}
	a.objects[resource] = append(a.objects[resource], o)
}

func deviceYAML(name, detection string) string {
	return `{metadata: {name: ` + name + `, namespace: default}, spec: {nodeName: edge, protocol: {protocolName: modbus},
  deviceModelRef: {name: sensor}, properties: [{name: temperature, reportCycle: 1000, visitors: {configData: {register: 2}},
  pushMethod: {anomalyDetection: ` + detection + `}}]}}`
}

func statusYAML(name, status string) string {
	return `{metadata: {name: ` + name + `, namespace: default}, status: ` + status + `}`
}

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// crdWith is the CRD of Devices with the schema of a property.
func crdWith(property string) string {
	return `{"spec":{"versions":[{"name":"v1beta1","schema":{"openAPIV3Schema":{"properties":{"spec":{"properties":{"properties":{"items":{"properties":{` +
		property + `}}}}}}}}}]}}`
}

func healthyCluster(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{
		resources: []string{"devices", "devicemodels", "devicestatuses"}, crd: crdWith(`"pushMethod":{"properties":{"anomalyDetection":{"type":"object"}}}`), policy: true, date: now,
		may: map[string]bool{"system:serviceaccount:kubeedge:mapper patch": true},
	}
	for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
		a.may["system:serviceaccount:kubeedge:cloudcore "+verb] = true
	}
	a.add(t, "devicemodels", `{metadata: {name: sensor, namespace: default}, spec: {protocol: modbus, properties: [{name: temperature, type: DOUBLE, accessMode: ReadOnly}]}}`)
	for _, name := range []string{"a", "b", "c"} {
		a.add(t, "devices", deviceYAML(name, "{detector: auto}"))
		a.add(t, "devicestatuses", statusYAML(name, `{state: ok, extensions: {anomaly-detector: {lastUpdated: "2026-11-29T11:58:00Z"}}}`))
	}
	return a
}

func look(t *testing.T, a *apiServer) []doctor.Line {
	t.Helper()
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	return doctor.CheckCluster(t.Context(), doctor.Cluster{
		Config: &rest.Config{Host: s.URL}, CloudCore: "kubeedge/cloudcore", Mapper: "kubeedge/mapper", Extension: "anomaly-detector", Now: now,
	})
}

func TestClusterWell(t *testing.T) {
	lines := look(t, healthyCluster(t))
	for _, l := range lines {
		if l.State != doctor.OK {
			t.Errorf("%+v", l)
		}
	}
	if len(lines) != 11 {
		t.Errorf("%d lines: %+v", len(lines), lines)
	}
	wantLine(t, lines, "age of verdicts", doctor.OK, "3 devices")
}

func TestClusterIll(t *testing.T) {
	for _, tt := range []struct {
		name     string
		harm     func(a *apiServer)
		check    string
		state    doctor.State
		found    string
		restWell bool
	}{
		{"no crds", func(a *apiServer) { a.resources = nil }, "crds", doctor.Wrong, "devices, devicemodels, devicestatuses", true},
		{"no devicestatuses", func(a *apiServer) { a.resources = a.resources[:2] }, "crds", doctor.Wrong, "has no devicestatuses", true},
		{"an old crd", func(a *apiServer) { a.crd = crdWith(`"pushMethod":{"properties":{"mqtt":{}}}`) }, "crd of devices", doctor.Wrong, "pruned", true},
		{"KubeEdge's own chart", func(a *apiServer) {
			for key := range a.may {
				if strings.Contains(key, "cloudcore") {
					delete(a.may, key)
				}
			}
		}, "rights of cloudcore", doctor.Wrong, "may not get, list, watch, create, patch, delete", true},
		{"a sink without rights", func(a *apiServer) { delete(a.may, "system:serviceaccount:kubeedge:mapper patch") }, "rights of the sink", doctor.Warning, "may not patch", true},
		{"no policy", func(a *apiServer) { a.policy = false }, "admission policy", doctor.Warning, "is not there", true},
		{"another clock", func(a *apiServer) { a.date = now.Add(-time.Hour) }, "clock of the api server", doctor.Warning, "1h0m0s", true},
		{"no rights to look", func(a *apiServer) { a.forbidden = "/apis/authorization.k8s.io" }, "rights of cloudcore", doctor.Unknown, "Forbidden", false},
		{"no rights on statuses", func(a *apiServer) { a.forbidden = "/apis/devices.kubeedge.io/v1beta1/devicestatuses" }, "devices at the edge", doctor.Unknown, "Forbidden", false},
		{"a Device that EdgeCore drops", func(a *apiServer) { a.add(t, "devices", deviceYAML("d", "{sinks: [log]}")) }, "devices that edgecore drops", doctor.Wrong, "default/d/temperature", false},
		{"a Device with a null", func(a *apiServer) { a.add(t, "devices", deviceYAML("d", "{detector: null}")) }, "devices that edgecore drops", doctor.Wrong, "null", false},
		{"a Device that is refused", func(a *apiServer) { a.add(t, "devices", deviceYAML("d", "{detector: nothing}")) }, "devices that are refused", doctor.Wrong, `"nothing"`, false},
		{"a key that is no Device's", func(a *apiServer) {
			a.add(t, "devices", deviceYAML("d", `{adMethodName: grpc, grpc.tls.key: /etc/passwd}`))
		}, "devices that are refused", doctor.Wrong, "grpc.tls.key", false},
		{"a Device without status", func(a *apiServer) { a.add(t, "devices", deviceYAML("d", "{detector: auto}")) }, "devices at the edge", doctor.Wrong, "default/d", true},
		{"a Device of which nothing is heard", func(a *apiServer) {
			a.add(t, "devices", deviceYAML("d", "{detector: auto}"))
			a.add(t, "devicestatuses", statusYAML("d", "{}"))
		}, "devices at the edge", doctor.Warning, "default/d", true},
		{"old verdicts", func(a *apiServer) {
			a.add(t, "devices", deviceYAML("d", "{detector: auto}"))
			a.add(t, "devicestatuses", statusYAML("d", `{state: ok, extensions: {anomaly-detector: {lastUpdated: "2026-11-29T11:00:00Z"}}}`))
		}, "age of verdicts", doctor.Warning, "default/d (1h0m0s)", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := healthyCluster(t)
			tt.harm(a)
			lines := look(t, a)
			wantLine(t, lines, tt.check, tt.state, tt.found)
			for _, l := range lines {
				if tt.restWell && l.Check != tt.check && l.State != doctor.OK {
					t.Errorf("beside it: %+v", l)
				}
			}
		})
	}
	lines := doctor.CheckCluster(t.Context(), doctor.Cluster{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Now: now})
	if len(lines) != 1 || lines[0].State != doctor.Wrong || lines[0].Remedy == "" {
		t.Errorf("no API server: %+v", lines)
	}
}
