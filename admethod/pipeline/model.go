// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"path/filepath"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/params"
)

func checkModel(name string) error {
	if name != "" && !filepath.IsLocal(name) {
		return &params.Error{Key: "model", Value: name, Want: "the name of a file below the model directory"}
	}
	return nil
}

// namespaceMark stands in Options.ModelDir for the namespace of the property.
const namespaceMark = "{namespace}"

// model is the path of a model and of the directory that it is looked up in; both "" where none is configured.
func (h *Handler) model(namespace, name string) (dir, file string, err error) {
	if name == "" {
		return "", "", nil
	}
	dir = h.opts.ModelDir
	if dir == "" {
		return "", "", &params.Error{Key: "model", Value: name, Want: "no model: the mapper has no model directory (modelDir)"}
	}
	if strings.Contains(dir, namespaceMark) {
		if namespace == "." || !filepath.IsLocal(namespace) || strings.ContainsAny(namespace, `/\`) {
			return "", "", &params.Error{Key: "model", Value: name, Want: "no model: the namespace is not the name of a directory"}
		}
		dir = strings.ReplaceAll(dir, namespaceMark, namespace)
	}
	return dir, filepath.Join(dir, name), nil
}
