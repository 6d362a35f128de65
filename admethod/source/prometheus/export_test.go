// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"context"
	"net/url"

	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

var (
	Selector = selector
	Narrowed = narrowed
)

type askFunc func(ctx context.Context, form url.Values) (*promapi.Answer, error)

func (f askFunc) ask(ctx context.Context, form url.Values) (*promapi.Answer, error) {
	return f(ctx, form)
}

// NewWith makes a source whose queries are answered by a function.
func NewWith(s source.Settings, ask func(context.Context, url.Values) (*promapi.Answer, error)) (*Source, error) {
	out, err := New(s)
	if err == nil {
		for _, q := range out.queries {
			q.server = askFunc(ask)
		}
	}
	return out, err
}

// ErrTooLong is an answer that a server would have to cut.
var ErrTooLong = httppost.ErrTooLong
