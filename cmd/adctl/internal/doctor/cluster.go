// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/lint"
)

const devicesAPI = "/apis/devices.kubeedge.io/v1beta1"

// CheckCluster looks at a cluster. Without the rights to look a line says so and the others go on.
func CheckCluster(ctx context.Context, c Cluster) []Line {
	client, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return []Line{{Check: "api server", State: Wrong, Found: err.Error(), Remedy: "give another --kubeconfig or --context"}}
	}
	defer client.CloseIdleConnections()
	s := &server{client: client, url: c.Config.Host}
	if !strings.Contains(s.url, "://") {
		s.url = "https://" + s.url
	}
	lines := s.reach(ctx, c.Now)
	if lines[0].State == Wrong {
		return lines
	}
	lines = append(lines, s.resources(ctx), s.schema(ctx), s.cloudCore(ctx, c.CloudCore), s.sink(ctx, c.Mapper), s.policy(ctx))
	return append(lines, s.devices(ctx, c)...)
}

// server is an API server.
type server struct {
	client *http.Client
	url    string
}

// answerError is an answer that is no success.
type answerError struct {
	code    int
	message string
}

func (e *answerError) Error() string { return fmt.Sprintf("%s (%d)", e.message, e.code) }

func codeOf(err error) int {
	var a *answerError
	if errors.As(err, &a) {
		return a.code
	}
	return 0
}

// do asks, and decodes the answer into out.
func (s *server) do(ctx context.Context, method, path string, body, out any) (header http.Header, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(s.url, "/")+path, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 256 << 20 // of one page
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var status struct{ Message string }
		if json.Unmarshal(raw, &status) != nil || status.Message == "" {
			status.Message = resp.Status
		}
		return nil, &answerError{resp.StatusCode, status.Message}
	}
	if out == nil {
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(raw, out)
}

func (s *server) get(ctx context.Context, path string, out any) error {
	_, err := s.do(ctx, http.MethodGet, path, nil, out)
	return err
}

// cannot is the line of a check that could not be made.
func cannot(check string, err error) Line {
	l := Line{Check: check, State: Unknown, Found: err.Error()}
	if codeOf(err) == http.StatusForbidden || codeOf(err) == http.StatusUnauthorized {
		l.Remedy = "run adctl doctor with the rights of a cluster administrator"
	}
	return l
}

const longestSkew = 2 * time.Second

// reach asks for the version, and looks at both clocks.
func (s *server) reach(ctx context.Context, now time.Time) []Line {
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	header, err := s.do(ctx, http.MethodGet, "/version", nil, &version)
	if err != nil {
		return []Line{{Check: "api server", State: Wrong, Found: s.url + " does not answer: " + err.Error(), Remedy: "kubectl cluster-info; else give --kubeconfig and --context"}}
	}
	lines := []Line{{Check: "api server", State: OK, Found: s.url + " is Kubernetes " + version.GitVersion}}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		l := Line{Check: "clock of the api server", State: OK, Found: "agrees with this one"}
		// The header has whole seconds.
		if skew := now.Sub(date).Round(time.Second); skew > longestSkew || -skew > longestSkew {
			l.State, l.Found, l.Remedy = Warning, fmt.Sprintf("differs by %v from this one", skew.Abs()), "sudo timedatectl set-ntp true, where the clock is wrong"
		}
		lines = append(lines, l)
	}
	return lines
}

const crds = "kubectl apply -f https://raw.githubusercontent.com/kubeedge/kubeedge/v1.23.1/build/crds/devices/devices_v1beta1_device.yaml" +
	" -f https://raw.githubusercontent.com/kubeedge/kubeedge/v1.23.1/build/crds/devices/devices_v1beta1_devicemodel.yaml" +
	" -f https://raw.githubusercontent.com/kubeedge/kubeedge/v1.23.1/build/crds/devices/devices_v1beta1_devicestatus.yaml"

func (s *server) resources(ctx context.Context) Line {
	l := Line{Check: "crds", State: OK, Found: "devices, devicemodels and devicestatuses of devices.kubeedge.io/v1beta1"}
	var list struct{ Resources []struct{ Name string } }
	err := s.get(ctx, devicesAPI, &list)
	if err != nil && codeOf(err) != http.StatusNotFound {
		return cannot(l.Check, err)
	}
	var missing []string
	for _, name := range []string{"devices", "devicemodels", "devicestatuses"} {
		if !slices.ContainsFunc(list.Resources, func(r struct{ Name string }) bool { return r.Name == name }) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		l.State, l.Found, l.Remedy = Wrong, "devices.kubeedge.io/v1beta1 has no "+strings.Join(missing, ", "), crds
	}
	return l
}

// schema looks whether the API server keeps anomalyDetection, or prunes it.
func (s *server) schema(ctx context.Context) Line {
	l := Line{Check: "crd of devices", State: OK, Found: "keeps pushMethod.anomalyDetection"}
	var crd map[string]any
	if err := s.get(ctx, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/devices.devices.kubeedge.io", &crd); err != nil {
		return cannot(l.Check, err)
	}
	versions, _ := field(crd, "spec", "versions").([]any)
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok && text(version, "name") == "v1beta1" && keeps(version) {
			return l
		}
	}
	l.State, l.Found, l.Remedy = Wrong, "is older than v1.23: pushMethod.anomalyDetection is pruned from each Device", crds
	return l
}

// keeps says whether the schema of a version keeps anomalyDetection, by itself or with what it is part of.
func keeps(version map[string]any) bool {
	schema, _ := field(version, "schema", "openAPIV3Schema").(map[string]any)
	for _, path := range [][]string{
		{"properties", "spec"}, {"properties", "properties"}, {"items"}, {"properties", "pushMethod"}, {"properties", "anomalyDetection"},
	} {
		if keep, _ := schema["x-kubernetes-preserve-unknown-fields"].(bool); keep {
			return true
		}
		schema, _ = field(schema, path...).(map[string]any)
	}
	return schema != nil
}

// may asks whether a service account, namespace/name, has rights, and returns the verbs that it lacks.
func (s *server) may(ctx context.Context, account string, verbs ...string) (lacks []string, err error) {
	namespace, name, _ := strings.Cut(account, "/")
	for _, verb := range verbs {
		review := map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
			"spec": map[string]any{
				"user":   "system:serviceaccount:" + namespace + ":" + name,
				"groups": []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
				"resourceAttributes": map[string]any{
					"group": "devices.kubeedge.io", "resource": "devicestatuses", "verb": verb,
				},
			},
		}
		var answer struct{ Status struct{ Allowed bool } }
		if _, err := s.do(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, &answer); err != nil {
			return nil, err
		}
		if !answer.Status.Allowed {
			lacks = append(lacks, verb)
		}
	}
	return lacks, nil
}

func (s *server) cloudCore(ctx context.Context, account string) Line {
	l := Line{Check: "rights of cloudcore", State: OK, Found: account + " may do what it must with devicestatuses"}
	lacks, err := s.may(ctx, account, "get", "list", "watch", "create", "patch", "delete")
	switch {
	case err != nil:
		return cannot(l.Check, err)
	case len(lacks) > 0:
		l.State = Wrong
		l.Found = fmt.Sprintf("%s may not %s devicestatuses: new Devices do not reach the edge, states are dropped, MetaServer answers 403", account, strings.Join(lacks, ", "))
		l.Remedy = "adctl doctor --cloudcore-role | kubectl apply -f - && kubectl -n kubeedge rollout restart deployment cloudcore"
	}
	return l
}

func (s *server) sink(ctx context.Context, account string) Line {
	l := Line{Check: "rights of the sink", State: OK, Found: account + " may patch devicestatuses"}
	lacks, err := s.may(ctx, account, "patch")
	switch {
	case err != nil:
		return cannot(l.Check, err)
	case len(lacks) > 0:
		l.State, l.Found = Warning, account+" may not patch devicestatuses, which the sink devicestatus needs"
		namespace, _, _ := strings.Cut(account, "/")
		l.Remedy = fmt.Sprintf("kubectl create clusterrole edge-anomaly-devicestatus --verb=patch --resource=devicestatuses.devices.kubeedge.io;"+
			" kubectl create clusterrolebinding edge-anomaly-devicestatus --clusterrole=edge-anomaly-devicestatus --serviceaccount=%s (of namespace %s; another one: --service-account)",
			strings.Replace(account, "/", ":", 1), namespace)
	}
	return l
}

func (s *server) policy(ctx context.Context) Line {
	const name, base = "edge-anomaly-device-config", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
	l := Line{Check: "admission policy", State: OK, Found: "refuses Devices that EdgeCore would drop"}
	for _, path := range []string{"ies/", "ybindings/"} {
		err := s.get(ctx, base+path+name, nil)
		switch {
		case codeOf(err) == http.StatusNotFound:
			l.State, l.Found, l.Remedy = Warning, "is not there: the API server takes Devices that EdgeCore drops", "adctl lint --policy | kubectl apply -f -"
			return l
		case err != nil:
			return cannot(l.Check, err)
		}
	}
	return l
}

// list reads all objects of a kind, page by page.
func (s *server) list(ctx context.Context, resource string) ([]map[string]any, error) {
	var all []map[string]any
	for token := ""; ; {
		var page struct {
			Metadata struct{ Continue string }
			Items    []map[string]any
		}
		if err := s.get(ctx, devicesAPI+"/"+resource+"?limit=500&continue="+url.QueryEscape(token), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if token = page.Metadata.Continue; token == "" {
			return all, nil
		}
	}
}

// manifest is objects as lint reads them.
func manifest(kind string, items []map[string]any) ([]byte, error) {
	for _, item := range items {
		item["apiVersion"], item["kind"] = "devices.kubeedge.io/v1beta1", kind
		delete(item, "status")
	}
	return json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

// deadly are the rules of lint after which EdgeCore drops a Device.
var deadly = []string{"nested-value", "null", "data-key"}

// checkManifests finds, by lint, the Devices that EdgeCore drops, and those that a mapper refuses.
func checkManifests(l *lint.Linter, devices, models []map[string]any) (dropped, refused []string, err error) {
	for kind, items := range map[string][]map[string]any{"Device": devices, "DeviceModel": models} {
		raw, err := manifest(kind, items)
		if err != nil {
			return nil, nil, err
		}
		if err := l.Read(kind, bytes.NewReader(raw)); err != nil {
			return nil, nil, err
		}
	}
	findings, _ := l.Findings()
	for _, f := range findings {
		name := f.Object
		if f.Property != "" {
			name += "/" + f.Property
		}
		name += " (" + f.Message + ")"
		switch {
		case f.Severity != lint.Error:
		case slices.Contains(deadly, f.Rule):
			dropped = append(dropped, name)
		default:
			refused = append(refused, name)
		}
	}
	return dropped, refused, nil
}
