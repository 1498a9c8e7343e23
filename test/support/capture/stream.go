// SPDX-License-Identifier: Apache-2.0

package capture

import "github.com/gopacket/gopacket/layers"

// Stream is what one side of a TCP connection sent, as far as it is there without a gap.
type Stream struct {
	Flow  Flow
	Under string
	Bytes []byte
	// Chunks are the pieces of Bytes in order: what each frame added.
	Chunks []Chunk

	next uint32 // the sequence number after Bytes
	late []segment
}

// Chunk is what one frame added to a stream.
type Chunk struct {
	Frame  int
	Offset int // where in Bytes it begins
}

type segment struct {
	frame int
	seq   uint32
	data  []byte
}

// FrameOf returns the number of the frame that brought the byte at an offset.
func (s *Stream) FrameOf(offset int) int {
	frame := 0
	for _, c := range s.Chunks {
		if c.Offset <= offset {
			frame = c.Frame
		}
	}
	return frame
}

// Streams puts the segments of TCP together, in the order of the first segment of each stream. Of bytes that were sent
// twice the first count. A SYN with another number begins another stream; a stream without one begins where its first
// segment does.
func Streams(packets []Packet) []*Stream {
	type key struct {
		flow  Flow
		under string
	}
	var all []*Stream
	open := map[key]*Stream{}
	for _, p := range packets {
		flow, tcp, ok := p.TCP()
		if !ok {
			continue
		}
		k := key{flow, p.Under}
		s, first := open[k], tcp.Seq
		if tcp.SYN {
			first++
		}
		if s == nil || tcp.SYN && first != s.begin() {
			s = &Stream{Flow: flow, Under: p.Under, next: first}
			open[k] = s
			all = append(all, s)
		}
		s.add(segment{p.Frame, first, payload(tcp)})
	}
	return all
}

func payload(tcp *layers.TCP) []byte { return tcp.LayerPayload() }

func (s *Stream) begin() uint32 { return s.next - uint32(len(s.Bytes)) }

// add takes a segment, and those that waited for it.
func (s *Stream) add(seg segment) {
	s.late = append(s.late, seg)
	for progress := true; progress; {
		progress = false
		for i, waiting := range s.late {
			before := int(int32(s.next - waiting.seq))
			if before < 0 {
				continue // there is a gap
			}
			s.late = append(s.late[:i:i], s.late[i+1:]...)
			if before < len(waiting.data) {
				s.Chunks = append(s.Chunks, Chunk{Frame: waiting.frame, Offset: len(s.Bytes)})
				s.Bytes = append(s.Bytes, waiting.data[before:]...)
				s.next += uint32(len(waiting.data) - before)
			}
			progress = true
			break
		}
	}
}
