// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"io"

	"github.com/kubeedge/edge-anomaly/admethod/source"
)

// Table hands over the rows of a table.
func (s *Source) Table(ctx context.Context, in source.Intake, src io.Reader) error {
	return s.table(ctx, in, src, 0)
}
