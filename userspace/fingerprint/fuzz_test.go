// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// A capture of any bytes is read to its end or to where it is damaged, which is said; each connection has a frame of
// it.
func FuzzCapture(f *testing.F) {
	frames := [][]byte{openingFrame(flow4, firstByte-1),
		data(flow4, 0, []byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")),
		openingFrame(flow6, firstByte-1), data(flow6, 0, []byte("GET / HTTP/1.1\r\n\r\n")), {0, 1, 2}}
	var classic, next bytes.Buffer
	w := pcapgo.NewWriter(&classic)
	if err := w.WriteFileHeader(1<<18, layers.LinkTypeEthernet); err != nil {
		f.Fatal(err)
	}
	ng, err := pcapgo.NewNgWriter(&next, layers.LinkTypeEthernet)
	if err != nil {
		f.Fatal(err)
	}
	for _, frame := range frames {
		info := gopacket.CaptureInfo{CaptureLength: len(frame), Length: len(frame)}
		if err := w.WritePacket(info, frame); err != nil {
			f.Fatal(err)
		}
		if err := ng.WritePacket(info, frame); err != nil {
			f.Fatal(err)
		}
	}
	if err := ng.Flush(); err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, classic.Bytes(), next.Bytes(), classic.Bytes()[:150], []byte("\x1f\x8b\x08")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := OpenCapture(bytes.NewReader(file))
		if err != nil {
			return
		}
		told := 0
		sum, err := Read(c, Options{}, func(k Connection) error {
			if told++; k.Frame < 1 || k.Frame > c.count {
				t.Errorf("a connection of frame %d, of %d", k.Frame, c.count)
			}
			return nil
		})
		if err != nil && !strings.HasPrefix(err.Error(), "damaged at frame ") {
			t.Errorf("the end is not said to be damage: %v", err)
		}
		if told != sum.Connections || sum.Frames > c.count {
			t.Errorf("%d connections were told and %d counted, %d frames of %d", told, sum.Connections, sum.Frames, c.count)
		}
	})
}
