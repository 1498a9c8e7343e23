// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/support/packet"
)

// Link types of captures (the numbers of the pcap file format).
const (
	linkNull     = 0   // BSD loopback: four bytes of address family
	linkEthernet = 1   //
	linkRaw      = 101 // IP and nothing before it
	linkCooked   = 113 // Linux cooked capture, 16 bytes
)

// readPcap returns the packets of a classic capture as Ethernet frames.
func readPcap(path string) ([][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	r := bufio.NewReader(file)
	var header [24]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, fmt.Errorf("read the header of %s: %w", path, err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch binary.LittleEndian.Uint32(header[:]) {
	case 0xa1b2c3d4, 0xa1b23c4d: // micro- and nanoseconds
	case 0xd4c3b2a1, 0x4d3cb2a1:
		order = binary.BigEndian
	default:
		return nil, fmt.Errorf("%s is no classic capture: magic %x", path, header[:4])
	}
	link := order.Uint32(header[20:])
	var frames [][]byte
	for {
		var record [16]byte
		if _, err := io.ReadFull(r, record[:]); err == io.EOF {
			return frames, nil
		} else if err != nil {
			return nil, fmt.Errorf("read a record of %s: %w", path, err)
		}
		data := make([]byte, order.Uint32(record[8:])&0x3ffff) // no capture has longer ones
		if _, err := io.ReadFull(r, data); err == io.ErrUnexpectedEOF {
			return frames, nil // whoever captured was stopped in the middle of a packet
		} else if err != nil {
			return nil, fmt.Errorf("read a packet of %s: %w", path, err)
		}
		frame, err := toEthernet(link, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		frames = append(frames, frame)
	}
}

// toEthernet gives a packet of another link type the header that the program reads.
func toEthernet(link uint32, data []byte) ([]byte, error) {
	skip := 0
	switch link {
	case linkEthernet:
		return data, nil
	case linkNull:
		skip = 4
	case linkCooked:
		skip = 16
	case linkRaw:
	default:
		return nil, fmt.Errorf("link type %d is not read", link)
	}
	if len(data) <= skip {
		return nil, fmt.Errorf("a packet of %d bytes on link type %d", len(data), link)
	}
	ip := data[skip:]
	kind := packet.EtherIPv4
	if ip[0]>>4 == 6 {
		kind = packet.EtherIPv6
	}
	frame := append(make([]byte, 12), byte(kind>>8), byte(kind))
	return append(frame, ip...), nil
}

// expectedFingerprints reads the table: capture, flow, fingerprint.
func expectedFingerprints(t *testing.T, folder string) map[string]map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "expected", "muonfp-syn.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]bool{}
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(fields) != 3 {
			continue
		}
		if all[fields[0]] == nil {
			all[fields[0]] = map[string]bool{}
		}
		all[fields[0]][fields[1]+" "+fields[2]] = true
	}
	return all
}
