// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/spillway/spillway/userspace/api"
	"github.com/spillway/spillway/userspace/discover"
	"github.com/spillway/spillway/userspace/doctor"
	"github.com/spillway/spillway/userspace/show"
)

func (a *app) newDoctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor [INTERFACE]", Short: "Tell what keeps Spillway from working, with the fix",
		Long: `Look at kernel, BPF file system, capabilities, memory, host file and interfaces,
and tell what keeps Spillway from working, each fault with its fix. Without
INTERFACE it looks at those of the host file, else at those with a default
route. Nothing is changed and nothing attached.

Exit code 0 without faults (warnings do not count), 4 with faults.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("want one interface at most\nsee: %s --help", c.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: first(interfaceNames),
		RunE: func(_ *cobra.Command, args []string) error {
			o := doctor.Options{HostFile: a.config, Interfaces: args, Rehearse: a.rehearse, Forwards: a.lookForwards()}
			for _, r := range discover.DefaultRoutes(a.proc) {
				o.Fallback = addName(o.Fallback, r.Interface)
			}
			return a.showDoctor(doctor.Check(doctor.Collect(o)))
		},
	}
}

func (a *app) showDoctor(r doctor.Report) error {
	faults := r.Count(doctor.Fault)
	reply := struct {
		api.Envelope
		OK       bool             `json:"ok"`
		Faults   int              `json:"faults"`
		Warnings int              `json:"warnings"`
		Findings []doctor.Finding `json:"findings"`
	}{api.NewEnvelope(), faults == 0, faults, r.Count(doctor.Warning), r.Findings}
	if err := a.print(reply, func() { show.Doctor(a.stdout, r, a.style()) }); err != nil {
		return err
	}
	if faults > 0 {
		return with(exitDegraded)
	}
	return nil
}

func addName(names []string, name string) []string {
	for _, n := range names {
		if n == name {
			return names
		}
	}
	return append(names, name)
}
