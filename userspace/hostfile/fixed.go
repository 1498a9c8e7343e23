// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"slices"

	"github.com/spillway/spillway/config"
)

// FixedChanges names the fields that differ and that a running agent cannot change.
func FixedChanges(old, next *config.Host) []string {
	var out []string
	for name, same := range map[string]bool{
		"capacity":       old.Capacity == next.Capacity,
		"listen.socket":  old.Listen.Socket == next.Listen.Socket,
		"listen.group":   old.Listen.Group == next.Listen.Group,
		"listen.read":    old.Listen.Read == next.Listen.Read,
		"listen.metrics": old.Listen.Metrics == next.Listen.Metrics,
		"paths.state":    old.Paths.State == next.Paths.State,
		"paths.pins":     old.Paths.Pins == next.Paths.Pins,
	} {
		if !same {
			out = append(out, name)
		}
	}
	for _, i := range old.Interfaces {
		if slices.ContainsFunc(next.Interfaces, func(n config.Interface) bool {
			return n.Name == i.Name && n.Attach != i.Attach
		}) {
			out = append(out, "attach of interface "+i.Name)
		}
	}
	slices.Sort(out)
	return out
}

// Gone returns the names of interfaces of one host file that another does not have.
func Gone(from, in *config.Host) []string {
	var out []string
	for _, i := range from.Interfaces {
		if !slices.ContainsFunc(in.Interfaces, func(n config.Interface) bool { return n.Name == i.Name }) {
			out = append(out, i.Name)
		}
	}
	return out
}
