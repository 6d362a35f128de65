// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

const sprinkler = `
network sprinkler {
}
variable rain { type discrete [ 2 ] { yes, no }; }
variable sprinkler { type discrete [ 2 ] { on, off }; }
variable grass { type discrete [ 2 ] { wet, dry }; }
probability ( rain ) { table 0.2, 0.8; }
probability ( sprinkler | rain ) {
  (yes) 0.01, 0.99;
  (no) 0.4, 0.6;
}
probability ( grass | sprinkler, rain ) {
  (on, yes) 0.99, 0.01;
  (on, no) 0.9, 0.1;
  (off, yes) 0.8, 0.2;
  (off, no) 0.0, 1.0;
}`

// Ask a network that was written elsewhere: did it rain, if the grass is wet?
func ExampleEngine_Query() {
	n, err := bayes.ReadBIF(strings.NewReader(sprinkler))
	if err != nil {
		log.Fatal(err)
	}
	e, err := bayes.Compile(n)
	if err != nil {
		log.Fatal(err)
	}
	e.Query([]uint8{bayes.Missing, bayes.Missing, 0})
	fmt.Printf("P(rain | wet grass) = %.4f\n", e.Posterior(n.Index("rain"))[0])
	row := make([]uint8, 3)
	e.Complete(row, []uint8{bayes.Missing, bayes.Missing, 0})
	fmt.Println("most probably:", n.Nodes[0].States[row[0]], n.Nodes[1].States[row[1]], n.Nodes[2].States[row[2]])
	// Output:
	// P(rain | wet grass) = 0.3577
	// most probably: no on wet
}

// A room with two lights and a sensor: learn how they belong together, then say who is wrong.
func ExampleLocator() {
	members := []bayes.Variable{
		{Name: "light-1", States: []string{"off", "on"}},
		{Name: "light-2", States: []string{"off", "on"}},
		{Name: "brightness", States: []string{"0", "100", "200", "300"}},
	}
	table, err := bayes.NewTable(members)
	if err != nil {
		log.Fatal(err)
	}
	for k := range 1000 { // light 1 gives 100, light 2 gives 200
		l1, l2 := uint8(k&1), uint8(k>>1&1)
		if err := table.Add([]uint8{l1, l2, l1 + 2*l2}); err != nil {
			log.Fatal(err)
		}
	}
	structure, _, err := bayes.HillClimb(context.Background(), table, bayes.Climb{})
	if err != nil {
		log.Fatal(err)
	}
	network, err := bayes.Fit(table, structure, bayes.Prior{})
	if err != nil {
		log.Fatal(err)
	}
	engine, err := bayes.Compile(network)
	if err != nil {
		log.Fatal(err)
	}
	opt := bayes.Options{Faults: []float64{0.02, 0.02, 0.005}} // the sensor is trusted more than the lights
	calibration, err := bayes.Calibrate(engine, table, opt)
	if err != nil {
		log.Fatal(err)
	}
	locator, err := bayes.NewLocator(engine, calibration, opt)
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range [][]uint8{{1, 1, 3}, {1, 0, 0}, {1, 1, 0}} {
		v := locator.Judge(row)
		fmt.Printf("%v anomalous: %t", row, v.Anomalous)
		for _, i := range v.Blamed {
			fmt.Printf(", %s is wrong (%.0f %%)", members[i].Name, 100*v.Candidates[0].Posterior)
		}
		fmt.Println()
	}
	// Output:
	// [1 1 3] anomalous: false
	// [1 0 0] anomalous: true, light-1 is wrong (90 %)
	// [1 1 0] anomalous: true, brightness is wrong (77 %)
}

// Several rows tell a dark light from a stuck sensor.
func ExamplePersistence() {
	members := []string{"light-1", "light-2", "brightness"}
	table, err := bayes.NewTable([]bayes.Variable{
		{Name: members[0], States: []string{"off", "on"}},
		{Name: members[1], States: []string{"off", "on"}},
		{Name: members[2], States: []string{"0", "100", "200", "300"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for k := range 1000 {
		l1, l2 := uint8(k&1), uint8(k>>1&1)
		if err := table.Add([]uint8{l1, l2, l1 + 2*l2}); err != nil {
			log.Fatal(err)
		}
	}
	structure, err := bayes.NewStructure(3, []bayes.Edge{{From: 0, To: 2}, {From: 1, To: 2}})
	if err != nil {
		log.Fatal(err)
	}
	network, err := bayes.Fit(table, structure, bayes.Prior{})
	if err != nil {
		log.Fatal(err)
	}
	engine, err := bayes.Compile(network)
	if err != nil {
		log.Fatal(err)
	}
	calibration, err := bayes.Calibrate(engine, table, bayes.Options{})
	if err != nil {
		log.Fatal(err)
	}
	locator, err := bayes.NewLocator(engine, calibration, bayes.Options{})
	if err != nil {
		log.Fatal(err)
	}
	persistence, err := bayes.NewPersistence(locator, bayes.Persist{})
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range []struct {
		row   []uint8
		times int
	}{{[]uint8{1, 0, 0}, 6}, {[]uint8{1, 1, 2}, 2}} { // light 1 is on, and dark; then light 2 is switched on
		var f *bayes.Finding
		for range run.times {
			f = persistence.Judge(run.row)
		}
		fmt.Printf("%v faulty: %t", run.row, f.Faulty)
		for _, c := range f.Candidates[:f.Rivals] {
			fmt.Print(", ", members[c.Members[0]])
		}
		fmt.Println()
	}
	// Output:
	// [1 0 0] faulty: true, light-1, brightness
	// [1 1 2] faulty: true, light-1
}

func ExampleWriteText() {
	n, err := bayes.ReadBIF(strings.NewReader(sprinkler))
	if err != nil {
		log.Fatal(err)
	}
	if err := bayes.WriteText(os.Stdout, n); err != nil {
		log.Fatal(err)
	}
	if err := bayes.WriteDOT(os.Stdout, n, true); err != nil {
		log.Fatal(err)
	}
	// Output:
	// rain       yes | no
	// sprinkler  on | off  <- rain
	// grass      wet | dry  <- sprinkler, rain
	// digraph "sprinkler" {
	//   node [shape=ellipse];
	//   n0 [label="rain"];
	//   n1 [label="sprinkler"];
	//   n2 [label="grass"];
	//   n0 -> n1;
	//   n0 -> n2;
	//   n1 -> n2;
	// }
}
