// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	sigsyaml "sigs.k8s.io/yaml"
)

// checkReferences finds what names something that the pods do not have: labels, ports, volumes.
func checkReferences(t *testing.T, all map[string]runtime.Object, labels map[string]string, pod *corev1.PodSpec, claims []corev1.PersistentVolumeClaim) {
	t.Helper()
	container := pod.Containers[0]
	selects := func(what string, selector map[string]string) {
		for k, v := range selector {
			if k != appsv1.StatefulSetPodNameLabel && labels[k] != v {
				t.Errorf("%s selects %s=%s, the pods have %q", what, k, v, labels[k])
			}
		}
	}
	port := func(what, name string) {
		if !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == name }) {
			t.Errorf("%s: no port %q in the container", what, name)
		}
	}
	volumes := make(map[string]bool)
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if c := v.ConfigMap; c != nil && c.Name != "models" && all["ConfigMap/"+c.Name] == nil {
			t.Errorf("no ConfigMap %s", c.Name)
		}
	}
	for _, v := range claims {
		volumes[v.Name] = true
	}
	for _, m := range container.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("volume %s is mounted but not there", m.Name)
		}
		delete(volumes, m.Name)
	}
	if len(volumes) > 0 {
		t.Errorf("volumes %v are not mounted", volumes)
	}
	for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
		if probe.HTTPGet != nil {
			port("probe", probe.HTTPGet.Port.StrVal)
		} else {
			port("probe", probe.TCPSocket.Port.StrVal)
		}
	}
	for key, o := range all {
		switch o := o.(type) {
		case *appsv1.StatefulSet:
			selects(key, o.Spec.Selector.MatchLabels)
			if all["Service/"+o.Spec.ServiceName] == nil {
				t.Errorf("%s: no Service %s", key, o.Spec.ServiceName)
			}
		case *appsv1.Deployment:
			selects(key, o.Spec.Selector.MatchLabels)
		case *corev1.Service:
			selects(key, o.Spec.Selector)
			for _, p := range o.Spec.Ports {
				port(key, p.TargetPort.StrVal)
			}
		case *networkingv1.NetworkPolicy:
			selects(key, o.Spec.PodSelector.MatchLabels)
			for _, rule := range o.Spec.Ingress {
				for _, p := range rule.Ports {
					port(key, p.Port.StrVal)
				}
			}
		case *policyv1.PodDisruptionBudget:
			selects(key, o.Spec.Selector.MatchLabels)
		}
	}
}

func TestManifests(t *testing.T) {
	one := objects(t, read(t, filepath.Join(example, "manifests/deployment.yaml")))
	deployment := one["Deployment/external-anomaly-detector.edge-anomaly"].(*appsv1.Deployment)
	template := deployment.Spec.Template
	several := objects(t, read(t, filepath.Join(example, "manifests/statefulset.yaml")))
	set := several["StatefulSet/external-anomaly-detector.edge-anomaly"].(*appsv1.StatefulSet)
	short := func(all map[string]runtime.Object, more map[string]runtime.Object) map[string]runtime.Object {
		out := make(map[string]runtime.Object)
		for _, m := range []map[string]runtime.Object{all, more} {
			for key, o := range m {
				out[strings.TrimSuffix(key, ".edge-anomaly")] = o
			}
		}
		return out
	}
	checkReferences(t, short(one, nil), template.Labels, &template.Spec, nil)
	if one["PersistentVolumeClaim/"+template.Spec.Volumes[2].PersistentVolumeClaim.ClaimName+".edge-anomaly"] == nil {
		t.Error("the claim of the Deployment is not there")
	}
	delete(one, "Deployment/external-anomaly-detector.edge-anomaly")
	checkReferences(t, short(one, several), set.Spec.Template.Labels, &set.Spec.Template.Spec, set.Spec.VolumeClaimTemplates)
	// But for the volume of their state, both have the same pods.
	template.Spec.Volumes = template.Spec.Volumes[:2]
	if !reflect.DeepEqual(template, set.Spec.Template) {
		t.Error("the pods of the Deployment and of the StatefulSet differ")
	}
	objects(t, read(t, "../../examples/restful-light-mapper/manifests/deployment.yaml"))
}

// compose is what the file uses of docker compose's format.
type compose struct {
	Name     string `json:"name"`
	Services map[string]struct {
		Build struct {
			Context    string `json:"context"`
			Dockerfile string `json:"dockerfile"`
		} `json:"build"`
		Image           string            `json:"image"`
		Restart         string            `json:"restart"`
		DependsOn       []string          `json:"depends_on"`
		StopGracePeriod string            `json:"stop_grace_period"`
		Environment     map[string]string `json:"environment"`
		Ports           []string          `json:"ports"`
		ReadOnly        bool              `json:"read_only"`
		CapDrop         []string          `json:"cap_drop"`
		SecurityOpt     []string          `json:"security_opt"`
		Volumes         []string          `json:"volumes"`
	} `json:"services"`
	Volumes map[string]struct{} `json:"volumes"`
}

func TestCompose(t *testing.T) {
	var c compose
	if err := sigsyaml.UnmarshalStrict([]byte(read(t, "../../examples/docker-compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 3 {
		t.Errorf("%d services, want 3", len(c.Services))
	}
	for name, s := range c.Services {
		context := filepath.Join("../../examples", s.Build.Context)
		checkDockerfile(t, context, filepath.Join(context, s.Build.Dockerfile))
		for _, other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[source]; !named && !strings.HasPrefix(source, "/") && !strings.HasPrefix(source, "./tls") {
				t.Errorf("%s: volume %s is not there", name, source)
			}
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%s is not restricted", name)
		}
	}
}

var (
	built  = regexp.MustCompile(`(?m)^RUN .*go build .* -o (\S+) (\./\S+)$`)
	copied = regexp.MustCompile(`(?m)^COPY (--from=build )?(\S+) (\S+)$`)
	starts = regexp.MustCompile(`(?m)^ENTRYPOINT \["([^"]+)"\]$`)
	base   = regexp.MustCompile(`(?m)^FROM golang:(\S+) AS build$`)
)

// checkDockerfile finds what a Dockerfile names that is not there.
func checkDockerfile(t *testing.T, context, file string) {
	t.Helper()
	text := read(t, file)
	build := built.FindStringSubmatch(text)
	if build == nil || !strings.Contains(text, "CGO_ENABLED=0") {
		t.Errorf("%s builds no static program", file)
		return
	}
	if _, err := os.Stat(filepath.Join(context, build[2], "main.go")); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	if v := base.FindStringSubmatch(text); v == nil || !strings.Contains(read(t, filepath.Join(context, "go.mod")), "\ngo "+v[1]+".") {
		t.Errorf("%s is not built by the version of Go in go.mod", file)
	}
	program := ""
	for _, c := range copied.FindAllStringSubmatch(text, -1) {
		if c[1] != "" {
			if program = c[3]; c[2] != build[1] {
				t.Errorf("%s copies %s, but builds %s", file, c[2], build[1])
			}
		} else if _, err := os.Stat(filepath.Join(context, c[2])); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if entry := starts.FindStringSubmatch(text); entry == nil || entry[1] != program {
		t.Errorf("%s does not start %s", file, program)
	}
}

// The program takes every configuration file that is shipped or rendered.
func TestConfigurationsAreTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "anomaly-detector")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/anomaly-detector")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	certificates := exec.CommandContext(t.Context(), filepath.Join(example, "certificates.sh"), filepath.Join(dir, "tls"), "localhost", "mapper.edge")
	if out, err := certificates.CombinedOutput(); err != nil {
		t.Skipf("certificates.sh needs openssl: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokens/plant-2"), []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, _ := install(t, "")
	full, _ := install(t, everything)
	plain, _ := install(t, "insecure: true\nclients: []\nhttp: {enabled: false}\nmetrics: {enabled: false}")
	watch, _ := install(t, read(t, filepath.Join(example, "chart/watch.yaml")))
	sources, _ := install(t, watching)
	for _, name := range []string{"sources/mqtt", "api/token"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte("0123456789abcdef0123\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	config := func(o runtime.Object) string { return o.(*corev1.ConfigMap).Data["config.yaml"] }
	for name, text := range map[string]string{
		"shipped":               read(t, filepath.Join(example, "config.yaml")),
		"manifests":             config(objects(t, read(t, filepath.Join(example, "manifests/deployment.yaml")))["ConfigMap/external-anomaly-detector.edge-anomaly"]),
		"chart":                 config(all["ConfigMap/det-external-anomaly-detector"]),
		"chart with everything": config(full["ConfigMap/judge"]),
		"chart that watches":    config(watch["ConfigMap/det-external-anomaly-detector"]),
		"chart with sources":    config(sources["ConfigMap/det-external-anomaly-detector"]),
		"chart in plaintext":    config(plain["ConfigMap/det-external-anomaly-detector"]),
	} {
		t.Run(name, func(t *testing.T) {
			text = strings.ReplaceAll(text, "/etc/external-anomaly-detector/", dir+"/")
			text = strings.ReplaceAll(text, "/var/lib/edge-anomaly/", dir+"/")
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary, "--config", file, "--check")
			cmd.Dir = dir // which has tls/
			if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasSuffix(out, []byte(": ok\n")) {
				t.Errorf("%v\n%s\n%s", err, out, text)
			}
		})
	}
}
