// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
)

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		err   error
		wait  time.Duration
		retry bool
	}{
		{nil, 0, false},
		{errors.New("x"), 0, true},
		{fmt.Errorf("post: %w", admethod.Permanent(errors.New("x"))), 0, false},
		{fmt.Errorf("post: %w", &admethod.ThrottledError{Wait: time.Second, Err: errors.New("x")}), time.Second, true},
	}
	for _, tt := range tests {
		if wait, retry := admethod.RetryAfter(tt.err); wait != tt.wait || retry != tt.retry {
			t.Errorf("RetryAfter(%v) = %v, %t; want %v, %t", tt.err, wait, retry, tt.wait, tt.retry)
		}
	}
	if admethod.Permanent(nil) != nil {
		t.Error("Permanent(nil) is not nil")
	}
}
