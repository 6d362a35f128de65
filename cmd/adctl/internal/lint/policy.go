// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import _ "embed" // the manifest

// Policy is a ValidatingAdmissionPolicy with its binding: the API server then refuses the Devices that EdgeCore would
// drop whole. It needs Kubernetes 1.30 or later.
//
//go:embed policy.yaml
var Policy string
