// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"os"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// Who hears of the state of a recording may panic: it is written on once it can be.
func TestPanicOfWhoHearsOfTheState(t *testing.T) {
	dir := t.TempDir()
	told := make(chan error, 64)
	s, err := store.Open(dir, store.Settings{FlushEvery: 5 * time.Millisecond, State: func(err error) {
		select {
		case told <- err:
		default: // the writer waits for nobody
		}
		panic("in State")
	}})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	add := func() { s.Add(entry("light", i)); i++ }
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it fails", func() bool { add(); return s.Stats().Err != nil })
	if err := <-told; err == nil {
		t.Error("no failure is told of")
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it works again", func() bool { add(); return s.Stats().Err == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if got := scan(t, dir, store.Query{}); uint64(len(got)) != st.Written || st.Written+st.Lost != uint64(i) || st.Written == 0 {
		t.Errorf("%d readings are there; stats %+v of %d", len(got), st, i)
	}
}
