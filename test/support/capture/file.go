// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Frame is one record of a capture.
type Frame struct {
	Number int // from 1, as other tools count
	Link   layers.LinkType
	Data   []byte // as much as was captured
}

// ReadFile returns the frames of a pcap or pcapng file. A last frame that is cut short is left out: whoever captured
// was stopped in the middle of it. Of a damaged file it returns the frames before the damage, and an error.
func ReadFile(path string) ([]Frame, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	frames, err := Read(file)
	if err != nil {
		return frames, fmt.Errorf("read %s: %w", path, err)
	}
	return frames, nil
}

// Read is ReadFile for what is already open.
func Read(r io.Reader) ([]Frame, error) {
	next, err := open(r)
	if err != nil {
		return nil, err
	}
	var frames []Frame
	for {
		data, link, err := next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return frames, nil
		}
		if err != nil {
			return frames, fmt.Errorf("frame %d: %w", len(frames)+1, err)
		}
		frames = append(frames, Frame{Number: len(frames) + 1, Link: link, Data: data})
	}
}

// open tells the two formats apart by the first block of pcapng.
func open(r io.Reader) (next func() ([]byte, layers.LinkType, error), err error) {
	buffered := bufio.NewReader(r)
	magic, err := buffered.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("read the magic number: %w", err)
	}
	if string(magic) == "\x0a\x0d\x0d\x0a" {
		ng, err := pcapgo.NewNgReader(buffered, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			return nil, err
		}
		return func() ([]byte, layers.LinkType, error) {
			data, info, err := ng.ReadPacketData()
			return data, linkOf(info), err
		}, nil
	}
	classic, err := pcapgo.NewReader(buffered)
	if err != nil {
		return nil, err
	}
	return func() ([]byte, layers.LinkType, error) {
		data, _, err := classic.ReadPacketData()
		return data, classic.LinkType(), err
	}, nil
}

// linkOf returns the link type of a packet in a file that may have several.
func linkOf(info gopacket.CaptureInfo) layers.LinkType {
	for _, extra := range info.AncillaryData {
		if link, ok := extra.(layers.LinkType); ok {
			return link
		}
	}
	return layers.LinkTypeNull
}
