// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/userspace/api"
)

// version is set by the linker.
var version = "development"

func (a *app) newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			reply := struct {
				api.Envelope
				Version string `json:"version"`
				Go      string `json:"go"`
				Arch    string `json:"arch"`
				ABI     int    `json:"abi"` // of the pinned maps
			}{api.NewEnvelope(), version, runtime.Version(), runtime.GOARCH, bpf.ABIVersion}
			return a.print(reply, func() {
				fmt.Fprintf(a.stdout, "spillway %s (%s, %s, maps ABI %d)\n", reply.Version, reply.Go, reply.Arch, reply.ABI)
			})
		},
	}
}
