// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
)

// outcome is what became of a fault.
type outcome struct {
	fault    fault
	injected time.Duration // since the beginning
	alarm    *verdictlog.Line
	readings int           // from the injection to the alarm, both included
	after    time.Duration // from the injection to the reading, or the silence, that raised the alarm
	blamed   []string      // devices, at the end of the fault
	received string        // what EdgeCore had then
	lapse    string        // why the verdict did not last as the fault did
}

func (o *outcome) result() string {
	switch {
	case o.alarm == nil:
		return "MISSED"
	case !o.located():
		return "NOT LOCATED"
	case o.lapse != "":
		return "DID NOT LAST"
	}
	return "detected"
}

// located says that the faulty device, and no other, was blamed in the end.
func (o *outcome) located() bool { return slices.Equal(o.blamed, []string{o.fault.of.device}) }

// accused are the devices that were blamed, in words.
func (o *outcome) accused() string {
	switch len(o.blamed) {
	case 0:
		return "-"
	case 1:
		return o.blamed[0]
	}
	return "cannot tell: " + strings.Join(o.blamed, " or ")
}

// failures are the reasons for which the demo fails.
func failures(outcomes []outcome, falseAlarms []verdictlog.Line, since func(time.Time) time.Duration) []string {
	var out []string
	for _, o := range outcomes {
		switch {
		case o.alarm == nil:
			out = append(out, fmt.Sprintf("%v was not detected", o.fault))
		case !o.located():
			out = append(out, fmt.Sprintf("%v was detected, but blamed in the end: %s", o.fault, o.accused()))
		case o.lapse != "":
			out = append(out, fmt.Sprintf("%v was detected, but the verdict did not last: %s", o.fault, o.lapse))
		}
	}
	for _, l := range falseAlarms {
		out = append(out, fmt.Sprintf("false alarm at +%.1f s: %v: %s", since(l.At).Seconds(), stream{l.Device, l.Property}, describe(l)))
	}
	return out
}

// table shows the outcomes.
func table(outcomes []outcome) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FAULT\tINJECTED\tVERDICT\tSCORE\tAFTER\tBLAMED\tEDGECORE HAD RECEIVED\tRESULT")
	for _, o := range outcomes {
		verdict, score, after := "-", "-", "-"
		if o.alarm != nil {
			verdict, score = judgement(*o.alarm), fmt.Sprintf("%.3f", float64(o.alarm.Score))
			after = fmt.Sprintf("%d readings, %.1f s", o.readings, o.after.Seconds())
			if o.readings == 1 {
				after = strings.Replace(after, "readings", "reading", 1)
			}
		}
		fmt.Fprintf(t, "%v\t+%.1f s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			o.fault, o.injected.Seconds(), verdict, score, after, o.accused(), o.received, o.result())
	}
	_ = t.Flush() // a strings.Builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// incidentLines are the incidents that ended, a line each: when it began, and what it was.
func incidentLines(all []told, since func(time.Time) time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Incidents that were told: %d\n\n", len(all))
	for _, t := range all {
		fmt.Fprintf(&b, "%8.1f s  %v\n", since(t.incident.Start).Seconds(), t)
	}
	return b.String()
}
