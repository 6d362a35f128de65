// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
	"unsafe"
)

// watchOpens returns a function that lists the files in a directory that were opened since it was last called.
func watchOpens(t *testing.T, dir string) func() []string {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_OPEN|syscall.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	return func() (names []string) {
		buf := make([]byte, 64<<10)
		for {
			n, err := syscall.Read(fd, buf)
			if errors.Is(err, syscall.EAGAIN) || n <= 0 {
				return names
			}
			if err != nil {
				t.Error(err)
				return names
			}
			for rest := buf[:n]; len(rest) >= syscall.SizeofInotifyEvent; {
				event := (*syscall.InotifyEvent)(unsafe.Pointer(&rest[0]))
				name := rest[syscall.SizeofInotifyEvent:][:event.Len]
				if name = bytes.TrimRight(name, "\x00"); len(name) > 0 {
					names = append(names, string(name))
				}
				rest = rest[syscall.SizeofInotifyEvent+int(event.Len):]
			}
		}
	}
}
