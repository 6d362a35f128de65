// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// Reading is one reading of one property, as its origin has it.
type Reading struct {
	Key driver.Key // all three parts, each of 1 to 253 bytes without a slash
	At  time.Time  // when it was taken; of arrival, where the origin does not say

	// A reading is a number or, where Text is not "", a text: the data type of the property says what it means, or
	// numbers, true and false, on and off are read where that is not known. NaN without a text is a reading that the
	// device could not take.
	Value float64
	Text  string // of at most 256 bytes; what is beyond is cut off

	// Property is what is known of the property beside its name; nil is nothing. Readings of one property share it: a
	// source makes another one only when something of it changes, as the property is then opened anew.
	Property *Property

	// Past is a reading of the time before the source was asked: detectors learn from it, and no verdict on it is told.
	// Those of a property come before its first one that is not.
	Past bool

	// Finding, where it is not nil, stands in place of a reading: something that the source found of the property beside
	// its readings. It is told as what is wrong with readings is, from the time At on, until another one takes its place.
	Finding *Finding

	// Gone says that the property is no more, in place of a reading: nothing is learned, what was learned is kept for its
	// return, its incident is told to be abandoned, and its silence says nothing. Key alone counts beside it.
	Gone bool

	// Answer gets the verdict on this reading, with the token; nil where nobody waits for it.
	Answer Answerer
	Token  uint64
}

// Finding is something of a property that its readings do not show, such as a device that does not do as it was told.
type Finding struct {
	Kind driver.Kind // [driver.KindNone]: all is well again
	// Strength is how far it is beyond what is allowed: 1 is just over, 5 and more are critical.
	Strength float64
	Message  string // for people
}

// Answerer waits for verdicts.
type Answerer interface {
	// Answer tells the verdict on the reading of that token; nil for one that was taken and is not judged: it was part of
	// a row of a group that others complete, or was lost to overload or shutdown. It is called once for each reading that
	// Take did not refuse, from any goroutine, perhaps before Take returns; it must not block, and keeps nothing of r.
	Answer(token uint64, r *driver.Result)
}

// Property is what a source knows of a property beside its name. It must not change after it was handed over.
type Property struct {
	Model            string   // of the device
	Node             string   // that the device is at; "" where it is not known
	DataType         string   // int, float, double, string, boolean, bytes; "" where it is not known
	Unit             string   // "" where it is not known
	Minimum, Maximum *float64 // what can be read; nil where it is not known

	Cycle time.Duration // expected time between two readings; 0 where it is not known

	// Lasting says that the source tells when the property is gone: until then it is watched, however long nothing comes.
	// Others are forgotten after a while without readings, and what was learned is kept for their return.
	Lasting bool

	// Labels of the device, for routes and for what is recorded: at most [MaxLabels], of at most [MaxLabel] bytes each.
	Labels map[string]string

	// Predicted is the name of a metric by which the sink metrics shows what is expected of the property, with its labels;
	// "" is none.
	Predicted string

	// Detection is what the author of the device says of its detection: keys of anomalyDetection, of which those count
	// that a Device may set, over what routes say. nil leaves all to routes.
	Detection map[string]any
}

// The bounds of labels.
const (
	MaxLabels = 64
	MaxLabel  = 512 // bytes of a name and its value
)

// MaxName bounds the parts of a key, in bytes, as Kubernetes does.
const MaxName = 253

// Check says what is wrong with a reading beside its value, which is for the detector to judge.
func (r *Reading) Check() error {
	for _, part := range [...]string{r.Key.Namespace, r.Key.Device, r.Key.Property} {
		if part == "" || len(part) > MaxName || strings.ContainsAny(part, "/\x00") {
			return fmt.Errorf("property %.300q: want namespace, device and property, each of 1 to %d bytes without a slash", r.Key.String(), MaxName)
		}
	}
	if r.At.IsZero() && !r.Gone {
		return fmt.Errorf("%s: a reading without a time", r.Key)
	}
	return nil
}

// Check says what is wrong with what is known of a property. Errors name the field.
func (p *Property) Check() error {
	if p == nil {
		return nil
	}
	var errs []error
	if len(p.Labels) > MaxLabels {
		errs = append(errs, fmt.Errorf("%d labels: want at most %d", len(p.Labels), MaxLabels))
	}
	for name, value := range p.Labels {
		if len(name)+len(value) > MaxLabel {
			errs = append(errs, fmt.Errorf("label %.64q: %d bytes: want at most %d", name, len(name)+len(value), MaxLabel))
			break
		}
	}
	if p.Minimum != nil && p.Maximum != nil && !(*p.Minimum < *p.Maximum) {
		errs = append(errs, fmt.Errorf("minimum %v, maximum %v: want the minimum below the maximum", *p.Minimum, *p.Maximum))
	}
	if p.Cycle < 0 {
		errs = append(errs, &params.Error{Key: "cycle", Value: p.Cycle, Want: "at least 0"})
	}
	for _, f := range [...]struct{ name, text string }{{"model", p.Model}, {"node", p.Node}, {"data type", p.DataType}, {"unit", p.Unit}} {
		if len(f.text) > MaxName {
			errs = append(errs, fmt.Errorf("%s of %d bytes: want at most %d", f.name, len(f.text), MaxName))
		}
	}
	if p.Predicted != "" && (!promapi.MetricName(p.Predicted) || len(p.Predicted) > MaxName) {
		errs = append(errs, &params.Error{Key: "predicted", Value: p.Predicted, Want: "the name of a metric: letters, digits, _ and :"})
	}
	return errors.Join(errs...)
}

// Refusal is a reading that was not taken.
type Refusal struct {
	Index int // in the slice that was handed over
	Err   error
}

// RefusedError says which readings of a slice were not taken, and why, in order of their index. All others were taken.
type RefusedError struct{ Refused []Refusal }

// Error says how many there are, and the first one.
func (e *RefusedError) Error() string {
	switch len(e.Refused) {
	case 0:
		return "no reading was refused"
	case 1:
		return e.Refused[0].Err.Error()
	}
	return fmt.Sprintf("%d readings were refused, the first one: %v", len(e.Refused), e.Refused[0].Err)
}

// Unwrap is why, of each.
func (e *RefusedError) Unwrap() []error {
	errs := make([]error, len(e.Refused))
	for i := range e.Refused {
		errs[i] = e.Refused[i].Err
	}
	return errs
}

// Refused takes the refusals out of an error of Take, and what is left: nil where all that can be told is in the
// refusals.
func Refused(err error) ([]Refusal, error) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Refused, nil
	}
	return nil, err
}

// EndedError wraps an error of Take after which an intake takes nothing any more: a source that meets one on its way hands
// over nothing more, and ends with Err.
type EndedError struct{ Err error }

func (e *EndedError) Error() string { return e.Err.Error() }

// Over is why a source is to end after err: ctx has ended, or err is an [EndedError]. nil says that it goes on.
func Over(ctx context.Context, err error) error {
	var ended *EndedError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &ended):
		return ended.Err
	}
	return nil
}
