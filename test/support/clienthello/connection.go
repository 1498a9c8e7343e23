// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"net/netip"

	"github.com/spillway/spillway/test/support/packet"
)

// Connection is who sends a stream to whom.
type Connection struct {
	Source, Dest netip.AddrPort
	ISN          uint32 // of the client: its first byte has the number after it
	Ack          uint32 // what the client acknowledges
}

const window = 64240

// SYN returns the frame that opens the connection.
func (c Connection) SYN(options ...[]byte) []byte {
	return c.frame(packet.TCP{Seq: c.ISN, Flags: packet.SYN, Window: window, Options: packet.Options(options...)})
}

// Frame returns the frame that carries a segment.
func (c Connection) Frame(s Segment) []byte {
	return c.frame(packet.TCP{
		Seq: c.ISN + 1 + uint32(s.Offset), Ack: c.Ack, Flags: packet.ACK | packet.PSH, Window: window, Payload: s.Data,
	})
}

// Frames returns the frames that carry segments, in this order.
func (c Connection) Frames(segments []Segment) [][]byte {
	var frames [][]byte
	for _, s := range segments {
		frames = append(frames, c.Frame(s))
	}
	return frames
}

func (c Connection) frame(tcp packet.TCP) []byte {
	tcp.SourcePort, tcp.DestPort = c.Source.Port(), c.Dest.Port()
	return packet.Frame{Source: c.Source.Addr(), Dest: c.Dest.Addr(), Body: tcp}.Bytes()
}
