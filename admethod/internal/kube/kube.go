// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kube finds the API server that a part of this project speaks to.
package kube

import (
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubeedge/edge-anomaly/admethod"
)

// Connection is how to reach the server. The zero value is the service account of the pod.
type Connection struct {
	Kubeconfig string // file; "" with a Context is where kubectl looks
	Context    string // of the kubeconfig; "" is its current one
	Server     string // URL of a server to speak to instead, with TokenFile and CAFile
	TokenFile  string // bearer token, read again when it changes
	CAFile     string
}

// Config is the configuration of a client. What may be there later is marked by [admethod.Unavailable].
func (c Connection) Config() (*rest.Config, error) {
	switch {
	case c.Server != "" && (c.Kubeconfig != "" || c.Context != ""):
		return nil, errors.New("server and kubeconfig: one of them, not both")
	case c.Server == "" && (c.TokenFile != "" || c.CAFile != ""):
		return nil, errors.New("tokenFile and caFile go with server, which is empty")
	case c.Server != "":
		return &rest.Config{
			Host: c.Server, BearerTokenFile: c.TokenFile, TLSClientConfig: rest.TLSClientConfig{CAFile: c.CAFile},
		}, nil
	case c.Kubeconfig != "" || c.Context != "":
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = c.Kubeconfig
		config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
			&clientcmd.ConfigOverrides{CurrentContext: c.Context}).ClientConfig()
		if err != nil { // the file may not be there yet, or not whole
			return nil, admethod.Unavailable(fmt.Errorf("kubeconfig: %w", err))
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, admethod.Unavailable(fmt.Errorf("neither kubeconfig nor server is set, and this is no pod of a cluster: %w", err))
	}
	return config, nil
}
