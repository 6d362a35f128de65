// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a program is, on a terminal. A nil progress shows nothing.
type progress struct {
	bar   *progressbar.ProgressBar
	total int64 // bytes; -1 where unknown
}

// newProgress makes a progress bar on w if that is a terminal that shows nothing else.
func newProgress(in io.Reader, out, w io.Writer, what string) *progress {
	if !terminal(w) {
		return nil
	}
	if k, ok := out.(keepOpen); ok && terminal(k.Writer) {
		return nil // the rows are shown themselves
	}
	total := int64(-1)
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			total = info.Size()
		}
	}
	return newBar(total, w, what)
}

// newBar makes a progress bar on w, of so many bytes, -1 where unknown, if that is a terminal.
func newBar(total int64, w io.Writer, what string) *progress {
	if !terminal(w) {
		return nil
	}
	return &progress{total: total, bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// set shows that so many bytes and readings are done.
func (p *progress) set(bytes int64, readings int) {
	if p == nil {
		return
	}
	p.bar.Describe(fmt.Sprintf("%d readings", readings))
	p.bar.Set64(bytes) //nolint:errcheck // a bar that cannot be drawn is not worth an error
}

// done takes the bar away.
func (p *progress) done() {
	if p != nil {
		p.bar.Finish() //nolint:errcheck // as above
	}
}
