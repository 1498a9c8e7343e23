// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/rollout"
	"github.com/spillway/spillway/userspace/state"
	"github.com/spillway/spillway/userspace/taste"
)

// tasteRow says how long a child takes with the large list, and then the agent that adopts it, in seconds.
type tasteRow struct {
	child, adopt float64
	bytes        uint64 // that the child had at most
}

const tasteHost = `version: 1
max_mode: enforce
interfaces: [{name: eth0}]
services: [{name: web, port: 443, kind: tls}]
capacity: {prefixes_v4: 1000000}
golden: [{name: shop, service: web, ja4: t13d1516h2_8daaf6152771_02713d6af862}]
`

// beTheChild is what this program does when measureTaste starts it again.
func beTheChild() (is bool, err error) {
	if len(os.Args) < 2 || os.Args[1] != taste.Command {
		return false, nil
	}
	return true, taste.RunArgs(os.Args[2:], os.Stdin, os.Stdout)
}

// measureTaste stores a bundle, and has a child taste it: this program again. A build with cgo has none.
func measureTaste(p *plane, b *config.Bundle, folder string) (row tasteRow, err error) {
	if !taste.Possible() {
		return row, nil
	}
	folder = filepath.Join(folder, "state")
	store, err := state.Open(folder, state.Options{})
	if err != nil {
		return row, err
	}
	if err := errors.Join(store.SaveBundle(b), store.Close()); err != nil {
		return row, err
	}
	h, err := config.ParseHost("spillway.yaml", []byte(tasteHost))
	if err != nil {
		return row, err
	}
	current, err := p.Host()
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, taste.Sweep(p.Pins)) }()
	lap := stopwatch()
	r := taste.Start(context.Background(), taste.Request{ID: "bench", Digest: b.Digest, Number: 3, State: folder,
		Pins: p.Pins, HostText: tasteHost, Host: current, Clock: loader.Now(), Capacity: h.Capacity, Golden: true},
		taste.Options{})
	row.child, row.bytes = lap(), r.Peak
	_, end := r.Adopt(p)
	row.adopt = lap()
	if end.Outcome != rollout.TastePassed {
		return row, fmt.Errorf("the child ended with %d: %s", end.Outcome, end.Detail)
	}
	return row, nil
}
