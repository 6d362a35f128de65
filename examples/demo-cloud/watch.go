// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
)

// extension is what of a DeviceStatus the detector writes.
type extension struct {
	Data struct {
		Severity  string `json:"severity"`
		Incidents []struct {
			Property string `json:"property"`
			Severity string `json:"severity"`
			Kind     string `json:"kind"`
			Message  string `json:"message"`
		} `json:"incidents"`
		Properties map[string]struct {
			Severity string `json:"severity"`
		} `json:"properties"`
	} `json:"data"`
}

// look reads what the DeviceStatus of a device says of it.
func look(cloud *cloudtest.Server, device string) (e extension, err error) {
	var status struct {
		Status struct {
			Extensions map[string]extension `json:"extensions"`
		} `json:"status"`
	}
	raw, err := json.Marshal(cloud.Status(namespace, device))
	if err == nil {
		err = json.Unmarshal(raw, &status)
	}
	return status.Status.Extensions["anomaly-detector"], err
}

// normal says that all properties of a device are judged, and nothing of it is wrong.
func (e *extension) normal(d *device) bool {
	for _, s := range d.sensors {
		if e.Data.Properties[s.name].Severity != "normal" {
			return false
		}
	}
	return true
}

// finding is an incident that a DeviceStatus tells.
type finding struct {
	device, property, kind, severity, message string
	at                                        time.Time
}

// outcome is what became of a fault.
type outcome struct {
	*fault
	begun time.Time
	found *finding
}

// account is what was to be found, and what was.
type account struct {
	outcomes []outcome
	wrong    []finding // that are of no fault
}

// take takes what the DeviceStatuses say now, and returns what is new.
func (a *account) take(cloud *cloudtest.Server, all []*device, now time.Time) (news []finding, err error) {
	for _, d := range all {
		e, err := look(cloud, d.name)
		if err != nil {
			return nil, err
		}
		for _, i := range e.Data.Incidents {
			f := finding{d.name, i.Property, i.Kind, i.Severity, i.Message, now}
			if a.note(&f) {
				news = append(news, f)
			}
		}
	}
	return news, nil
}

// note notes a finding, and reports whether it is new. A property has one incident at a time.
func (a *account) note(f *finding) bool {
	for i := range a.outcomes {
		o := &a.outcomes[i]
		if o.device != f.device || o.property != everything && o.property != f.property {
			continue
		}
		if o.found == nil {
			o.found = f
			return true
		}
		return false // its kind may be named better while it lasts
	}
	if slices.ContainsFunc(a.wrong, func(w finding) bool { return w.device == f.device && w.property == f.property }) {
		return false
	}
	a.wrong = append(a.wrong, *f)
	return true
}

func (a *account) all() bool {
	return !slices.ContainsFunc(a.outcomes, func(o outcome) bool { return o.found == nil })
}

// table has a line for each fault.
func (a *account) table() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tPROPERTY\tWHAT WENT WRONG\tFOUND AS\tAFTER\tRESULT")
	for i := range a.outcomes {
		o := &a.outcomes[i]
		found, after := "-", "-"
		if o.found != nil {
			found, after = o.found.severity+" "+o.found.kind, fmt.Sprintf("%.1f s", o.found.at.Sub(o.begun).Seconds())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", o.device, o.property, o.what, found, after, o.result())
	}
	_ = t.Flush() // a strings.Builder takes everything
	return b.String()
}

func (o *outcome) result() string {
	switch {
	case o.found == nil:
		return "MISSED"
	case !slices.Contains(o.kinds, o.found.kind):
		return "MISNAMED"
	}
	return "found"
}

// verdict is nil where each fault was found, and nothing else.
func (a *account) verdict() error {
	var wrong []string
	for i := range a.outcomes {
		if o := &a.outcomes[i]; o.result() != "found" {
			wrong = append(wrong, fmt.Sprintf("%s/%s: %s: %s", o.device, o.property, o.what, o.result()))
		}
	}
	for _, f := range a.wrong {
		wrong = append(wrong, fmt.Sprintf("%s/%s: %s, although nothing is wrong with it: %s", f.device, f.property, f.kind, f.message))
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(wrong, "\n"))
}
