// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/picture"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/training"
	"github.com/kubeedge/edge-anomaly/pkg/engine/bayes"
)

// readStructure makes the setting detector.edges of the arcs in a BIF file.
func readStructure(path string) (string, error) {
	n, err := readBIF(path)
	if err != nil {
		return "", err
	}
	var arcs []string
	for _, e := range n.Edges() {
		from, to := n.Nodes[e.From].Name, n.Nodes[e.To].Name
		if strings.ContainsAny(from+to, ",>") {
			return "", fmt.Errorf("%s: arc from %q to %q: want names without comma and >", path, from, to)
		}
		arcs = append(arcs, from+">"+to)
	}
	return strings.Join(arcs, ","), nil
}

// draw writes what is wanted of the network beside the model.
func (o *trainOptions) draw(t *trainer) error {
	write := func(path string, to func(io.Writer) error) error {
		var b bytes.Buffer
		if err := to(&b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return writeFile(path, b.Bytes(), 0o644)
	}
	for _, path := range o.pictures {
		err := write(path, func(w io.Writer) error {
			if strings.HasSuffix(path, ".dot") {
				return bayes.WriteDOT(w, t.network.Network)
			}
			return drawSVG(w, filepath.Base(o.output), t.network)
		})
		if err != nil {
			return err
		}
	}
	if o.bif == "" {
		return nil
	}
	return write(o.bif, func(w io.Writer) error { return bayes.WriteBIF(w, t.network.Network) })
}

func drawSVG(w io.Writer, title string, n *training.Network) error {
	nodes := make([]picture.Node, len(n.Nodes))
	for i := range n.Nodes {
		nodes[i] = picture.Node{
			Name: n.Nodes[i].Name, Note: fmt.Sprintf("%d states", len(n.Nodes[i].States)), Parents: n.Nodes[i].Parents,
		}
	}
	return picture.SVG(w, title, nodes)
}

// report tells what was learned.
func (t *trainer) report(w io.Writer, path string, size int) error {
	m := &t.model
	fmt.Fprintf(w, "%s: %s of %d members, %d bytes\n", path, m.Driver, len(m.Members), size)
	fmt.Fprintf(w, "trained on %d rows, %s to %s; %d skipped\n", m.Rows, stamp(m.From), stamp(m.To), t.part.Skipped)
	switch {
	case t.held.Rows == 0:
		fmt.Fprintln(w, "held out: nothing")
	case t.judged == 0:
		fmt.Fprintf(w, "held out: %d rows, none of which could be judged\n", t.held.Rows)
	default:
		fmt.Fprintf(w, "held out: %d rows, %.3g %% of them anomalous, mean score %.4f\n",
			t.held.Rows, 100*m.Metrics["heldOutAnomalous"], m.Metrics["heldOutScore"])
	}
	if t.network == nil {
		return nil
	}
	fmt.Fprintf(w, "log-likelihood of a row: %s in training", likelihoodText(m.Metrics, "logLikelihood"))
	if t.held.Rows > 0 {
		fmt.Fprintf(w, ", %s held out", likelihoodText(m.Metrics, "heldOutLogLikelihood"))
	}
	fmt.Fprint(w, "\n\nstructure\n")
	return bayes.WriteText(w, t.network.Network)
}

func likelihoodText(metrics map[string]float64, name string) string {
	if l, ok := metrics[name]; ok {
		return fmt.Sprintf("%.4f", l)
	}
	return "-∞"
}
