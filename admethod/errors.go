// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by what has been shut down.
var ErrClosed = errors.New("closed")

// ErrPermanent marks an error that trying again cannot mend.
var ErrPermanent = errors.New("permanent")

// Permanent marks err so that it is not tried again. It is nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrPermanent, err)
}

// ThrottledError asks to wait before the next try.
type ThrottledError struct {
	Wait time.Duration
	Err  error
}

// Error says how long to wait and why.
func (e *ThrottledError) Error() string { return fmt.Sprintf("throttled for %v: %v", e.Wait, e.Err) }

// Unwrap returns the cause.
func (e *ThrottledError) Unwrap() error { return e.Err }

// RetryAfter says whether an error is worth another try, and after how long a wait at least. An error that is neither
// permanent nor throttled is retryable with no wait of its own.
func RetryAfter(err error) (wait time.Duration, retry bool) {
	var throttled *ThrottledError
	switch {
	case err == nil, errors.Is(err, ErrPermanent):
		return 0, false
	case errors.As(err, &throttled):
		return throttled.Wait, true
	}
	return 0, true
}

// ErrUnavailable marks an error of [SinkFactory.New] that is not of the configuration: what the sink needs is not there.
var ErrUnavailable = errors.New("not available")

// Unavailable marks err so that the sink is made again later. It is nil for nil.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
