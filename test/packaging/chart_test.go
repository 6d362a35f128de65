// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	sigsyaml "sigs.k8s.io/yaml"
)

const example = "../../examples/external-anomaly-detector"

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(filepath.Join(example, "chart"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// render is what helm template prints. values is YAML.
func render(t *testing.T, values string) (map[string]string, error) {
	t.Helper()
	v, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	c := loadChart(t)
	all, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{Name: "det", Namespace: "edge", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// install renders the chart and decodes what it consists of.
func install(t *testing.T, values string) (all map[string]runtime.Object, notes string) {
	t.Helper()
	files, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	all = make(map[string]runtime.Object)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			notes = files[name]
			continue
		}
		for key, o := range objects(t, files[name]) {
			if all[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			all[key] = o
		}
	}
	return all, notes
}

func names(all map[string]runtime.Object) []string { return slices.Sorted(maps.Keys(all)) }

func TestLint(t *testing.T) {
	result := lint.All(filepath.Join(example, "chart"), nil, "edge", true)
	for _, m := range result.Messages {
		if m.Severity > support.InfoSev { // an icon would be nice
			t.Error(m)
		}
	}
	if len(result.Messages) == 0 {
		t.Error("no message at all: not even the one about the icon")
	}
}

func TestDefaults(t *testing.T) {
	all, notes := install(t, "")
	want := []string{
		"ClusterRole/edge-det-external-anomaly-detector-devicestatus", "ClusterRoleBinding/edge-det-external-anomaly-detector-devicestatus",
		"ConfigMap/det-external-anomaly-detector", "NetworkPolicy/det-external-anomaly-detector",
		"Service/det-external-anomaly-detector", "Service/det-external-anomaly-detector-replicas",
		"ServiceAccount/det-external-anomaly-detector", "StatefulSet/det-external-anomaly-detector",
	}
	if got := names(all); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	pod := all["StatefulSet/det-external-anomaly-detector"].(*appsv1.StatefulSet).Spec.Template.Spec
	own, container := pod.SecurityContext, pod.Containers[0].SecurityContext
	if !*own.RunAsNonRoot || *own.RunAsUser == 0 || own.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		*container.AllowPrivilegeEscalation || !*container.ReadOnlyRootFilesystem || !slices.Contains(container.Capabilities.Drop, "ALL") {
		t.Error("the pod is not restricted")
	}
	role := all["ClusterRole/edge-det-external-anomaly-detector-devicestatus"].(*rbacv1.ClusterRole)
	if len(role.Rules) != 1 || !slices.Equal(role.Rules[0].Verbs, []string{"patch"}) || !slices.Equal(role.Rules[0].Resources, []string{"devicestatuses"}) {
		t.Errorf("rules %+v, want to patch devicestatuses and nothing else", role.Rules)
	}
	if !strings.Contains(notes, "    address: det-external-anomaly-detector-0.det-external-anomaly-detector-replicas.edge.svc:6804\n") {
		t.Errorf("notes:\n%s", notes)
	}
}

// everything sets each value to another than the default.
const everything = `
replicas: 3
image: {repository: registry.example/detector, tag: v1, pullPolicy: Always}
imagePullSecrets: [{name: pull}]
tls: {secretName: certificates}
clients:
- {name: mapper.edge, namespaces: [default, plant-1]}
- {name: plant-1, certificates: [a.plant-1, b.plant-1], tokenKey: plant-2, namespaces: [plant-1], limits: {streams: 4, rate: 500}}
- {name: plant-2, tokenKey: plant-2, namespaces: ["*"]}
anonymous: [try]
callbacks: [{client: mapper.edge, url: "https://mapper.edge/verdicts"}]
tokenSecretName: tokens
grpc: {port: 7804}
http: {port: 7805}
limits: {series: 500, idle: 10m}
clientLimits: {streams: 4}
detection:
  defaults: {threshold: 0.9}
  routes: [{match: {device: "pump-*", client: plant-1}, settings: {detector: ewma, detector.window: 30}}]
  sinks: [log, history]
  sinkOptions: {history: {rows: 5000}, metrics: {maxProperties: 500}}
deviceStatus: {namespaces: [default, plant-1]}
metrics: {port: 9465, serviceMonitor: {enabled: true, interval: 10s, labels: {release: prometheus}}}
persistence: {size: 5Gi, storageClass: fast, accessModes: [ReadWriteOncePod]}
modelsConfigMap: models
service: {type: LoadBalancer, annotations: {a: b}}
replicaServices: {enabled: true, type: NodePort, annotations: {c: d}}
networkPolicy:
  from: [{ipBlock: {cidr: 10.20.0.0/16}}]
  metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]
  apiServer: [{ipBlock: {cidr: 10.0.0.1/32}}]
  apiServerPorts: [8443]
serviceAccount: {name: judge, annotations: {e: f}}
resources: {limits: {cpu: "1"}}
podAnnotations: {g: h}
podLabels: {i: j}
nodeSelector: {disk: ssd}
tolerations: [{key: edge, operator: Exists}]
affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {i: j}}}]}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]
priorityClassName: high
extraArgs: [--v=2]
terminationGracePeriodSeconds: 60
fullnameOverride: judge
`

func TestEverything(t *testing.T) {
	all, notes := install(t, everything)
	want := []string{
		"ConfigMap/judge", "NetworkPolicy/judge", "PodDisruptionBudget/judge",
		"Role/judge-devicestatus.default", "Role/judge-devicestatus.plant-1", "RoleBinding/judge-devicestatus.default", "RoleBinding/judge-devicestatus.plant-1",
		"Service/judge", "Service/judge-0", "Service/judge-1", "Service/judge-2", "Service/judge-replicas",
		"ServiceAccount/judge", "ServiceMonitor/judge", "StatefulSet/judge",
	}
	if got := names(all); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	set := all["StatefulSet/judge"].(*appsv1.StatefulSet)
	pod := set.Spec.Template.Spec
	if *set.Spec.Replicas != 3 || set.Spec.ServiceName != "judge-replicas" || pod.ServiceAccountName != "judge" || *pod.TerminationGracePeriodSeconds != 60 ||
		pod.Containers[0].Image != "registry.example/detector:v1" || pod.PriorityClassName != "high" || len(pod.Volumes) != 4 ||
		set.Spec.VolumeClaimTemplates[0].Spec.AccessModes[0] != corev1.ReadWriteOncePod {
		t.Errorf("StatefulSet %+v", set.Spec)
	}
	for i := range 3 {
		s := all[fmt.Sprintf("Service/judge-%d", i)].(*corev1.Service)
		if s.Spec.Selector["statefulset.kubernetes.io/pod-name"] != s.Name || s.Spec.Type != corev1.ServiceTypeNodePort {
			t.Errorf("%s: %+v", s.Name, s.Spec)
		}
	}
	if !strings.Contains(notes, "judge-0.judge-replicas.edge.svc:7804,judge-1.judge-replicas.edge.svc:7804,judge-2.") {
		t.Errorf("notes:\n%s", notes)
	}
}

// watching sets each value that is about sources.
const watching = `
kubernetes: {enabled: true, namespaces: [plant-1, plant-2], desired: 1m, offline: 0s}
sources:
- {type: mqtt, options: {broker: "mqtts://broker:8883", passwordFile: /etc/external-anomaly-detector/sources/mqtt, user: detector, topics: [{topic: "{device}/{property}"}]}}
- {name: pushed, type: remotewrite, limits: {series: 100}, options: {listen: "0.0.0.0:9201", insecure: true}}
sourcesSecretName: passwords
sourcePorts: [{name: remotewrite, port: 9201}]
api: {enabled: true, port: 7806, tokenSecretName: api}
grpc: {enabled: false}
http: {enabled: false}
deviceStatus: {namespaces: [plant-1]}
metrics: {enabled: false}
detection: {routes: [{match: {model: "pump-*", labels: {line: "3"}}, settings: {threshold: 0.9}}]}
networkPolicy: {egress: [{to: [{ipBlock: {cidr: 10.0.0.9/32}}], ports: [{protocol: TCP, port: 8883}]}]}
`

// A detector that watches KubeEdge wants no certificates, opens no port to others but for metrics, and may read three
// resources and patch one.
func TestWatch(t *testing.T) {
	all, notes := install(t, read(t, filepath.Join(example, "chart/watch.yaml")))
	const name = "det-external-anomaly-detector"
	want := []string{
		"ClusterRole/edge-" + name + "-devices", "ClusterRole/edge-" + name + "-devicestatus",
		"ClusterRoleBinding/edge-" + name + "-devices", "ClusterRoleBinding/edge-" + name + "-devicestatus",
		"ConfigMap/" + name, "NetworkPolicy/" + name, "Service/" + name + "-replicas", "ServiceAccount/" + name, "StatefulSet/" + name,
	}
	if got := names(all); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for part, file := range map[string]string{"devices": "source/kubernetes", "devicestatus": "sink/devicestatus"} {
		given := all["ClusterRole/edge-"+name+"-"+part].(*rbacv1.ClusterRole).Rules
		enough := objects(t, read(t, filepath.Join("../../admethod", file, "manifests/cluster.yaml")))["ClusterRole/edge-anomaly-"+part].(*rbacv1.ClusterRole).Rules
		if fmt.Sprint(given) != fmt.Sprint(enough) {
			t.Errorf("%s: rules %v, want %v", part, given, enough)
		}
	}
	set := all["StatefulSet/"+name].(*appsv1.StatefulSet)
	pod := set.Spec.Template.Spec
	if !*pod.AutomountServiceAccountToken || len(pod.Volumes) != 1 || len(set.Spec.VolumeClaimTemplates) != 1 || pod.Containers[0].LivenessProbe.HTTPGet.Path != "/healthz" {
		t.Errorf("pod %+v", pod)
	}
	if !strings.Contains(notes, "port-forward pod/"+name+"-0 6806") || strings.Contains(notes, "adMethodName") {
		t.Errorf("notes:\n%s", notes)
	}
}

func TestWatchingEverything(t *testing.T) {
	all, _ := install(t, watching)
	const name = "det-external-anomaly-detector"
	want := []string{
		"ConfigMap/" + name, "NetworkPolicy/" + name,
		"Role/" + name + "-devices.plant-1", "Role/" + name + "-devices.plant-2", "Role/" + name + "-devicestatus.plant-1",
		"RoleBinding/" + name + "-devices.plant-1", "RoleBinding/" + name + "-devices.plant-2", "RoleBinding/" + name + "-devicestatus.plant-1",
		"Service/" + name, "Service/" + name + "-replicas", "ServiceAccount/" + name, "StatefulSet/" + name,
	}
	if got := names(all); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	var ports []string
	for _, p := range all["Service/"+name].(*corev1.Service).Spec.Ports {
		ports = append(ports, fmt.Sprint(p.Name, p.Port))
	}
	policy := all["NetworkPolicy/"+name].(*networkingv1.NetworkPolicy).Spec
	if got := fmt.Sprint(ports); got != "[api7806 remotewrite9201]" || len(policy.Ingress) != 1 || len(policy.Ingress[0].Ports) != 2 || len(policy.Egress) != 3 {
		t.Errorf("ports %s, policy %+v", got, policy)
	}
}

// What selects pods selects those of the StatefulSet, and ports are those that the container has.
func TestReferences(t *testing.T) {
	for _, values := range []string{"", everything, watching, read(t, filepath.Join(example, "chart/watch.yaml")), "metrics: {enabled: false}\nhttp: {enabled: false}\ninsecure: true\nclients: []"} {
		all, _ := install(t, values)
		var set *appsv1.StatefulSet
		for _, o := range all {
			if s, ok := o.(*appsv1.StatefulSet); ok {
				set = s
			}
		}
		checkReferences(t, all, set.Spec.Template.Labels, &set.Spec.Template.Spec, set.Spec.VolumeClaimTemplates)
	}
}

func TestVariants(t *testing.T) {
	for _, tt := range []struct{ name, values, absent, present string }{
		{"no network policy", "networkPolicy: {enabled: false}", "NetworkPolicy/det-external-anomaly-detector", ""},
		{"no devicestatus", "deviceStatus: {enabled: false}", "ClusterRole/edge-det-external-anomaly-detector-devicestatus", "ServiceAccount/det-external-anomaly-detector"},
		{"own service account", "serviceAccount: {create: false, name: mine}", "ServiceAccount/det-external-anomaly-detector", ""},
		{"one namespace", "deviceStatus: {namespaces: [default]}", "ClusterRole/edge-det-external-anomaly-detector-devicestatus", "Role/det-external-anomaly-detector-devicestatus.default"},
		{"a long name", "fullnameOverride: " + strings.Repeat("x", 80), "", "StatefulSet/" + strings.Repeat("x", 50)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all, _ := install(t, tt.values)
			if all[tt.absent] != nil || tt.present != "" && all[tt.present] == nil {
				t.Errorf("objects %v", names(all))
			}
		})
	}
}

// The schema and the templates refuse what could not work.
func TestRefusedValues(t *testing.T) {
	for _, tt := range []struct{ values, want string }{
		{"replica: 2", "replica"},
		{"replicas: 0", "replicas"},
		{"clients: []", "clients"},
		{"clients: [{name: m}]", "clients"},
		{"clients: [{tokenKey: k, namespaces: [a]}]", "name"},
		{"clients: [{name: m, namespaces: [A_b]}]", "clients"},
		{"clients: [{name: m, tokenKey: k, namespaces: [a]}]", "tokenSecretName"},
		{"tls: {secretName: \"\"}", "tls.secretName"},
		{"grpc: {port: 70000}", "port"},
		{"detection: {routes: [{settings: {}}]}", "match"},
		{"persistence: {size: much}", "size"},
		{"networkPolicy: {from: [{cidr: 10.0.0.0/8}]}", "cidr"},
		{"service: {type: ExternalName}", "service"},
		{"kubernetes: {enabled: true}\nclients: []", "clients"},
		{"kubernetes: {enabled: true}\nreplicas: 2", "replicas"},
		{"sources: [{options: {}}]", "type"},
		{"grpc: {enabled: false}\nhttp: {enabled: false}", "nothing would come in"},
		{"kubernetes: {desired: soon}", "desired"},
	} {
		if _, err := render(t, tt.values); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one on %s", tt.values, err, tt.want)
		}
	}
}

// Each value of values.yaml is in the schema, and the other way round.
func TestSchemaIsComplete(t *testing.T) {
	c := loadChart(t)
	var s struct{ Properties map[string]any }
	if err := sigsyaml.Unmarshal(c.Schema, &s); err != nil {
		t.Fatal(err)
	}
	delete(s.Properties, "global")
	if a, b := slices.Sorted(maps.Keys(s.Properties)), slices.Sorted(maps.Keys(c.Values)); !slices.Equal(a, b) {
		t.Errorf("schema has %v\nvalues has %v", a, b)
	}
}
