// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// mostListed is how many incidents a summary lists.
const mostListed = 50

// mostNamed is how many bad rows are named one by one.
const mostNamed = 20

// tally counts what happens in a run of detect.
type tally struct {
	log                          io.Writer // of bad rows
	read, bad, judged, anomalous int
	incidents                    replay.Incidents
	labelled                     bool // the input says what is anomalous
	truth                        report.Truth
}

// skipped counts a row that cannot be used, and names it.
func (t *tally) skipped(err *dataset.RowError) {
	if t.bad++; t.bad <= mostNamed {
		fmt.Fprintf(t.log, "%v: skipped\n", err)
	}
}

// count takes the outcome of a reading, and returns the score that it is written with.
func (t *tally) count(at time.Time, o *replay.Outcome, label bool) float64 {
	t.incidents.Add(at, o.Incident)
	if t.labelled {
		t.truth.Add(at, label, o.Severity.Anomalous())
	}
	if o.Severity.Anomalous() {
		t.anomalous++
	}
	if math.IsNaN(o.Score) {
		return 0
	}
	t.judged++
	return o.Score
}

// summarize tells what a run of detect found.
func summarize(w io.Writer, s *tally) {
	fmt.Fprintf(w, "%d readings, %d judged, %d anomalous, %d incidents; %d rows skipped\n",
		s.read, s.judged, s.anomalous, len(s.incidents.Done), s.bad)
	if s.bad > mostNamed {
		fmt.Fprintf(w, "only the first %d skipped rows are named\n", mostNamed)
	}
	if t := &s.truth; s.labelled {
		fmt.Fprintf(w, "labels: %d faults, %d found", len(t.Faults), t.Found())
		if t.Found() > 0 {
			fmt.Fprintf(w, " after %s in the median", t.Delay())
		}
		fmt.Fprintf(w, "; %d false alerts\n", t.False())
	}
	showIncidents(w, s.incidents.Done)
}

// showIncidents lists the worst incidents in the order of time.
func showIncidents(w io.Writer, incidents []replay.Incident) {
	if len(incidents) == 0 {
		return
	}
	shown := incidents
	if len(incidents) > mostListed {
		shown = slices.Clone(incidents)
		slices.SortStableFunc(shown, func(a, b replay.Incident) int {
			return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Score, a.Score), cmp.Compare(b.Readings, a.Readings))
		})
		shown = shown[:mostListed]
		slices.SortFunc(shown, func(a, b replay.Incident) int { return cmp.Compare(a.First, b.First) })
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "began\tended\tas\tkind\tseverity\tworst score\treadings")
	for i := range shown {
		a := &shown[i]
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\t%v\t%s\t%d\n",
			stamp(a.Start), stamp(a.End), a.Phase, a.Kind, a.Severity, scoreText(a.Score), a.Readings)
	}
	t.Flush()
	if n := len(incidents) - len(shown); n > 0 {
		fmt.Fprintf(w, "and %d more that are less severe\n", n)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// scoreText shows a score to four digits, and none where the detector had no part in it.
func scoreText(score float64) string {
	if math.IsNaN(score) {
		return "-"
	}
	return fmt.Sprintf("%.4f", score)
}
