// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
)

// Config tunes a Monitor. The defaults serve readings of about one a second of machines that react within a minute;
// where a group is read at another pace, the numbers of rows are what to adapt.
type Config struct {
	TrainRows  int     // readings a member is learned from, 20 to 100,000. Default 400
	Start      float64 // deviation above which an alarm begins, in σ. Default 6
	Stop       float64 // deviation at which it ends; less than Start. Default 2.5
	Smoothing  float64 // weight of a reading in the fast mean, in (0, 1]. Default 0.1
	Adaptation float64 // weight of the fast mean in the baseline, in [0, 0.1]. Default 0.0025
	Recover    int     // readings in which the baseline moves to the present level after an alarm. Default 50
	MaxAge     int     // readings after which an alarm is a new normal; 0 = never. Default 500
	Together   float64 // evidence, −log10 of a probability, at which the members together begin an alarm. Default 3.9, one row in 8,000
	Quiet      int     // rows the group's alarm outlasts that of its members. Default 5

	crowd float64 // by how much more is asked of each member of a large group
}

// DefaultConfig is the configuration that needs no tuning.
func DefaultConfig() Config {
	return Config{
		TrainRows: 400, Start: 6, Stop: 2.5, Smoothing: 0.1, Adaptation: 0.0025, Recover: 50, MaxAge: 500, Quiet: 5,
		Together: 3.9,
	}
}

// Validate returns every mistake, joined.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v, want %s", name, value, want))
		}
	}
	check(c.TrainRows >= minTrain && c.TrainRows <= maxTrain, "TrainRows", c.TrainRows,
		fmt.Sprintf("%d to %d", minTrain, maxTrain))
	check(c.Start > 0 && c.Start <= 1e6, "Start", c.Start, "a positive number")
	check(c.Stop > 0 && c.Stop < c.Start, "Stop", c.Stop, "more than 0 and less than Start")
	check(c.Smoothing > 0 && c.Smoothing <= 1, "Smoothing", c.Smoothing, "more than 0, at most 1")
	check(c.Adaptation >= 0 && c.Adaptation <= 0.1, "Adaptation", c.Adaptation, "0 to 0.1")
	check(c.Recover >= 0, "Recover", c.Recover, "0 or more")
	check(c.MaxAge >= 0, "MaxAge", c.MaxAge, "0 or more")
	check(c.Together > 0, "Together", c.Together, "a positive number")
	check(c.Quiet >= 0, "Quiet", c.Quiet, "0 or more")
	return errors.Join(errs...)
}
