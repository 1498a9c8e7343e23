// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/spillway/spillway/config"
)

// TooSmall says what of a resident generation, and of the bans in force, a capacity has no room for. Maps in use keep their
// size, so a capacity that was lowered shows only after the next reboot, when nothing of this can be built again.
func TooSmall(c config.Capacity, g GenerationInfo, bans int) []string {
	var out []string
	for _, n := range []struct {
		field      string
		rows, room int
	}{
		{"prefixes_v4", g.Prefixes4, c.Prefixes4}, {"prefixes_v6", g.Prefixes6, c.Prefixes6}, {"tcp_fingerprints", g.TCP, c.TCPFingerprints},
		{"tcp_signatures", g.TCPSignatures, c.TCPSignatures}, {"ja4s", g.JA4s, c.JA4s}, {"rules", g.Rules, c.Rules}, {"bans", bans, c.Bans},
	} {
		if n.room > 0 && n.rows > n.room {
			out = append(out, fmt.Sprintf("capacity.%s is %d, and %d are needed", n.field, n.room, n.rows))
		}
	}
	return out
}
