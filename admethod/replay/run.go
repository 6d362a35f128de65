// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// Run scores readings of a numeric property with a detector that has seen nothing before. each is called once for each
// of them, in order, and must not keep o.
func Run(ctx context.Context, options Options, readings []dataset.Reading, each func(i int, o *Outcome)) (err error) {
	s, err := Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	done := 0
	for i := range readings {
		s.Observe(readings[i].At, readings[i].Value)
		if s.Len() < MaxBatch && i < len(readings)-1 {
			continue
		}
		outcomes, err := s.Drain(ctx)
		if err != nil {
			return err
		}
		for j := range outcomes {
			each(done+j, &outcomes[j])
		}
		done += len(outcomes)
	}
	return nil
}
