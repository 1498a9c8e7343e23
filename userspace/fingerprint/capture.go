// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Capture reads packets from a pcap or pcapng file, also from a gzipped one.
type Capture struct {
	came  *counter
	plain *bufio.Reader
	read  func() ([]byte, gopacket.CaptureInfo, error)
	link  func(gopacket.CaptureInfo) layers.LinkType
	count int
}

// frame is one record of a capture, as Ethernet.
type frame struct {
	number int // from 1
	time   time.Time
	data   []byte // nil when the link type is not read, or the packet ends inside its header
	link   layers.LinkType
	known  bool // the link type is read
	isCut  bool // more was sent than captured
}

// counter counts the bytes that were read, so that errors can say where.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// gzip begins with these (RFC 1952), pcapng with the type of its first block, which reads the same in both byte orders.
const (
	gzipMagic   = "\x1f\x8b"
	pcapngMagic = "\x0a\x0d\x0d\x0a"
)

// pcapMagics are those of micro- and nanoseconds, in both byte orders.
var pcapMagics = []string{"\xd4\xc3\xb2\xa1", "\xa1\xb2\xc3\xd4", "\x4d\x3c\xb2\xa1", "\xa1\xb2\x3c\x4d"}

// OpenCapture reads the beginning of a capture.
func OpenCapture(r io.Reader) (*Capture, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := buffered.Peek(2); string(magic) == gzipMagic {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("unzip the capture: %w", err)
		}
		r = unzipped
	} else {
		r = buffered
	}
	c := &Capture{came: &counter{r: r}}
	c.plain = bufio.NewReaderSize(c.came, 64<<10)
	magic, err := c.plain.Peek(4)
	switch {
	case len(magic) == 0 && errors.Is(err, io.EOF):
		return nil, errors.New("the capture is empty")
	case len(magic) < 4 && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("read the capture: %w", err)
	case string(magic) == pcapngMagic:
		err = c.openNG()
	case isPcap(string(magic)):
		err = c.openPcap()
	default:
		return nil, fmt.Errorf("no capture: it begins with %q, and neither a pcap nor a pcapng file does", magic)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends there")
	}
	if err != nil {
		return nil, fmt.Errorf("read the head of the capture: %w", err)
	}
	return c, nil
}

func isPcap(magic string) bool {
	for _, m := range pcapMagics {
		if m == magic {
			return true
		}
	}
	return false
}

func (c *Capture) openPcap() error {
	r, err := pcapgo.NewReader(c.plain)
	if err != nil {
		return err
	}
	c.read = r.ReadPacketData
	c.link = func(gopacket.CaptureInfo) layers.LinkType { return r.LinkType() }
	return nil
}

func (c *Capture) openNG() error {
	r, err := pcapgo.NewNgReader(c.plain, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return err
	}
	c.read = r.ReadPacketData
	c.link = func(info gopacket.CaptureInfo) layers.LinkType {
		for _, extra := range info.AncillaryData {
			if link, ok := extra.(layers.LinkType); ok {
				return link
			}
		}
		return r.LinkType()
	}
	return nil
}

// next returns the next frame; io.EOF after the last one. Any other error says where the capture is damaged, and there
// is nothing to read behind it.
func (c *Capture) next() (frame, error) {
	at := c.came.n - int64(c.plain.Buffered())
	data, info, err := c.read()
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		if end := c.came.n - int64(c.plain.Buffered()); end == at {
			return frame{}, io.EOF
		}
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends inside it")
	}
	if err != nil {
		return frame{}, fmt.Errorf("damaged at frame %d, byte %d: %w", c.count+1, at, err)
	}
	c.count++
	f := frame{number: c.count, time: info.Timestamp, link: c.link(info), isCut: info.Length > info.CaptureLength}
	f.data, f.known = toEthernet(f.link, data)
	return f, nil
}
