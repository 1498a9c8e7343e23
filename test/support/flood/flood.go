// SPDX-License-Identifier: Apache-2.0

// Package flood sends frames into a lab at the speed of the kernel: a small XDP program in BPF_PROG_TEST_RUN's
// live-frames mode (Linux 5.18) gives every frame what the template asks to be random, and redirects it out of the
// lab's outer device.
package flood

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

const (
	liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
	// A call sends this many frames; between calls the context is looked at, so a flood ends soon after it should. Smaller
	// calls spend their time on setting up.
	perCall = 1 << 14
)

// Frame is a template: a whole Ethernet frame of IPv4 or IPv6 without options, and TCP or UDP.
type Frame struct {
	Bytes []byte
	// RandomSource draws the lowest bits of the source address for each frame: 16 of IPv4, 32 of IPv6.
	RandomSource bool
	// RandomSeq draws the TCP sequence number.
	RandomSeq bool
	// KeepPort keeps the template's source port, which is drawn otherwise.
	KeepPort bool
	// RandomAt draws four bytes at this offset of the frame; 0 draws none.
	RandomAt int
}

// Flood is a program that sends one kind of frame through one device.
type Flood struct {
	frame   []byte
	program *ebpf.Program
}

// New makes a flood of frames out of the device with that index, in the network namespace of the caller.
func New(f Frame, ifindex int) (*Flood, error) {
	if len(f.Bytes) < 14+20+8 {
		return nil, fmt.Errorf("frame of %d bytes: too short for IPv4 and UDP", len(f.Bytes))
	}
	if f.RandomAt < 0 || f.RandomAt+4 > len(f.Bytes) {
		return nil, fmt.Errorf("frame of %d bytes: nothing to draw at %d", len(f.Bytes), f.RandomAt)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "flood", Type: ebpf.XDP, License: "GPL", Instructions: program(f, ifindex),
	})
	if err != nil {
		return nil, fmt.Errorf("load the flood: %w", err)
	}
	return &Flood{frame: f.Bytes, program: p}, nil
}

// Close frees the program.
func (f *Flood) Close() error { return f.program.Close() }

// Until sends frames out of that device until ctx ends, and returns how many, as Send counts.
func Until(ctx context.Context, frame Frame, ifindex int) (sent int, err error) {
	f, err := New(frame, ifindex)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	for err == nil && ctx.Err() == nil {
		var n int
		n, err = f.Send(ctx, 1<<16)
		sent += n
	}
	return sent, err
}

// Send sends count frames, or fewer when ctx ends, and returns how many it handed to the device. What arrived is for
// the receiver's counters to say: a full ring loses frames silently.
func (f *Flood) Send(ctx context.Context, count int) (int, error) {
	sent := 0
	for sent < count && ctx.Err() == nil {
		n := min(perCall, count-sent)
		_, err := f.program.Run(&ebpf.RunOptions{Data: f.frame, Repeat: uint32(n), Flags: liveFrames})
		if err != nil && !errors.Is(err, context.Canceled) {
			return sent, fmt.Errorf("send live frames: %w", err)
		}
		sent += n
	}
	return sent, nil
}

// program writes the random fields and redirects. Offsets are constants: the template decides them.
func program(f Frame, ifindex int) asm.Instructions {
	v6 := f.Bytes[12] == 0x86
	source, transport := int16(14+12+2), int16(14+20)
	if v6 {
		source, transport = 14+8+12, 14+40
	}
	// R6 packet, R7 end; a packet too short for what is written is dropped.
	ins := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R7, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R6),
		asm.Add.Imm(asm.R2, max(int32(transport)+8, int32(f.RandomAt)+4)),
		asm.JGT.Reg(asm.R2, asm.R7, "drop"),
	}
	if !f.KeepPort {
		ins = append(ins, asm.FnGetPrandomU32.Call(), asm.StoreMem(asm.R6, transport, asm.R0, asm.Half))
	}
	if f.RandomSource {
		size := asm.Half
		if v6 {
			size = asm.Word
		}
		ins = append(ins, asm.FnGetPrandomU32.Call(), asm.StoreMem(asm.R6, source, asm.R0, size))
	}
	if f.RandomSeq {
		ins = append(ins, asm.FnGetPrandomU32.Call(), asm.StoreMem(asm.R6, transport+4, asm.R0, asm.Word))
	}
	if f.RandomAt > 0 {
		ins = append(ins, asm.FnGetPrandomU32.Call(), asm.StoreMem(asm.R6, int16(f.RandomAt), asm.R0, asm.Word))
	}
	return append(ins,
		asm.Mov.Imm(asm.R1, int32(ifindex)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"),
		asm.Return(),
	)
}

// SYN returns a template of a SYN with the one option MSS 1460 (MuonFP "1024:2:1460:").
func SYN(srcMAC, dstMAC []byte, src, dst netip.Addr, dport uint16) []byte {
	tcp := []byte{0x9c, 0x40, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 6 << 4, 2, 4, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4}
	binary.BigEndian.PutUint16(tcp[2:], dport)
	return IP(srcMAC, dstMAC, src, dst, 6, tcp)
}

// IP wraps a payload in IPv4 or IPv6 and Ethernet. Checksums of the payload are the caller's; a flood is not accepted
// by a stack, it is meant for the dataplane.
func IP(srcMAC, dstMAC []byte, src, dst netip.Addr, protocol byte, payload []byte) []byte {
	frame := append(append([]byte{}, dstMAC...), srcMAC...)
	if src.Is4() {
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		frame = append(frame, 0x08, 0x00)
		return append(append(frame, ip...), payload...)
	}
	ip := make([]byte, 40)
	ip[0], ip[6], ip[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst.AsSlice())
	frame = append(frame, 0x86, 0xdd)
	return append(append(frame, ip...), payload...)
}
