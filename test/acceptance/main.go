// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

const (
	resultsFile = "test/acceptance/results.json"
	pageFile    = "docs/ACCEPTANCE.md"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		stop()
		os.Exit(1)
	}
}

// run does what is asked of the named rows, in the tree of the working directory.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("acceptance", flag.ContinueOnError)
	doTests := flags.Bool("tests", false, "run the tests of the rows")
	logs := flags.String("read", "", "take the results of the tests from what `go test -v` said into these `files`, by comma")
	doFaults := flags.Bool("faults", false, "plant the faults of the rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	seen, err := readResults(resultsFile)
	if err != nil {
		return err
	}
	table, err := inTree(root)
	if err != nil {
		return err
	}
	rows := named(table, flags.Args())
	var errs []error
	for _, log := range strings.FieldsFunc(*logs, func(r rune) bool { return r == ',' }) {
		errs = append(errs, seen.read(log, rows))
	}
	if *doTests {
		for _, t := range packages(rows) {
			fmt.Printf("%s: %d tests\n", t.of, len(t.names))
			errs = append(errs, seen.run(ctx, root, t))
		}
	}
	if *doFaults {
		errs = append(errs, seen.plantAll(ctx, root, rows))
	}
	if *doTests || *logs != "" {
		if err := seen.write(resultsFile); err != nil {
			return err
		}
	}
	if seen, err = readResults(resultsFile); err != nil { // with its date
		return err
	}
	errs = append(errs, os.WriteFile(filepath.Join(root, pageFile), []byte(page(table, seen)), 0o644))
	return errors.Join(errs...)
}

func (r results) plantAll(ctx context.Context, root string, rows []row) error {
	var errs []error
	for _, row := range rows {
		for i, f := range row.faults {
			found, err := f.plant(ctx, root)
			if ctx.Err() != nil {
				return errors.Join(append(errs, ctx.Err())...)
			}
			r.Faults[row.name(i)] = append([]string{}, found...)
			fmt.Printf("%s %s: %v\n", row.name(i), f.what, found)
			errs = append(errs, r.write(resultsFile)) // what is known is kept when somebody has no patience
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", row.name(i), err))
			}
		}
	}
	return errors.Join(errs...)
}
