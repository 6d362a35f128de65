// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package tlsfiles_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
)

// What is no regular file is refused at once: a pipe would wait for its writer, /dev/zero has no end.
func TestOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	good, err := certtest.New().Write(dir, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", dir} {
		for _, files := range []tlsfiles.Files{
			{CA: path}, {CA: good.CA, Cert: path, Key: good.Key}, {CA: good.CA, Cert: good.Cert, Key: path},
		} {
			if _, err := tlsfiles.New(files, nil); err == nil {
				t.Errorf("%+v is taken", files)
			}
		}
		if _, err := tlsfiles.NewToken(path, nil); err == nil {
			t.Errorf("the token %s is taken", path)
		}
	}
}
