// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

var groupVersion = schema.GroupVersion{Group: "devices.kubeedge.io", Version: "v1beta1"}

const (
	statuses     = "devicestatuses"
	fieldManager = "edge-anomaly"
)

// client speaks to the API server. Bodies go out as they are: the Go type of a DeviceStatus marshals extensions that
// are not set as null, which as a merge patch would wipe those of all others.
type client struct {
	rest    rest.Interface
	timeout time.Duration
}

func newClient(config *rest.Config, timeout time.Duration) (*client, error) {
	scheme := runtime.NewScheme() // of its own: the one with every built-in kind would add megabytes
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &groupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent = fieldManager
	config.RateLimiter = flowcontrol.NewFakeAlwaysRateLimiter() // the sink has its own, which knows what matters more
	r, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", config.Host, err)
	}
	return &client{rest: r, timeout: timeout}, nil
}

func (c *client) do(ctx context.Context, r *rest.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// The sink waits by itself, for what is then the latest: no retries within.
	res := r.MaxRetries(0).Do(ctx)
	if err := res.Error(); err != nil {
		return nil, err
	}
	return res.Raw()
}

// patch merges body into a DeviceStatus and returns the object as it is then.
func (c *client) patch(ctx context.Context, namespace, name string, body []byte) ([]byte, error) {
	return c.do(ctx, c.rest.Patch(types.MergePatchType).Namespace(namespace).Resource(statuses).Name(name).
		Param("fieldManager", fieldManager).Body(body))
}

// create makes an empty DeviceStatus that is deleted with its Device.
func (c *client) create(ctx context.Context, namespace, name string) error {
	raw, err := c.do(ctx, c.rest.Get().Namespace(namespace).Resource("devices").Name(name))
	if err != nil {
		return fmt.Errorf("the device to own the status: %w", err)
	}
	var device metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &device); err != nil {
		return fmt.Errorf("the device to own the status: %w", err)
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": groupVersion.String(),
		"kind":       "DeviceStatus",
		"metadata": map[string]any{
			"name": name, "namespace": namespace,
			"ownerReferences": []metav1.OwnerReference{{
				APIVersion: groupVersion.String(), Kind: "Device", Name: name, UID: device.UID,
			}},
		},
	})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, c.rest.Post().Namespace(namespace).Resource(statuses).Param("fieldManager", fieldManager).Body(body))
	if apierrors.IsAlreadyExists(err) {
		return nil // somebody was faster
	}
	return err
}
