// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"fmt"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
	"github.com/spillway/spillway/config/words"
	"github.com/spillway/spillway/config/yaml"
)

// Unknown warns of golden clients whose name the catalogue does not have: nothing is tried in their name. They refuse
// no host file, for the catalogue is another with the next release, and what was in force must be read then, too.
func Unknown(path string, h *config.Host, known *catalogue.Catalogue) []yaml.Fault {
	var names []string
	for _, c := range known.Clients {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var out []yaml.Fault
	for i, g := range h.Golden {
		if g.Client == "" || slices.Contains(names, g.Client) {
			continue
		}
		problem := fmt.Sprintf("the golden client %s: the catalogue has no client of the name %s", g.Name,
			words.Shorten(g.Client))
		if near := words.Nearest(g.Client, names); near != "" {
			problem += fmt.Sprintf("; did you mean %s?", near)
		}
		out = append(out, yaml.Fault{Code: yaml.CodeReference, File: path, Path: fmt.Sprintf("golden[%d].client", i),
			Value: words.Shorten(g.Client), Problem: problem,
			Valid: "a name of the catalogue, such as Chrome, Firefox or curl; or ja4"})
	}
	return out
}
