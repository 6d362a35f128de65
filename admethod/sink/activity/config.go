// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// The events that release a lock, beside the passing of time.
const (
	OnStatusChange = "onAnomalyChangeStatus" // the incident is over
	OnRetraining   = "onRetraining"          // the model was retrained or reloaded
)

// What one lock of an activity is for.
const (
	LockProperty  = "property"  // each property has its own
	LockDevice    = "device"    // all properties of a device
	LockMetric    = "metric"    // all of a namespace whose source names the same predicted metric
	LockNamespace = "namespace" // all of a namespace
)

// Activity is one entry of the file of activities.
type Activity struct {
	Name    string        `yaml:"name" json:"name"`
	Match   *Match        `yaml:"match" json:"match,omitempty"` // nil: it runs only if chosen by name
	Command Command       `yaml:"command" json:"command"`
	Timeout time.Duration `yaml:"timeout" json:"-"` // 0 means 30 s
	Unlock  []string      `yaml:"unlock" json:"unlock,omitempty"`
	After   time.Duration `yaml:"after" json:"-"` // releases the lock too; 0 never does

	// Lock is what one lock is for. Where several properties share one, the activity runs once for all of them: on the first
	// that matches, and again when all that did are back.
	Lock string `yaml:"lock" json:"lock,omitempty"`
}

// Match says which verdicts start an activity. Namespace, device, property and metric are globs; what is empty matches all.
type Match struct {
	Namespace string `yaml:"namespace" json:"namespace,omitempty"`
	Device    string `yaml:"device" json:"device,omitempty"`
	Property  string `yaml:"property" json:"property,omitempty"`
	Metric    string `yaml:"metric" json:"metric,omitempty"`     // predicted metric that the source of the property names
	Severity  string `yaml:"severity" json:"severity,omitempty"` // that or worse; warning where empty
	Kind      string `yaml:"kind" json:"kind,omitempty"`
}

// Command is a script with its arguments: either ShellFile and Args, or Exec, which begins with the script or with an
// allowed program that the script follows.
type Command struct {
	ShellFile string   `yaml:"shell_file" json:"shell_file,omitempty"`
	Args      []string `yaml:"args" json:"args,omitempty"`
	Exec      []string `yaml:"exec" json:"exec,omitempty"`
}

const (
	defaultTimeout = 30 * time.Second
	longestTimeout = time.Hour
	maxFile        = 1 << 20
	maxActivities  = 1000
)

// readFile reads and checks the file of activities.
func readFile(name string, chosen, allowed []string) ([]Activity, error) {
	data, err := regular.Read(name, maxFile)
	if err != nil {
		return nil, err
	}
	list, err := Parse(data, allowed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, c := range chosen {
		i := slices.IndexFunc(list, func(a Activity) bool { return a.Name == c })
		if i < 0 {
			return nil, fmt.Errorf("%s: no activity is named %q", name, c)
		}
		if list[i].Match == nil {
			list[i].Match = &Match{}
		}
	}
	return list, nil
}

// Parse reads the YAML text of activities, strictly, and reports all that is wrong. allowed names the programs that may
// run a script.
func Parse(data []byte, allowed []string) ([]Activity, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(data), maxFile)
	}
	var file struct {
		Activities []Activity `yaml:"activities"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("activities: %w", err)
	}
	if len(file.Activities) > maxActivities {
		return nil, fmt.Errorf("activities: %d, want at most %d", len(file.Activities), maxActivities)
	}
	var errs []error
	names := make(map[string]bool)
	for i := range file.Activities {
		a := &file.Activities[i]
		if names[a.Name] {
			errs = append(errs, fmt.Errorf("activities[%d].name: %q is taken", i, a.Name))
		}
		names[a.Name] = true
		for _, err := range a.check(allowed) {
			errs = append(errs, fmt.Errorf("activities[%d] %q: %w", i, a.Name, err))
		}
	}
	return file.Activities, errors.Join(errs...)
}

// check finds what is wrong and fills in defaults.
func (a *Activity) check(allowed []string) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if a.Name == "" || len(a.Name) > 100 || strings.ContainsRune("-.", rune(a.Name[0])) || strings.ContainsFunc(a.Name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r)
	}) {
		fail("name: want 1 … 100 letters, digits, _, - or ., and a letter, digit or _ first")
	}
	if m := a.Match; m != nil {
		for _, p := range []string{m.Namespace, m.Device, m.Property, m.Metric} {
			if _, err := path.Match(p, ""); err != nil {
				fail("match: got %q, want a glob such as light-*", p)
			}
		}
		if s := m.Severity; s != "" && s != driver.Warning.String() && s != driver.Critical.String() {
			fail("match.severity: got %q, want warning or critical", s)
		}
	}
	if _, _, _, err := a.Command.split(allowed); err != nil {
		fail("command: %w", err)
	}
	if a.Timeout == 0 {
		a.Timeout = defaultTimeout
	}
	if a.Timeout < 0 || a.Timeout > longestTimeout {
		fail("timeout: got %v, want at most %v", a.Timeout, longestTimeout)
	}
	if a.After < 0 {
		fail("after: got %v, want more than 0", a.After)
	}
	switch a.Lock {
	case "":
		a.Lock = LockProperty
	case LockProperty, LockDevice, LockMetric, LockNamespace:
	default:
		fail("lock: got %q, want %s, %s, %s or %s", a.Lock, LockProperty, LockDevice, LockMetric, LockNamespace)
	}
	for _, u := range a.Unlock {
		if u != OnStatusChange && u != OnRetraining {
			fail("unlock: got %q, want %s or %s", u, OnStatusChange, OnRetraining)
		}
	}
	if len(a.Unlock) == 0 && a.After == 0 {
		a.Unlock = []string{OnStatusChange}
	}
	return errs
}

// split tells the program that runs the script ("" where it runs by itself), the script, and its arguments.
func (c *Command) split(allowed []string) (program, script string, args []string, err error) {
	switch {
	case (c.ShellFile == "") == (len(c.Exec) == 0):
		return "", "", nil, errors.New("want either shell_file or exec")
	case c.ShellFile != "":
		script, args = c.ShellFile, c.Args
	case len(c.Args) > 0:
		return "", "", nil, errors.New("args: want them in exec")
	case slices.Contains(allowed, c.Exec[0]):
		if len(c.Exec) < 2 {
			return "", "", nil, fmt.Errorf("exec: want a script after %q", c.Exec[0])
		}
		program, script, args = c.Exec[0], c.Exec[1], c.Exec[2:]
	default:
		script, args = c.Exec[0], c.Exec[1:]
	}
	// A script is never taken for an option of its program: it is passed by its full path.
	if !filepath.IsLocal(script) || script == "." || strings.HasPrefix(script, "-") || strings.ContainsAny(script, "\\\x00") {
		return "", "", nil, fmt.Errorf("got script %q, want the name of a file in the folder of scripts", script)
	}
	for _, arg := range args {
		if strings.ContainsRune(arg, 0) {
			return "", "", nil, fmt.Errorf("got argument %q, want text without NUL", arg)
		}
	}
	return program, script, args, nil
}

// matches reports whether a verdict starts the activity: by its incident, where it is of one. metric is the predicted metric
// of its property.
func (a *Activity) matches(r *driver.Result, metric string) bool {
	severity, kind := incidents.Standing(r)
	m := a.Match
	if m == nil || !severity.Anomalous() || m.Severity == driver.Critical.String() && severity != driver.Critical {
		return false
	}
	return glob(m.Namespace, r.Key.Namespace) && glob(m.Device, r.Key.Device) && glob(m.Property, r.Key.Property) && glob(m.Metric, metric) &&
		(m.Kind == "" || m.Kind == string(kind))
}

func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return pattern == "" || err == nil && ok
}
