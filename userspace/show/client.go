// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"sync"

	"github.com/spillway/spillway/config/catalogue"
)

// namesMax is how many clients one line names; a fingerprint of many says little.
const namesMax = 3

// known is the catalogue, read once, by the first who asks. A program that was built wrong knows nobody.
var known = sync.OnceValue(func() *catalogue.Catalogue {
	c, err := catalogue.Load()
	if err != nil {
		return &catalogue.Catalogue{}
	}
	return c
})

// ClientNames returns the clients that the catalogue knows to send this JA4, with their versions; "" for none.
func ClientNames(ja4 string) string {
	var names []string
	for _, c := range known().ByJA4(ja4) {
		if len(names) == namesMax {
			names = append(names, "…")
			break
		}
		names = append(names, c.Name+" "+c.Versions)
	}
	return strings.Join(names, ", ")
}
