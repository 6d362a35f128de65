// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shard

import "github.com/kubeedge/edge-anomaly/admethod"

// The hash is the same in every process and version: it decides where learned state is.
const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

func add(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime64
	}
	return (h ^ 0xff) * prime64 // no UTF-8 text has this byte: "a","bc" is not "ab","c"
}

func hash(s string) uint64 { return add(offset64, s) }

// place hashes what streams of one place have in common: the device, or the group.
func place(s *admethod.StreamSettings) uint64 {
	if s.Group != "" || len(s.Members) == 0 {
		return hash(s.Group)
	}
	k := &s.Members[0].Key
	return add(hash(k.Namespace), k.Device)
}

// weight of a target for a place; the heaviest gets it. It is the finalizer of MurmurHash3, as FNV alone does not mix
// enough for this.
func weight(place, seed uint64) uint64 {
	h := place ^ seed
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
