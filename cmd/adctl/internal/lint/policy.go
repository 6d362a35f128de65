// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	_ "embed" // the manifest
	"fmt"
	"regexp"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
)

//go:embed policy.yaml
var policy string

// keysOfPolicy is what the manifest has for [pipeline.Options.DeviceKeys].
var keysOfPolicy = regexp.MustCompile(`(?s)(variables\.detection\.all\(m, m\.all\(k, )[^()]*(?:\([^()]*\)[^()]*)*(\)\)\n    message: >-\n      pushMethod\.anomalyDetection holds a key that)`)

// Policy is a ValidatingAdmissionPolicy with its binding: the API server then refuses the Devices that EdgeCore would
// drop whole, and those that set what is not theirs. It needs Kubernetes 1.30 or later.
func Policy(options pipeline.Options) string {
	var names, below []string
	for _, k := range options.DeviceKeys() {
		if prefix, ok := strings.CutSuffix(k.Key, "*"); ok {
			below = append(below, fmt.Sprintf("k.startsWith('%s')", prefix))
		} else {
			names = append(names, "'"+k.Key+"'")
		}
	}
	var b strings.Builder
	b.WriteString("${1}k in [\n")
	const indent, width = "      ", 112
	line := indent
	for i, name := range names {
		if i < len(names)-1 {
			name += ","
		}
		if len(line)+len(name) > width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += name + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "] ||\n" + indent + strings.Join(below, " || ") + "${2}")
	return keysOfPolicy.ReplaceAllString(policy, b.String())
}
