// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Verdict is a verdict as the API answers it.
type Verdict = shared.Verdict

// FromResult copies a verdict.
func FromResult(r *driver.Result) Verdict {
	v := shared.FromResult(r)
	v.Translated = r.Translated
	return v
}
