// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/yaml"
	"github.com/spillway/spillway/userspace/api"
)

// bundlePatience bounds the work on a large bundle: a million rows take seconds.
const bundlePatience = 5 * time.Minute

// withoutAgent checks a bundle on this side when no agent answers, so that a person who only wants to know whether it
// is sound learns that too. The error is the bundle's faults, or that no agent answers.
func (a *app) withoutAgent(path string, err error) error {
	if !errors.Is(err, api.ErrUnreachable) {
		return err
	}
	b, cerr := config.LoadBundle(path, a.places().Host, a.bundleOptions())
	if cerr != nil {
		return cerr
	}
	fmt.Fprintf(a.stderr, "%s is sound: %s\n", path, aboutBundle(b))
	return err
}

func (a *app) bundleOptions() config.BundleOptions {
	o := config.BundleOptions{Now: a.now()}
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		if p, err := netip.ParsePrefix(addr.String()); err == nil {
			o.Own = append(o.Own, p.Addr().Unmap().WithZone(""))
		}
	}
	return o
}

// warnings are told beside the reply: they refuse nothing.
func (a *app) warnings(list []yaml.Fault) {
	for _, w := range list {
		fmt.Fprintf(a.stderr, "warning: %s\n", w)
	}
}
