// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"sync"

	"github.com/spillway/spillway/config"
)

// namesMax is how many clients one line names; a fingerprint of many says little.
const namesMax = 3

// catalogue is read once, by the first who asks. A program that was built wrong knows nobody.
var catalogue = sync.OnceValue(func() *config.Catalogue {
	c, err := config.LoadCatalogue()
	if err != nil {
		return &config.Catalogue{}
	}
	return c
})

// ClientNames returns the clients that the catalogue knows to send this JA4, with their versions; "" for none.
func ClientNames(ja4 string) string {
	var names []string
	for _, c := range catalogue().ByJA4(ja4) {
		if len(names) == namesMax {
			names = append(names, "…")
			break
		}
		names = append(names, c.Name+" "+c.Versions)
	}
	return strings.Join(names, ", ")
}
