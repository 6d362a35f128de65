// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/account"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

const (
	mostListed  = 50 // incidents of a summary
	mostNamed   = 20 // different errors of rows that are named
	mostColumns = 10 // columns of which a summary says what judged them
)

// tally counts what happens in a run of detect.
type tally struct {
	log                          io.Writer // of bad rows
	read, bad, judged, anomalous int
	rows, labels                 int // that have an outcome, and of them those with a label
	noNumber                     int // cells of columns of numbers that hold none
	learned                      int // rows before the first that was judged
	firstAt, judgedFrom          time.Time
	worst                        driver.Severity
	labelled                     bool // the input says what is anomalous
	truth                        replay.Truth
	errors                       map[string]int // of rows that cannot be used
	order                        []string       // of errors, as they came
}

// skipped counts a row that cannot be used. It names the first one of each error.
func (t *tally) skipped(err *dataset.RowError) {
	t.bad++
	text := err.Err.Error()
	n, known := t.errors[text]
	if !known && len(t.errors) == mostNamed {
		return
	}
	if !known {
		fmt.Fprintf(t.log, "%v: skipped\n", err)
		t.order = append(t.order, text)
	}
	if t.errors == nil {
		t.errors = make(map[string]int)
	}
	t.errors[text] = n + 1
}

// repeated tells how often each error came again.
func (t *tally) repeated(w io.Writer) {
	named := 0
	for _, text := range t.order {
		n := t.errors[text]
		if named += n; n > 1 {
			fmt.Fprintf(w, "%s more: %s\n", counted(n-1, "row"), text)
		}
	}
	if n := t.bad - named; n > 0 {
		fmt.Fprintf(w, "%s more that cannot be used, for other reasons\n", counted(n, "row"))
	}
}

// count takes the outcome of a row, and returns the score that it is written with.
func (t *tally) count(at time.Time, o *account.Row, label bool) float64 {
	if t.rows++; t.rows == 1 {
		t.firstAt = at
	}
	if label {
		t.labels++
	}
	if t.labelled {
		t.truth.Add(at, label, o.Incident)
	}
	if o.Severity.Anomalous() {
		t.anomalous++
		t.worst = max(t.worst, o.Severity)
	}
	if math.IsNaN(o.Score) {
		return 0
	}
	if t.judged++; t.judged == 1 {
		t.learned, t.judgedFrom = t.rows-1, at
	}
	return o.Score
}

// summary is what a run of detect tells of a file.
type summary struct {
	File        string            `json:"file"`
	Readings    int               `json:"readings"`
	Judged      int               `json:"judged"`
	Anomalous   int               `json:"anomalous"`
	Skipped     int               `json:"skipped"`
	NoNumber    int               `json:"noNumber"` // cells that are empty or say that there is no reading, such as N/A
	WarmUp      int               `json:"warmUp"`   // rows that were learned from before the first was judged
	WarmUpTime  string            `json:"warmUpTime,omitempty"`
	Cadence     string            `json:"cadence,omitempty"`        // time between two readings
	AsWritten   bool              `json:"timesAsWritten,omitempty"` // without a zone: Z in times stands for the clock of the file
	TimesCount  string            `json:"timesCount,omitempty"`     // row or second: times are so many after 1970-01-01T00:00:00Z, as the file tells none
	Threshold   float64           `json:"threshold"`
	AlarmsAWeek *float64          `json:"alarmsAWeek,omitempty"` // expected at the threshold by chance
	JudgedBy    []judgedBy        `json:"judgedBy"`
	Labels      *labelSummary     `json:"labels,omitempty"`
	Incidents   []incidentSummary `json:"incidents"`
	Notes       []string          `json:"notes,omitempty"`

	worst     driver.Severity
	tally     *tally
	counts    input.Count
	location  *time.Location // of what is shown to people
	done      []account.Incident
	judges    int      // columns that are judged alone, in each series, and all together
	named     []string // columns that are blamed; nil where there is one
	manyFiles bool
}

type labelSummary struct {
	Faults      int     `json:"faults"`
	Found       int     `json:"found"`
	Delay       float64 `json:"delaySeconds"`
	FalseAlarms int     `json:"falseAlarms"`
}

type incidentSummary struct {
	ID       string          `json:"id"`
	Series   string          `json:"series,omitempty"`
	Began    time.Time       `json:"began"`
	Ended    time.Time       `json:"ended"` // so far, where it lasts
	Outcome  string          `json:"outcome"`
	Kind     driver.Kind     `json:"kind"`
	Severity driver.Severity `json:"severity"`
	Score    *float64        `json:"worstScore,omitempty"`
	Readings int             `json:"readings"`
	Blamed   []string        `json:"blamed,omitempty"`
	By       []string        `json:"by,omitempty"`
	Why      string          `json:"why,omitempty"` // in words
}

// summary tells what was found.
func (r *detection) summary() *summary {
	s := &summary{
		File: r.title(), Readings: r.read, Judged: r.judged, Anomalous: r.anomalous, Skipped: r.bad, NoNumber: r.noNumber, WarmUp: r.learned,
		Threshold: r.judging.threshold(), AsWritten: r.src.AsWritten(), TimesCount: r.src.Counts().String(), counts: r.src.Counts(), location: r.src.Location(), Notes: r.src.Notes(), worst: r.worst, tally: &r.tally, done: r.jury.book.Done,
		Incidents: []incidentSummary{}, JudgedBy: r.jury.judgedBy(r.src.Cadence()),
	}
	if len(r.jury.names) > 1 {
		s.named = r.jury.names
	}
	if r.judged > 0 && r.learned > 0 && s.counts != input.Rows {
		s.WarmUpTime = lasting(r.judgedFrom.Sub(r.firstAt))
	}
	if c := r.src.Cadence(); c > 0 {
		s.Cadence = lasting(c)
		s.judges = len(r.jury.order)
		if r.jury.group != nil {
			s.judges++
		}
		n := float64(s.judges) * driver.TailProbability(s.Threshold) * float64(7*24*time.Hour) / float64(c)
		n = math.Round(n*1e6) / 1e6 // what is beyond comes of the arithmetic
		s.AlarmsAWeek = &n
	}
	if r.labelled {
		t := &r.truth
		s.Labels = &labelSummary{len(t.Faults), t.Found(), t.Delay().Seconds(), t.False()}
	}
	for i := range s.done {
		a := &s.done[i]
		told := incidentSummary{
			ID: verdict.ID(a.ID), Series: a.Series, Began: a.Start.UTC(), Ended: a.End.UTC(), Outcome: a.Phase.String(), Kind: a.Kind,
			Severity: a.Severity, Readings: a.Readings, Blamed: a.Blamed, Why: a.Why,
		}
		if !math.IsNaN(a.Score) {
			told.Score = &a.Score
		}
		for _, by := range a.By {
			told.By = append(told.By, strings.Replace(by, together, "all together", 1))
		}
		s.Incidents = append(s.Incidents, told)
	}
	return s
}

// threshold is the one in force.
func (j *judging) threshold() float64 {
	if j.alone != nil {
		return j.alone.Threshold
	}
	return j.together.Threshold
}

// text writes a summary for people.
func (s *summary) text(w io.Writer) {
	t := s.tally
	if s.manyFiles {
		fmt.Fprintf(w, "%s: ", s.File)
	}
	fmt.Fprintf(w, "%s, %d judged, %d anomalous, %s; %s skipped\n", counted(s.Readings, "reading"), s.Judged, s.Anomalous, counted(len(s.done), "incident"), counted(s.Skipped, "row"))
	t.repeated(w)
	if s.NoNumber > 0 {
		fmt.Fprintf(w, "%d cells hold no number, such as an empty one, N/A, ERR or a code for no reading\n", s.NoNumber)
	}
	s.words(w)
	if l := s.Labels; l != nil {
		fmt.Fprintf(w, "labels: %s, %d found", counted(l.Faults, "fault"), l.Found)
		if l.Found > 0 {
			fmt.Fprintf(w, " after %s in the median", t.truth.Delay())
		}
		fmt.Fprintf(w, "; %s\n", counted(l.FalseAlarms, "false alarm"))
		if t.labels == t.rows {
			fmt.Fprintln(w, "every row is labelled as a fault: 0, false, no, none, ok, normal, good and the like say that there is none")
		}
	}
	s.table(w)
}

// words say what was judged by what, and how.
func (s *summary) words(w io.Writer) {
	var alone []string
	detector := ""
	for i := range s.JudgedBy {
		by := &s.JudgedBy[i]
		if len(by.Columns) > 1 {
			continue
		}
		detector = by.Detector
		name := by.Columns[0]
		switch {
		case by.Series != "" && len(s.named) > 1:
			name = by.Series + " " + name
		case by.Series != "":
			name = by.Series
		}
		switch {
		case by.Judged == 0 && s.Judged > 0:
			name += " (not judged)"
		case by.Shows != "" && by.Judged > 0:
			name += " (" + by.Shows + ")"
		}
		alone = append(alone, name)
	}
	if n := len(alone); n > mostColumns {
		alone = append(alone[:mostColumns], fmt.Sprintf("and %d more", n-mostColumns))
	}
	switch last := s.JudgedBy[len(s.JudgedBy)-1]; {
	case len(last.Columns) > 1 && len(alone) > 0:
		not := ""
		if last.Judged == 0 {
			not = " (not judged)"
		}
		fmt.Fprintf(w, "judged by %s: %s; all together by %s%s\n", detector, strings.Join(alone, ", "), last.Detector, not)
	case len(alone) > 0:
		fmt.Fprintf(w, "judged by %s: %s\n", detector, strings.Join(alone, ", "))
	default:
		fmt.Fprintf(w, "judged together by %s: %s\n", last.Detector, strings.Join(last.Columns, ", "))
	}
	switch {
	case s.Judged == 0:
		fmt.Fprintf(w, "nothing could be judged: %s\n", s.why())
	case s.WarmUpTime != "":
		fmt.Fprintf(w, "the first %d rows (%s) were learned from, and not judged\n", s.WarmUp, s.WarmUpTime)
	case s.WarmUp > 0:
		fmt.Fprintf(w, "the first %d rows were learned from, and not judged\n", s.WarmUp)
	}
	fmt.Fprintf(w, "threshold %.6g", s.Threshold)
	if s.AlarmsAWeek != nil {
		alarms := rough(*s.AlarmsAWeek) + " false alarms"
		if alarms == "1 false alarms" {
			alarms = "1 false alarm"
		}
		fmt.Fprintf(w, ": by chance about %s a week, at a reading every %s", alarms, s.Cadence)
		if s.judges > 1 {
			fmt.Fprintf(w, ", %s of each of %d that are judged alone or together", rough(*s.AlarmsAWeek/float64(s.judges)), s.judges)
		}
	}
	if s.AlarmsAWeek == nil {
		fmt.Fprintf(w, ": by chance about one false alarm in %s readings", rough(1/driver.TailProbability(s.Threshold)))
	}
	fmt.Fprintln(w)
}

// learning are the parameters that say how many readings a detector learns from first.
var learning = []string{"trainRows", "warmUp", "window"}

// why says why no row was judged.
func (s *summary) why() string {
	if s.Readings == 0 {
		return "there is no row"
	}
	if s.Anomalous > 0 {
		return "the readings are not such that a detector could, see their kind"
	}
	by := s.JudgedBy[0]
	if f, err := driver.Default.Lookup(by.Detector); err == nil {
		for _, name := range learning {
			for _, p := range f.Params() {
				if p.Key == name && p.Default != "" && p.Default != "0" {
					return fmt.Sprintf("%s learns from %s readings first (detector.%s), and there are %d", by.Detector, p.Default, name, s.Readings)
				}
			}
		}
	}
	return fmt.Sprintf("%s had not learned enough from %d readings, or none was a reading that it can judge", by.Detector, s.Readings)
}

// table lists the worst incidents in the order of time.
func (s *summary) table(w io.Writer) {
	if len(s.done) == 0 {
		return
	}
	shown := s.done
	if len(shown) > mostListed {
		shown = slices.Clone(shown)
		slices.SortStableFunc(shown, func(a, b account.Incident) int {
			return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(b.Score, a.Score), cmp.Compare(b.Readings, a.Readings))
		})
		shown = shown[:mostListed]
		slices.SortFunc(shown, func(a, b account.Incident) int { return cmp.Compare(a.First, b.First) })
	}
	series := slices.ContainsFunc(shown, func(a account.Incident) bool { return a.Series != "" })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "began\tended\tas\tkind\tseverity\tworst score\treadings"
	if series {
		head += "\tseries"
	}
	if s.named != nil {
		head += "\tblamed"
	}
	why := slices.ContainsFunc(shown, func(a account.Incident) bool { return a.Why != "" })
	if why {
		head += "\twhy"
	}
	fmt.Fprintln(t, head)
	for i := range shown {
		a := &shown[i]
		fmt.Fprintf(t, "%s\t%s\t%v\t%s\t%v\t%s\t%d", s.stamp(a.Start), s.stamp(a.End), a.Phase, a.Kind, a.Severity, scoreText(a.Score), a.Readings)
		if series {
			fmt.Fprintf(t, "\t%s", cell(a.Series))
		}
		if s.named != nil {
			blamed := a.Blamed
			if len(blamed) > 4 {
				blamed = append(slices.Clone(blamed[:4]), fmt.Sprintf("and %d more", len(a.Blamed)-4))
			}
			fmt.Fprintf(t, "\t%s", cell(strings.Join(blamed, ", ")))
		}
		if why {
			fmt.Fprintf(t, "\t%s", cell(a.Why))
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	if n := len(s.done) - len(shown); n > 0 {
		fmt.Fprintf(w, "and %d more that are less severe\n", n)
	}
}

// write writes the summaries for programs, where that is wanted.
func (o *detectOptions) write(w io.Writer, all []*summary) error {
	if o.format != "json" && o.format != "yaml" {
		return nil
	}
	return encode(w, o.format, all)
}

// stamp shows a time by the clock of the file: without a zone where the file has none, or in the one that was told.
func (s *summary) stamp(t time.Time) string {
	switch {
	case s.counts != input.NoCount:
		return report.Counted(t, s.counts)
	case s.AsWritten:
		return t.Format("2006-01-02T15:04:05")
	case s.location != nil:
		return t.In(s.location).Format(time.RFC3339)
	}
	return stamp(t)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// scoreText shows a score to four digits, and none where the detector had no part in it.
func scoreText(score float64) string {
	if math.IsNaN(score) {
		return "-"
	}
	return fmt.Sprintf("%.4f", score)
}

// judges names what the columns are judged by.
func (p *plan) judges() string {
	if p.each && p.group {
		return admethod.DefaultConfig().Detector + " and " + groupDetector
	}
	return p.detector
}
