// SPDX-License-Identifier: Apache-2.0

package words

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	words := []string{"score", "label", "expires", "id"}
	for word, want := range map[string]string{"scroe": "score", "lable": "label", "expire": "expires", "ID": "",
		"verdict": "", "x": "", "": "", strings.Repeat("s", 100): ""} {
		if got := Nearest(word, words); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

func TestNearestName(t *testing.T) {
	services := []string{"web", "shop", "dns-udp"}
	for typo, want := range map[string]string{"wbe": "", "webb": "web", "shp": "shop", "shopp": "shop",
		"dns-upd": "dns-udp", "xyz": "", "": ""} {
		if got := NearestName(typo, services); got != want {
			t.Errorf("NearestName(%q) = %q, want %q", typo, got, want)
		}
	}
}
