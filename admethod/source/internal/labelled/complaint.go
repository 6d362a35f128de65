// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package labelled

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Complaint is what is wrong with parts of an answer or a request.
type Complaint struct {
	first []string
	more  int
}

// Add notes texts; the first few are told.
func (c *Complaint) Add(texts ...string) {
	const most = 3
	for _, text := range texts {
		switch {
		case slices.Contains(c.first, text):
		case len(c.first) < most:
			c.first = append(c.first, text)
		default:
			c.more++
		}
	}
}

// Err is nil where there are none.
func (c *Complaint) Err() error {
	if len(c.first) == 0 {
		return nil
	}
	text := strings.Join(c.first, "; ")
	if c.more > 0 {
		text = fmt.Sprintf("%s; and %d more", text, c.more)
	}
	return errors.New(text)
}
