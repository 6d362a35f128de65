// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sourcetest

import "sync"

// Reports keeps what a source tells of what fails. The zero value is ready for use.
type Reports struct {
	mu        sync.Mutex
	ever, now map[string]string // by part
}

// Report is an admethod.Report.
func (r *Reports) Report(part, _ string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ever == nil {
		r.ever, r.now = make(map[string]string), make(map[string]string)
	}
	if err == nil {
		delete(r.now, part)
		return
	}
	r.ever[part], r.now[part] = err.Error(), err.Error()
}

// Told is what was told last of a part, and what of it is wrong now; "" for nothing.
func (r *Reports) Told(part string) (ever, now string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ever[part], r.now[part]
}

// Now is what is wrong now with a part, as it was told; "" for nothing.
func (r *Reports) Now(part string) string {
	_, now := r.Told(part)
	return now
}
