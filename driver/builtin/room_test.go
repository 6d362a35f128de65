// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// The room: two lights, each a device that reports "on" or "off", and a sensor of brightness, to which light 1 gives 100
// and light 2 gives 200.
var roomKeys = []driver.Key{
	{Namespace: "default", Device: "light-1", Property: "power"},
	{Namespace: "default", Device: "light-2", Property: "power"},
	{Namespace: "default", Device: "brightness", Property: "value"},
}

func roomMembers() []driver.Member {
	members := make([]driver.Member, len(roomKeys))
	for i, k := range roomKeys {
		members[i] = driver.Member{Key: k, Minimum: math.NaN(), Maximum: math.NaN()}
	}
	return members
}

// roomState is what the members report: lights 0 or 1, brightness 0 to 3 hundred.
type roomState [3]int

func sane(l1, l2 int) roomState { return roomState{l1, l2, l1 + 2*l2} }

var roomStates = [3]int{2, 2, 4}

func (r roomState) fill(row driver.Row) {
	for i := range 2 {
		row[i].Key, row[i].Value, row[i].Text = roomKeys[i], float64(r[i]), [2]string{"off", "on"}[r[i]]
	}
	row[2].Key, row[2].Value, row[2].Text = roomKeys[2], float64(100*r[2]), ""
}

// garble makes each member report another state with this probability.
func (r roomState) garble(rng *rand.Rand, misread float64) roomState {
	for i, k := range roomStates {
		if rng.Float64() < misread {
			r[i] = (r[i] + 1 + rng.IntN(k-1)) % k
		}
	}
	return r
}

// roomLife switches each light in a fifth of the rows.
func roomLife(rng *rand.Rand) func() (l1, l2 int) {
	l1, l2 := 0, 0
	return func() (int, int) {
		if rng.IntN(5) == 0 {
			l1 ^= 1
		}
		if rng.IntN(5) == 0 {
			l2 ^= 1
		}
		return l1, l2
	}
}

func roomRows(seed uint64, n int, misread float64) iter.Seq[driver.Row] {
	return func(yield func(driver.Row) bool) {
		rng := rand.New(rand.NewPCG(seed, 7))
		life, row := roomLife(rng), make(driver.Row, 3)
		for range n {
			l1, l2 := life()
			sane(l1, l2).garble(rng, misread).fill(row)
			if !yield(row) {
				return
			}
		}
	}
}

// roomModel is trained offline on columns in another order than the group has.
func roomModel(t testing.TB, misread float64) []byte {
	members := roomMembers()
	shuffled := []driver.Member{members[2], members[0], members[1]}
	return trainModel(t, bayesnetName, shuffled, []string{"brightness", "light-1", "default/light-2/power"},
		func(yield func(driver.Row) bool) {
			for row := range roomRows(1, 4000, misread) {
				if !yield(driver.Row{row[2], row[0], row[1]}) {
					return
				}
			}
		})
}

func openRoom(t testing.TB, data []byte, config map[string]any) *groupFeeder {
	t.Helper()
	return openGroup(t, bayesnetName, driver.Settings{Members: roomMembers(), Model: data, ModelName: "room@1"}, config)
}

func (g *groupFeeder) room(r roomState) *driver.Result {
	r.fill(g.row)
	return g.judge()
}

// accused are the devices among the causes, "-" where the verdict is not anomalous.
func accused(r *driver.Result) string {
	if !r.Severity.Anomalous() {
		return "-"
	}
	var names []string
	for _, c := range r.Causes {
		names = append(names, c.Key.Device)
	}
	return strings.Join(names, " or ")
}

// One row, noise-free: every wrong report is found in each state of the lights. A sensor that is wrong by one light looks
// exactly like that light, and the verdict says that it cannot tell; the other members stay clean. Where the sensor is
// wrong by two lights it is named.
func TestRoomOneRow(t *testing.T) {
	g := openRoom(t, roomModel(t, 0), map[string]any{"persist": false})
	named, untold := 0, 0
	for l1 := range 2 {
		for l2 := range 2 {
			good := sane(l1, l2)
			if r := g.room(good); accused(r) != "-" {
				t.Errorf("%v, in which nothing is wrong: %s", good, accused(r))
			}
			for member, k := range roomStates {
				for s := range k {
					if s == good[member] {
						continue
					}
					bad := good
					bad[member] = s
					want, message := "brightness", "brightness contradicts the other members"
					switch bad[2] ^ (bad[0] + 2*bad[1]) {
					case 1:
						want, message = "light-1 or brightness", "cannot tell: light-1 or brightness"
					case 2:
						want, message = "light-2 or brightness", "cannot tell: light-2 or brightness"
					}
					r := g.room(bad)
					if accused(r) != want || r.Kind != driver.KindCausal || r.Message != message {
						t.Errorf("%v with member %d wrong: %s (%s), want %s (%s)", bad, member, accused(r), r.Message, want, message)
					}
					if len(r.Causes) == 1 {
						named++
					} else {
						untold++
					}
				}
			}
		}
	}
	t.Logf("%d wrong reports located, %d with two members that cannot be told apart", named, untold)
	if named != 4 || untold != 16 {
		t.Errorf("%d named and %d untold, want 4 and 16", named, untold)
	}
}

// roomFaults are everything that can break for good; each turns the true state into what is reported.
var roomFaults = []struct {
	name   string
	device string
	report func(l1, l2 int) roomState
}{
	{"light-1 dark", "light-1", func(l1, l2 int) roomState { return roomState{l1, l2, 2 * l2} }},
	{"light-1 lit", "light-1", func(l1, l2 int) roomState { return roomState{l1, l2, 1 + 2*l2} }},
	{"light-2 dark", "light-2", func(l1, l2 int) roomState { return roomState{l1, l2, l1} }},
	{"light-2 lit", "light-2", func(l1, l2 int) roomState { return roomState{l1, l2, l1 + 2} }},
	{"light-1 says on", "light-1", func(l1, l2 int) roomState { return roomState{1, l2, l1 + 2*l2} }},
	{"light-1 says off", "light-1", func(l1, l2 int) roomState { return roomState{0, l2, l1 + 2*l2} }},
	{"light-2 says on", "light-2", func(l1, l2 int) roomState { return roomState{l1, 1, l1 + 2*l2} }},
	{"light-2 says off", "light-2", func(l1, l2 int) roomState { return roomState{l1, 0, l1 + 2*l2} }},
	{"sensor at 0", "brightness", func(l1, l2 int) roomState { return roomState{l1, l2, 0} }},
	{"sensor at 100", "brightness", func(l1, l2 int) roomState { return roomState{l1, l2, 1} }},
	{"sensor at 200", "brightness", func(l1, l2 int) roomState { return roomState{l1, l2, 2} }},
	{"sensor at 300", "brightness", func(l1, l2 int) roomState { return roomState{l1, l2, 3} }},
}

// Several rows, while the lights are switched now and then: all of noise-free faults and nearly all of those among
// misreadings are located, whatever state the room was in.
func TestRoomLocation(t *testing.T) {
	const runs = 25
	for _, c := range []struct {
		name           string
		train, misread float64
		least          float64
	}{
		{"noise-free", 0, 0, 1},
		{"misread", 0, 0.02, 0.98},
		{"trained on misread rows", 0.02, 0.02, 0.98},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := roomModel(t, c.train)
			rng := rand.New(rand.NewPCG(3, 9))
			right, all, rows := 0, 0, 0
			for _, f := range roomFaults {
				hits, took := 0, 0
				for start := range 4 {
					for range runs {
						found, n := locate(t, data, rng, start, c.misread, f.report)
						if found == f.device {
							hits++
						}
						took += n
					}
				}
				t.Logf("%-16s %3d of %d located, after %.1f rows", f.name, hits, 4*runs, float64(took)/(4*runs))
				right, all, rows = right+hits, all+4*runs, rows+took
			}
			share := float64(right) / float64(all)
			t.Logf("%d of %d located (%.2f %%), after %.1f rows on average", right, all, 100*share, float64(rows)/float64(all))
			if share < c.least {
				t.Errorf("%.2f %% located, want %.0f %%", 100*share, 100*c.least)
			}
		})
	}
}

// locate runs a room that breaks after 20 rows until a single device is accused, and returns that and the rows it took.
func locate(t *testing.T, data []byte, rng *rand.Rand, from int, misread float64, report func(l1, l2 int) roomState) (string, int) {
	t.Helper()
	g := openRoom(t, data, nil)
	l1, l2 := from&1, from>>1
	next := func() {
		if rng.IntN(5) == 0 {
			l1 ^= 1
		}
		if rng.IntN(5) == 0 {
			l2 ^= 1
		}
	}
	for range 20 {
		if r := g.room(sane(l1, l2).garble(rng, misread)); misread == 0 && accused(r) != "-" {
			t.Fatalf("accuses %s while nothing is broken", accused(r))
		}
		next()
	}
	for n := range 500 {
		r := g.room(report(l1, l2).garble(rng, misread))
		if r.Severity.Anomalous() && len(r.Causes) == 1 {
			return r.Causes[0].Key.Device, n + 1
		}
		next()
	}
	return "", 500
}

// Nobody is accused in 10,000 rows of a room in which nothing is broken.
func TestRoomAccusesNobody(t *testing.T) {
	for _, c := range []struct {
		name           string
		train, misread float64
		config         map[string]any
	}{
		{"noise-free, each row alone", 0, 0, map[string]any{"persist": false}},
		{"noise-free", 0, 0, nil},
		{"misread", 0, 0.02, nil},
		{"trained on misread rows", 0.02, 0.02, nil},
		{"trained on misread rows, adapting", 0.02, 0.02, map[string]any{"adapt": true}},
	} {
		g := openRoom(t, roomModel(t, c.train), c.config)
		n := 0
		for row := range roomRows(5, 10_000, c.misread) {
			copy(g.row, row)
			if r := g.judge(); r.Severity != driver.Normal {
				t.Errorf("%s: row %d is %v: %s", c.name, n, r.Severity, r.Message)
				break
			}
			n++
		}
	}
}

// A self-starting detector learns the room from its first rows, and then locates as well.
func TestRoomSelfStarting(t *testing.T) {
	g := openRoom(t, nil, nil)
	n := 0
	for row := range roomRows(11, 700, 0) {
		copy(g.row, row)
		r := g.judge()
		if want := map[bool]driver.Severity{true: driver.Unknown, false: driver.Normal}[n < 500]; r.Severity != want {
			t.Fatalf("row %d is %v, want %v", n, r.Severity, want)
		}
		n++
	}
	rng := rand.New(rand.NewPCG(12, 1))
	life := roomLife(rng)
	var last string
	for range 60 { // light 1 is dark
		l1, l2 := life()
		last = accused(g.room(roomState{l1, l2, 2 * l2}))
	}
	if last != "light-1" {
		t.Errorf("accused is %s, want light-1", last)
	}
	why := g.d.(driver.Explainer).Explain(&g.out, driver.English)
	if !strings.HasPrefix(why, "light-1 contradicts the other members: light-1 reports") {
		t.Errorf("explained as %q", why)
	}
}

// While nothing is switched a dark light cannot be told from a stuck sensor, unless the sensor is trusted.
func TestRoomStandsStill(t *testing.T) {
	data := roomModel(t, 0)
	for _, c := range []struct {
		config map[string]any
		want   []string
	}{
		{nil, []string{"light-1 or brightness", "brightness or light-1"}},
		{map[string]any{"trusted": "brightness"}, []string{"light-1"}},
	} {
		g := openRoom(t, data, c.config)
		var got string
		for range 20 {
			got = accused(g.room(roomState{1, 0, 0}))
		}
		if !slices.Contains(c.want, got) {
			t.Errorf("%v: accused is %s, want %v", c.config, got, c.want)
		}
		for k := range 60 { // repaired
			g.room(sane(k&1, k>>1&1))
		}
		if g.out.Severity != driver.Normal {
			t.Errorf("%v: %v after the repair", c.config, g.out.Severity)
		}
	}
}

// A member that is missing is left out of the evidence; what the others say still counts.
func TestRoomMissingMember(t *testing.T) {
	g := openRoom(t, roomModel(t, 0), map[string]any{"persist": false})
	sane(1, 0).fill(g.row)
	g.row[1].Flags = driver.Stale
	if r := g.judge(); r.Severity != driver.Normal {
		t.Errorf("light 2 is stale, the rest agrees: %v", r.Severity)
	}
	roomState{1, 0, 2}.fill(g.row) // brightness 200 takes light 1 to be off
	g.row[1].Flags = driver.Stale
	if r := g.judge(); !r.Severity.Anomalous() || strings.Contains(accused(r), "light-2") {
		t.Errorf("light 2 is stale, light 1 contradicts the sensor: %v, %s", r.Severity, accused(r))
	}
	for i := range g.row {
		g.row[i].Flags = driver.Stale
	}
	if r := g.judge(); r.Severity != driver.Unknown {
		t.Errorf("all are stale: %v, want unknown", r.Severity)
	}
}

// Neither a room in good order nor a broken one takes memory, text and all.
func TestRoomDoesNotAllocate(t *testing.T) {
	data := roomModel(t, 0)
	for _, persist := range []bool{true, false} {
		g := openRoom(t, data, map[string]any{"persist": persist})
		states := []roomState{sane(0, 0), sane(1, 0), {1, 0, 0}, {1, 1, 0}, sane(0, 1), {0, 0, 3}}
		n := 0
		once := func() {
			g.room(states[n%len(states)])
			n++
		}
		for range 100 {
			once()
		}
		if allocs := testing.AllocsPerRun(600, once); allocs != 0 {
			t.Errorf("persist %v: %v allocations a row, want none", persist, allocs)
		}
	}
}
