// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const apiVersion = v1beta1.GroupName + "/" + v1beta1.Version

// Manifests are the objects of a YAML stream, in its order.
type Manifests struct {
	Models  []*v1beta1.DeviceModel
	Devices []*v1beta1.Device
}

// ParseManifests reads DeviceModels and Devices of devices.kubeedge.io/v1beta1 from YAML of one or more documents.
// It is strict: another kind, an unknown field or a missing name is an error that names the document, counted from 1.
// The namespace defaults to "default".
func ParseManifests(r io.Reader) (Manifests, error) {
	var out Manifests
	docs := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return Manifests{}, fmt.Errorf("manifest document %d: %w", n, err)
		}
		if err := out.add(doc); err != nil {
			return Manifests{}, fmt.Errorf("manifest document %d: %w", n, err)
		}
	}
}

func (m *Manifests) add(doc []byte) error {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return err
	}
	if head.TypeMeta == (metav1.TypeMeta{}) && isBlank(doc) {
		return nil // a document of comments only
	}
	if head.APIVersion != apiVersion {
		return fmt.Errorf("apiVersion %q, want %q", head.APIVersion, apiVersion)
	}
	if head.Metadata.Name == "" {
		return fmt.Errorf("%s without metadata.name", head.Kind)
	}
	switch head.Kind {
	case "DeviceModel":
		model := new(v1beta1.DeviceModel)
		if err := yaml.UnmarshalStrict(doc, model); err != nil {
			return fmt.Errorf("DeviceModel %s: %w", head.Metadata.Name, err)
		}
		defaultNamespace(&model.ObjectMeta)
		m.Models = append(m.Models, model)
	case "Device":
		device := new(v1beta1.Device)
		if err := yaml.UnmarshalStrict(doc, device); err != nil {
			return fmt.Errorf("device %s: %w", head.Metadata.Name, err)
		}
		defaultNamespace(&device.ObjectMeta)
		m.Devices = append(m.Devices, device)
	default:
		return fmt.Errorf("kind %q, want DeviceModel or Device", head.Kind)
	}
	return nil
}

func isBlank(doc []byte) bool {
	data, err := yaml.YAMLToJSON(doc)
	return err == nil && bytes.Equal(bytes.TrimSpace(data), []byte("null"))
}

func defaultNamespace(meta *metav1.ObjectMeta) {
	if meta.Namespace == "" {
		meta.Namespace = metav1.NamespaceDefault
	}
}

// Apply adds the models and devices of a YAML stream, models first, as kubectl apply would: what exists is updated.
// A device that cannot be pushed does not stop the others; all errors are joined.
func (e *EdgeCore) Apply(ctx context.Context, r io.Reader) error {
	m, err := ParseManifests(r)
	if err != nil {
		return err
	}
	var errs []error
	for _, model := range m.Models {
		errs = append(errs, e.AddModel(ctx, model))
	}
	for _, d := range m.Devices {
		e.mu.Lock()
		entry := e.devices[resourceID(d.Namespace, d.Name)]
		e.mu.Unlock()
		if entry != nil && !entry.ghost {
			errs = append(errs, e.UpdateDevice(ctx, d))
		} else {
			errs = append(errs, e.AddDevice(ctx, d))
		}
	}
	return errors.Join(errs...)
}
