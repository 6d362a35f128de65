// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// The clock of the file stands still while no mapper has it open. It is written with every batch. What earlier versions
// wrote is as old as the clock.
const (
	clockSchema = `CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), passed INTEGER NOT NULL)`
	setClock    = `INSERT INTO clock VALUES (1, ?) ON CONFLICT DO UPDATE SET passed = excluded.passed`
)

// clock is for how long mappers had the file open.
func (s *Sink) clock() time.Duration { return s.base + max(s.now().Sub(s.opened), 0) }

// wind lets the clock go on from where it was when the file was last written.
func (s *Sink) wind(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, clockSchema); err != nil {
		return err
	}
	for _, table := range []string{"verdicts", "incidents"} {
		var there bool
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info(?) WHERE name = 'written'", table).Scan(&there); err != nil {
			return err
		}
		if there {
			continue
		}
		if _, err := db.ExecContext(ctx, "ALTER TABLE "+table+" ADD COLUMN written INTEGER NOT NULL DEFAULT 0"); err != nil {
			return fmt.Errorf("table %s of an earlier version: %w", table, err)
		}
	}
	var passed int64
	if err := db.QueryRowContext(ctx, "SELECT passed FROM clock").Scan(&passed); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	s.base, s.opened = time.Duration(max(passed, 0)), s.now()
	return nil
}
