// SPDX-License-Identifier: Apache-2.0

package reference

// Types of extensions (IANA) that a fingerprint treats apart.
const (
	ExtServerName          uint16 = 0x0000
	ExtSupportedGroups     uint16 = 0x000a
	ExtPointFormats        uint16 = 0x000b
	ExtSignatureAlgorithms uint16 = 0x000d
	ExtALPN                uint16 = 0x0010
	ExtPadding             uint16 = 0x0015
	ExtSessionTicket       uint16 = 0x0023
	ExtPreSharedKey        uint16 = 0x0029
	ExtEarlyData           uint16 = 0x002a
	ExtSupportedVersions   uint16 = 0x002b
	ExtCookie              uint16 = 0x002c
)

// Extension is one of a ClientHello.
type Extension struct {
	Type uint16
	Data []byte
}

// Hello is a ClientHello as it was sent: everything in order, GREASE and duplicates included.
type Hello struct {
	Message    []byte // the handshake message with its header
	End        int    // the bytes of the stream up to the end of the message; 0 from ParseMessage
	Version    uint16 // legacy_version
	SessionID  []byte
	Ciphers    []uint16
	Extensions []Extension

	Algorithms []uint16 // of the first signature_algorithms
	Versions   []uint16 // of all supported_versions
	Protocol   []byte   // the first of ALPN but for GREASE; nil when there is none

	sawAlgorithms bool
}

const (
	clientHello     = 1
	handshakeHeader = 4
	randomLen       = 32
)

// ParseMessage reads a ClientHello from its handshake header on. The error is an *Error.
func ParseMessage(message []byte) (*Hello, error) {
	c := cursor{came: message, end: handshakeHeader}
	kind, err := c.number(1, InHandshake)
	if err != nil {
		return nil, err
	}
	if kind != clientHello {
		return nil, &Error{ErrNotHello, InHandshake, 0}
	}
	length, err := c.number(3, InHandshake)
	if err != nil {
		return nil, err
	}
	c.from, c.end = 1, c.end+length
	h := &Hello{}
	if err := h.readFixedPart(&c); err != nil {
		return nil, err
	}
	if err := h.readExtensions(&c); err != nil {
		return nil, err
	}
	if c.end > len(message) {
		return nil, &Error{ErrIncomplete, InExtensions, len(message)}
	}
	h.Message = message[:c.end:c.end]
	return h, nil
}

// readFixedPart reads what every ClientHello has, RFC 8446 section 4.1.2.
func (h *Hello) readFixedPart(c *cursor) error {
	version, err := c.number(2, InFixedPart)
	if err != nil {
		return err
	}
	h.Version = uint16(version)
	if err := c.skip(randomLen, InFixedPart); err != nil {
		return err
	}
	session, err := c.vector(1, InSessionID)
	if err != nil {
		return err
	}
	if h.SessionID, err = session.rest(InSessionID); err != nil {
		return err
	}
	ciphers, err := c.vector(2, InCiphers)
	if err != nil {
		return err
	}
	if h.Ciphers, err = ciphers.numbers(2, InCiphers); err != nil {
		return err
	}
	_, err = c.vector(1, InCompression)
	return err
}

// readExtensions reads the block of extensions, which may be missing.
func (h *Hello) readExtensions(c *cursor) error {
	if c.empty() {
		return nil
	}
	block, err := c.whole(2, InExtensions)
	if err != nil {
		return err
	}
	for !block.empty() {
		kind, err := block.number(2, InExtension)
		if err != nil {
			return err
		}
		content, err := block.vector(2, InExtension)
		if err != nil {
			return err
		}
		body := content
		if err := h.readContent(uint16(kind), content); err != nil {
			return err
		}
		data, err := body.rest(InExtension)
		if err != nil {
			return err
		}
		h.Extensions = append(h.Extensions, Extension{Type: uint16(kind), Data: data})
	}
	return nil
}
