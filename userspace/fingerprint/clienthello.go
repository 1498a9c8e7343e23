// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/spillway/spillway/bpf"
)

// What the bytes of a client can be instead of a ClientHello.
var (
	errNotHello  = errors.New("no ClientHello")
	errPartial   = errors.New("the ClientHello goes on")
	errMalformed = errors.New("the ClientHello contradicts itself")
	errUrgent    = errors.New("it has two urgent bytes; which of them the server reads depends on when it reads")
	errTooLong   = errors.New("the ClientHello is longer than this program reads")
)

const (
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordMajorEnd  = 16 // the first major version of a record that no server takes
	recordHeader    = 5
	recordMax       = 1 << 14 // RFC 8446 section 5.1
	clientHello     = 1
	messageHeader   = 4
	// helloMax is the longest message that is read; clients of 2026 send 300 to 2,100 bytes.
	helloMax = int(bpf.HelloMax)
)

// Types of extensions (IANA).
const (
	extServerName        = 0x0000
	extGroups            = 0x000a
	extPointFormats      = 0x000b
	extAlgorithms        = 0x000d
	extALPN              = 0x0010
	extSupportedVersions = 0x002b
)

// hello is what fingerprints are made of: the lists of a ClientHello in their order, GREASE included.
type hello struct {
	version    uint16 // legacy_version
	ciphers    []uint16
	extensions []uint16
	algorithms []uint16
	versions   []uint16
	groups     []uint16
	formats    []byte
	protocol   []byte // the first of ALPN that is not GREASE
}

// isTaken reports whether a server takes a record of this header before or in a ClientHello: see bpf/record.h.
func isTaken(header []byte) bool {
	return header[0] >= recordCCS && header[0] <= recordHandshake && (len(header) < 2 || header[1] < recordMajorEnd)
}

// beginsHello reports whether bytes are the beginning of a ClientHello, as far as they go.
func beginsHello(b []byte) bool {
	if len(b) > 0 && b[0]&sslv2Mark != 0 {
		return len(b) <= sslv2LengthSize || b[sslv2LengthSize] == clientHello
	}
	if len(b) == 0 || !isTaken(b) {
		return false
	}
	return b[0] != recordHandshake || len(b) <= recordHeader || b[3]|b[4] == 0 || b[recordHeader] == clientHello
}

// readHello reads the ClientHello that a stream begins with, from as many records as it takes (RFC 8446 sections 4 and
// 5.1), and steps over what servers step over: empty records, change_cipher_spec, warnings. In the format of SSL 2.0 it
// is read too.
func readHello(stream []byte) (*hello, error) {
	if !beginsHello(stream) {
		return nil, errNotHello
	}
	var message []byte
	for first := true; ; first = false {
		if len(message) == 0 && len(stream) > 0 && stream[0]&sslv2Mark != 0 {
			return readSSLv2(stream)
		}
		length, err := recordLength(stream)
		if errors.Is(err, errMalformed) && first && len(stream) > 0 && stream[0] == recordAlert {
			return nil, errNotHello
		}
		if errors.Is(err, errMalformed) && first && len(stream) == recordHeader {
			return nil, errPartial // the next byte says whether this begins a hello
		}
		if err != nil {
			return nil, err
		}
		body := stream[recordHeader:]
		whole := len(body) >= length
		if stream[0] == recordHandshake {
			message = append(message, body[:min(length, len(body))]...)
		}
		if len(message) > 0 && message[0] != clientHello {
			return nil, errNotHello
		}
		if len(message) >= messageHeader {
			end := messageHeader + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
			switch {
			case end > helloMax:
				return nil, errTooLong
			case len(message) >= end:
				return readMessage(message[messageHeader:end])
			}
		}
		if !whole {
			return nil, errPartial
		}
		stream = body[length:]
	}
}

// recordLength reads the header at the front of a stream.
func recordLength(stream []byte) (int, error) {
	if len(stream) > 0 && !isTaken(stream) {
		return 0, fmt.Errorf("%w: a record header", errMalformed)
	}
	if len(stream) < recordHeader {
		return 0, errPartial
	}
	length := int(binary.BigEndian.Uint16(stream[3:]))
	if length > recordMax {
		return 0, fmt.Errorf("%w: a record header", errMalformed)
	}
	if stream[0] != recordAlert {
		return length, nil
	}
	const alertLen, warning = 2, 1
	switch {
	case length == alertLen && len(stream) == recordHeader:
		return 0, errPartial
	case length != alertLen || stream[recordHeader] != warning:
		return 0, fmt.Errorf("%w: an alert", errMalformed)
	}
	return length, nil
}

// cursor reads from the front of b. What does not fit sets bad, and reads as nothing.
type cursor struct {
	b   []byte
	bad string
}

func (c *cursor) take(n int, what string) []byte {
	if n > len(c.b) || c.bad != "" {
		if c.bad == "" {
			c.bad = what
		}
		c.b = nil
		return nil
	}
	taken := c.b[:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) number(width int, what string) int {
	n := 0
	for _, b := range c.take(width, what) {
		n = n<<8 | int(b)
	}
	return n
}

// vector reads what stands behind its length.
func (c *cursor) vector(width int, what string) []byte { return c.take(c.number(width, what), what) }

// only reads a vector that must fill the rest.
func (c *cursor) only(width int, what string) []byte {
	v := c.vector(width, what)
	if len(c.b) > 0 && c.bad == "" {
		c.bad = what
	}
	return v
}

// numbers reads a list of 16-bit values.
func (c *cursor) numbers(b []byte, what string) []uint16 {
	if len(b)%2 != 0 && c.bad == "" {
		c.bad = what
	}
	values := make([]uint16, 0, len(b)/2)
	for ; len(b) > 1; b = b[2:] {
		values = append(values, binary.BigEndian.Uint16(b))
	}
	return values
}

// readMessage reads a ClientHello without its handshake header, RFC 8446 section 4.1.2.
func readMessage(b []byte) (*hello, error) {
	c := cursor{b: b}
	h := &hello{version: uint16(c.number(2, "version"))}
	c.take(32, "random")
	c.vector(1, "session id") // TLS allows 32 bytes, Go's servers take as many as there are
	h.ciphers = c.numbers(c.vector(2, "cipher suites"), "cipher suites")
	c.vector(1, "compression methods")
	if len(c.b) > 0 { // SSL 3.0 and TLS 1.0 may end before the extensions
		extensions := cursor{b: c.only(2, "extensions")}
		if c.bad == "" {
			c.bad = h.readExtensions(&extensions)
		}
	}
	if c.bad != "" {
		return nil, fmt.Errorf("%w: %s", errMalformed, c.bad)
	}
	return h, nil
}

// readExtensions returns which length does not fit, "" when all do.
func (h *hello) readExtensions(c *cursor) (bad string) {
	seen := map[uint16]bool{}
	for len(c.b) > 0 {
		kind := uint16(c.number(2, "extension"))
		data := c.vector(2, "extension")
		if c.bad != "" {
			return c.bad
		}
		h.extensions = append(h.extensions, kind)
		if bad := h.readExtension(kind, data, seen[kind]); bad != "" {
			return bad
		}
		seen[kind] = true
	}
	return ""
}

// readExtension looks into what fingerprints ask for. Of the ones that JA4 reads a second is illegal (RFC 8446 section
// 4.2), and which one counts would be anybody's guess. An empty one says nothing.
func (h *hello) readExtension(kind uint16, data []byte, again bool) (bad string) {
	c := cursor{b: data}
	switch kind {
	case extAlgorithms, extALPN, extSupportedVersions:
		if again {
			return fmt.Sprintf("extension %04x twice", kind)
		}
	case extGroups:
		h.groups = c.numbers(c.vector(2, "groups"), "groups")
		return "" // JA4 does not look into it, and JA3 takes what is there
	case extPointFormats:
		h.formats = c.vector(1, "point formats")
		return ""
	}
	if len(data) == 0 {
		return ""
	}
	switch kind {
	case extAlgorithms:
		h.algorithms = c.numbers(c.only(2, "signature algorithms"), "signature algorithms")
	case extSupportedVersions:
		h.versions = c.numbers(c.only(1, "supported versions"), "supported versions")
	case extALPN:
		names := cursor{b: c.only(2, "protocol names")}
		h.protocol = firstProtocol(&names)
		if c.bad == "" {
			c.bad = names.bad
		}
	}
	return c.bad
}

// greaseProtocols is how many GREASE identifiers are looked past: there are no more of them (RFC 8701 section 2).
const greaseProtocols = 16

// firstProtocol reads the first name that is not GREASE, nil when there is none.
func firstProtocol(names *cursor) []byte {
	for passed := 0; len(names.b) > 0; passed++ {
		p := names.vector(1, "protocol names")
		if passed == greaseProtocols || len(p) != 2 || !isGREASE(binary.BigEndian.Uint16(p)) {
			return p
		}
	}
	return nil
}
