// SPDX-License-Identifier: Apache-2.0

package world

import "strings"

// DenyBots is a bundle, for WriteBundle, that blocks the lab's scanner and its crawler; more are further prefixes,
// which make bundles differ.
func DenyBots(more ...string) string {
	prefixes := strings.Join(append([]string{"198.18.66.0/24", `"2001:db8:66::/64"`}, more...), ", ")
	return `rules:
  - {id: net, label: denied-network, score: 100}
  - {id: scan, label: scanner, score: 90}
features:
  prefixes:
    - {list: own, rule: net, entries: [` + prefixes + `]}
  tcp:
    - {rule: scan, muonfp: "1024:2:1460:"}
policy:
  default: {drop: 80}
`
}
