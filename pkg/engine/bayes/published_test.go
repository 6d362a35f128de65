// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"math"
	"testing"
)

// Posteriors that others have published for two well-known networks.
func TestPublishedPosteriors(t *testing.T) {
	type want struct {
		node, state string
		p           float64
	}
	for _, c := range []struct {
		source    string
		network   string
		given     []string
		joint     bool // the figures are P(node = state, given)
		tolerance float64
		want      []want
	}{{
		// Unit tests of the cluster propagation of OpenMarkov (testHugin…), to 7 digits.
		source: "OpenMarkov", network: "asia.bif", tolerance: 5e-7,
		want: []want{{"asia", "yes", 0.01}, {"smoke", "yes", 0.5}, {"tub", "yes", 0.0104}, {"lung", "yes", 0.055},
			{"bronc", "yes", 0.45}, {"either", "yes", 0.064828}, {"xray", "yes", 0.1102904}, {"dysp", "yes", 0.4359706}},
	}, {
		// The same with evidence, to 4 digits.
		source: "OpenMarkov", network: "asia.bif", given: []string{"xray", "yes"}, tolerance: 5e-5,
		want: []want{{"asia", "yes", 0.0132}, {"smoke", "yes", 0.6878}, {"tub", "yes", 0.0924}, {"lung", "yes", 0.4887},
			{"bronc", "yes", 0.5063}, {"either", "yes", 0.5760}, {"dysp", "yes", 0.6408}},
	}, {
		// Variable elimination of pgmpy, as in the tests of a public wrapper of it.
		source: "pgmpy", network: "asia.bif", given: []string{"smoke", "yes"}, tolerance: 1e-12,
		want: []want{{"dysp", "yes", 0.552808}},
	}, {
		source: "pgmpy", network: "asia.bif", given: []string{"dysp", "yes"}, tolerance: 1e-12,
		want: []want{{"smoke", "yes", 0.6339968796061018}},
	}, {
		source: "pgmpy", network: "asia.bif", given: []string{"dysp", "yes", "asia", "yes"}, tolerance: 1e-12,
		want: []want{{"smoke", "yes", 0.6259198578212214}},
	}, {
		// Genstar (github.com/ANRGenstar/genstar), DataAlarm.java, against which its inference is tested to 5 digits;
		// the tables of testdata/alarm.bif are those of its alarm.xmlbif.
		source: "Genstar", network: "alarm.bif", tolerance: 2e-8,
		want: []want{{"PAP", "LOW", .0496}, {"SHUNT", "HIGH", .10309499}, {"CO", "NORMAL", .18446735}},
	}, {
		// What it lists under evidence are joint probabilities with that evidence: FIO2 and ERRCAUTER are independent, with
		// probabilities of 0.05 and 0.1.
		source: "Genstar", network: "alarm.bif", given: []string{"CO", "LOW"}, joint: true, tolerance: 1e-6,
		want: []want{{"PVSAT", "NORMAL", 0.0039351}, {"FIO2", "LOW", 0.00860472}, {"SHUNT", "NORMAL", 0.154551}, {"VENTMACH", "ZERO", 0.009004}},
	}, {
		source: "Genstar", network: "alarm.bif", given: []string{"ERRCAUTER", "TRUE"}, joint: true, tolerance: 1e-6,
		want: []want{{"FIO2", "LOW", 0.005}, {"HREKG", "LOW", 0.006985}, {"HRSAT", "LOW", 0.006985}},
	}} {
		n := load(t, c.network)
		e := compile(t, n)
		scale := 1.0
		if p := math.Exp(e.Query(evidence(t, n, c.given...))); c.joint {
			scale = p
		}
		for _, w := range c.want {
			if got := scale * e.Posterior(n.Index(w.node))[stateOf(t, n, w.node, w.state)]; !near(got, w.p, c.tolerance) {
				t.Errorf("%s, %s: P(%s = %s | %v) = %.8f, want %v", c.source, c.network, w.node, w.state, c.given, got, w.p)
			}
		}
	}
}
