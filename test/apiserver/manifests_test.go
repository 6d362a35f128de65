// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// The API server takes the manifests of the external detector as they are, its pods are restricted enough for their
// namespace, and its service account can patch DeviceStatuses, and nothing else.
func TestDetectorManifests(t *testing.T) {
	const token, account = "detector-token", "system:serviceaccount:edge-anomaly:external-anomaly-detector"
	s := Start(t, map[string]string{token: account})
	for _, name := range []string{"deployment.yaml", "statefulset.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../examples/external-anomaly-detector/manifests", name))
		must(t, err)
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			var o unstructured.Unstructured
			must(t, yaml.Unmarshal([]byte(doc), &o.Object))
			create(t, s, &o)
			if template, _, _ := unstructured.NestedMap(o.Object, "spec", "template"); template != nil {
				checkPod(t, s, o.GetNamespace(), template)
			}
		}
	}
	addStatuses(t, s, "default", 1)
	statuses := s.Client(t, token).Resource(DeviceStatuses).Namespace("default")
	patch := []byte(`{"status":{"extensions":{"anomaly-detector":{"data":{"severity":"normal"}}}}}`)
	if _, err := statuses.Patch(t.Context(), "d-0", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Errorf("patch: %v", err)
	}
	if _, err := statuses.Get(t.Context(), "d-0", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("get: %v, want it forbidden", err)
	}
	if err := statuses.Delete(t.Context(), "d-0", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("delete: %v, want it forbidden", err)
	}
}

// create creates an object, in which every field must be known.
func create(t *testing.T, s *Server, o *unstructured.Unstructured) {
	t.Helper()
	kind := o.GroupVersionKind()
	resource := s.Client(t, "").Resource(kind.GroupVersion().WithResource(plural(kind.Kind))).Namespace(o.GetNamespace())
	_, err := resource.Create(t.Context(), o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Errorf("%s %s: %v", kind.Kind, o.GetName(), err)
	}
}

// checkPod has the API server judge a pod as the controllers would make it.
func checkPod(t *testing.T, s *Server, namespace string, template map[string]any) {
	t.Helper()
	pods := s.Client(t, "").Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace)
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetName("detector-0")
	volumes, _, err := unstructured.NestedSlice(template, "spec", "volumes")
	must(t, err)
	if len(volumes) == 2 { // that of the claim is the controller's
		volumes = append(volumes, map[string]any{"name": "state", "emptyDir": map[string]any{}})
		must(t, unstructured.SetNestedSlice(template, volumes, "spec", "volumes"))
	}
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	if _, err := pods.Create(t.Context(), pod, dry); err != nil {
		t.Errorf("pod: %v", err)
	}
	containers, _, err := unstructured.NestedSlice(template, "spec", "containers")
	must(t, err)
	unstructured.RemoveNestedField(containers[0].(map[string]any), "securityContext")
	must(t, unstructured.SetNestedSlice(template, containers, "spec", "containers"))
	if _, err := pods.Create(t.Context(), pod, dry); !apierrors.IsForbidden(err) {
		t.Errorf("pod without securityContext: %v, want it forbidden in this namespace", err)
	}
}
