// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

func ExampleReader() {
	const file = "Zeit;Kessel\n01.03.2026 12:30;71,5\ngestern;72\n01.03.2026 12:31;unavailable\n14.03.2026 12:31;1.072,25 °C\n"
	r, err := input.NewReader(strings.NewReader(file), input.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		row, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.As(err, &bad):
			fmt.Println("skipped line", bad.Line)
		case err != nil:
			fmt.Println(err)
			return
		default:
			fmt.Println(row.At.Format(time.DateTime), row.Cells[0].Value, row.Cells[0].Missing)
		}
	}
	// Output:
	// 2026-03-01 12:30:00 71.5 false
	// skipped line 3
	// 2026-03-01 12:31:00 NaN true
	// 2026-03-14 12:31:00 1072.25 false
}
