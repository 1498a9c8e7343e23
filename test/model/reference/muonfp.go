// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"errors"
	"fmt"

	"github.com/spillway/spillway/test/support/packet"
)

// MuonFP returns the string window:kinds:mss:scale of a SYN; the packet begins with its IP header. It is packet.MuonFP,
// of which there is one reading in the tests.
func MuonFP(ip []byte) (string, error) {
	etherType := packet.EtherIPv4
	if len(ip) > 0 && ip[0]>>4 == 6 {
		etherType = packet.EtherIPv6
	}
	frame := packet.Frame{EtherType: &etherType, Body: packet.Raw{Data: ip}}
	s, err := packet.MuonFP(frame.Bytes())
	if errors.Is(err, packet.ErrNoSYN) {
		return "", fmt.Errorf("%w: %w", ErrNotSYN, err)
	}
	return s, err
}
