// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// What follows lets a process see every file that another one opens and every address that it dials, whoever in it does so:
// the kernel asks before it carries out such a call (seccomp_unotify(2)), and is always told to go on. It needs no right
// beyond those of a parent, and Linux 5.7.

// calls are the system calls that are seen, by name.
var calls = map[string]map[uint32]string{
	"amd64": {
		2: "open", 257: "openat", 437: "openat2", 85: "creat", 42: "connect", 50: "listen", 59: "execve", 322: "execveat",
	},
	"arm64": {56: "openat", 437: "openat2", 203: "connect", 201: "listen", 221: "execve", 281: "execveat"},
}

const (
	prSetNoNewPrivs = 38
	filterMode      = 1                  // SECCOMP_SET_MODE_FILTER
	filterFlags     = 1<<0 | 1<<3 | 1<<4 // TSYNC, NEW_LISTENER, TSYNC_ESRCH
	retNotify       = 0x7fc00000         // SECCOMP_RET_USER_NOTIF
	retAllow        = 0x7fff0000         // SECCOMP_RET_ALLOW
	notifyReceive   = 0xc0502100         // SECCOMP_IOCTL_NOTIF_RECV
	notifySend      = 0xc0182101         // SECCOMP_IOCTL_NOTIF_SEND
	pollIn          = 1                  // POLLIN
	pathMost        = syscall.PathMax    //
	addressMost     = syscall.SizeofSockaddrAny
)

func seccompCall() uintptr {
	if runtime.GOARCH == "arm64" {
		return 277
	}
	return 317
}

// watchMe lets the process at the other end of a Unix socket see the calls of this one from now on, in all its threads.
func watchMe(socket int) error {
	listen := calls[runtime.GOARCH]
	if listen == nil {
		return errors.ErrUnsupported
	}
	const load, equal, ret = 0x20, 0x15, 0x06 // BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
	program := []syscall.SockFilter{{Code: load}}
	for nr := range listen {
		program = append(program, syscall.SockFilter{Code: equal, Jf: 1, K: nr}, syscall.SockFilter{Code: ret, K: retNotify})
	}
	program = append(program, syscall.SockFilter{Code: ret, K: retAllow})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, e := syscall.Syscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return e
	}
	fprog := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, e := syscall.Syscall(seccompCall(), filterMode, filterFlags, uintptr(unsafe.Pointer(&fprog)))
	if e != 0 {
		return e
	}
	err := syscall.Sendmsg(socket, []byte{0}, syscall.UnixRights(int(fd)), nil, 0)
	return errors.Join(err, syscall.Close(int(fd)))
}

// watched is what a process did.
type watched struct {
	opened   map[string]int // paths, as far as they lead without the last link that an open refuses to follow
	dialled  map[string]int // addresses
	listened int
	started  map[string]int // programs
	trouble  []string
}

// notification is struct seccomp_notif.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	_          uint64
	args       [6]uint64
}

type response struct {
	id         uint64
	_          int64
	_          int32
	goOn, _pad uint32
}

// watch sees the calls of process pid until done is closed.
func watch(socket, pid int, done <-chan struct{}) (w watched, err error) {
	w = watched{opened: make(map[string]int), dialled: make(map[string]int), started: make(map[string]int)}
	oob := make([]byte, 64)
	_, n, _, _, err := syscall.Recvmsg(socket, make([]byte, 1), oob, 0)
	if err != nil {
		return w, err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return w, errors.Join(errors.ErrUnsupported, err) // it has ended
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return w, err
	}
	fd := fds[0]
	defer syscall.Close(fd)
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return w, err
	}
	defer memory.Close()
	for {
		select {
		case <-done:
			return w, nil
		default:
		}
		ready := struct {
			fd           int32
			wants, shows int16
		}{fd: int32(fd), wants: pollIn}
		timeout := syscall.Timespec{Nsec: 50e6}
		_, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&ready)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
		if e != 0 && e != syscall.EINTR {
			return w, e
		}
		if ready.shows&pollIn == 0 {
			continue
		}
		var call notification
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), notifyReceive, uintptr(unsafe.Pointer(&call))); e != 0 {
			continue // whoever asked is gone
		}
		w.note(&call, pid, memory)
		answer := response{id: call.id, goOn: 1}
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), notifySend, uintptr(unsafe.Pointer(&answer))) // likewise
	}
}

// note reads what a call is about.
func (w *watched) note(call *notification, pid int, memory *os.File) {
	text := func(at uint64) string {
		buf := make([]byte, pathMost)
		n, _ := memory.ReadAt(buf, int64(at)) // up to where memory ends
		text, _, _ := bytes.Cut(buf[:n], []byte{0})
		return string(text)
	}
	path := func(dir int32, at uint64, follow bool) string {
		name := text(at)
		if !filepath.IsAbs(name) {
			link := fmt.Sprintf("/proc/%d/cwd", pid)
			if dir != -100 { // AT_FDCWD
				link = fmt.Sprintf("/proc/%d/fd/%d", pid, dir)
			}
			base, err := os.Readlink(link)
			if err != nil {
				w.trouble = append(w.trouble, fmt.Sprintf("%s below %s: %v", name, link, err))
			}
			name = filepath.Join(base, name)
		}
		name = strings.Replace(filepath.Clean(name), "/proc/"+strconv.Itoa(pid), "/proc/self", 1)
		if !follow {
			return name
		}
		if target, err := filepath.EvalSymlinks(name); err == nil && !strings.HasPrefix(name, "/proc/self") {
			return target
		}
		return name
	}
	follows := func(flags uint64) bool { return flags&syscall.O_NOFOLLOW == 0 }
	switch name := calls[runtime.GOARCH][uint32(call.nr)]; name {
	case "open", "creat":
		w.opened[path(-100, call.args[0], true)]++
	case "openat":
		w.opened[path(int32(call.args[0]), call.args[1], follows(call.args[2]))]++
	case "openat2":
		var flags [8]byte
		_, _ = memory.ReadAt(flags[:], int64(call.args[2]))
		w.opened[path(int32(call.args[0]), call.args[1], follows(binary.NativeEndian.Uint64(flags[:])))]++
	case "connect":
		raw := make([]byte, min(call.args[2], addressMost))
		n, _ := memory.ReadAt(raw, int64(call.args[1]))
		w.dialled[address(raw[:n])]++
	case "listen":
		w.listened++
	case "execve":
		w.started[path(-100, call.args[0], true)]++
	case "execveat":
		w.started[path(int32(call.args[0]), call.args[1], true)]++
	default:
		w.trouble = append(w.trouble, fmt.Sprintf("call %d", call.nr))
	}
}

// address is that of a struct sockaddr as text.
func address(raw []byte) string {
	if len(raw) < 2 {
		return fmt.Sprintf("%x", raw)
	}
	switch family := binary.NativeEndian.Uint16(raw); {
	case family == syscall.AF_INET && len(raw) >= 8:
		ip, _ := netip.AddrFromSlice(raw[4:8])
		return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(raw[2:])).String()
	case family == syscall.AF_INET6 && len(raw) >= 24:
		ip, _ := netip.AddrFromSlice(raw[8:24])
		return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(raw[2:])).String()
	case family == syscall.AF_UNIX:
		return "unix:" + strings.TrimRight(string(raw[2:]), "\x00")
	case family == syscall.AF_UNSPEC:
		return "" // a socket is let go
	}
	return fmt.Sprintf("%x", raw)
}
