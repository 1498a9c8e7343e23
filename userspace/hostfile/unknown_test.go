// SPDX-License-Identifier: Apache-2.0

package hostfile

import (
	"strings"
	"testing"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/catalogue"
)

func TestUnknownClientsAreWarnedOf(t *testing.T) {
	known, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	h, err := config.ParseHost("spillway.yaml", []byte(served+`golden:
  - {name: a, service: web, client: curl}
  - {name: b, service: web, client: crl}
  - {name: c, service: web, address: 192.0.2.77}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := Unknown("spillway.yaml", h, known)
	if len(got) != 1 || got[0].Path != "golden[1].client" ||
		!strings.Contains(got[0].Problem, "did you mean curl?") {
		t.Errorf("%+v", got)
	}
}

// The examples of the pages and of the shipped file name clients that there are.
func TestClientsOfTheExamplesAreKnown(t *testing.T) {
	known, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	h, err := config.ParseHost("spillway.yaml", []byte(served+`golden:
  - {name: office-chrome, service: web, client: Chrome, address: 203.0.113.20}
  - {name: shop, service: web, client: curl}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := Unknown("spillway.yaml", h, known); len(got) > 0 {
		t.Errorf("%v", got)
	}
}
