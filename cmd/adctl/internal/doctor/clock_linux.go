// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import "syscall"

const unsynchronised = 0x40 // STA_UNSYNC

// clock asks the kernel whether somebody keeps the clock right.
func clock() Line {
	l := Line{Check: "clock", State: OK, Found: "is kept in time"}
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		l.State, l.Found = Unknown, err.Error()
	} else if t.Status&unsynchronised != 0 {
		l.State, l.Found = Warning, "nobody keeps it in time: verdicts may carry wrong times, and mutes begin at wrong ones"
		l.Remedy = "sudo timedatectl set-ntp true"
	}
	return l
}
