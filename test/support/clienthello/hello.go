// SPDX-License-Identifier: Apache-2.0

package clienthello

import (
	"encoding/binary"
	"fmt"
)

// Hello is a ClientHello, RFC 8446 section 4.1.2, with any content.
type Hello struct {
	Version     uint16
	Random      [32]byte
	SessionID   []byte
	Ciphers     []uint16
	Compression []byte
	Extensions  []Extension
	// Bare hellos have no block of extensions, not even an empty one.
	Bare bool
}

// Extension is one of a hello.
type Extension struct {
	Type uint16
	Data []byte
}

// Field is a length that a hello states about itself.
type Field struct {
	Name   string
	Offset int // in the handshake message
	Width  int // 1 to 3 bytes
}

// Bytes returns the handshake message, with its header.
func (h Hello) Bytes() []byte {
	b, _ := h.encode()
	return b
}

// Fields returns the lengths in Bytes, from the first to the last: that of the message, of the five vectors, of each
// extension, and of the lists in the extensions whose content is known.
func (h Hello) Fields() []Field {
	_, fields := h.encode()
	return fields
}

// writer appends to a message and keeps account of its lengths.
type writer struct {
	b      []byte
	fields []Field
}

// vector writes what body writes behind its length.
func (w *writer) vector(name string, width int, body func()) {
	at := len(w.b)
	w.fields = append(w.fields, Field{name, at, width})
	w.b = append(w.b, make([]byte, width)...)
	body()
	putNumber(w.b[at:at+width], len(w.b)-at-width)
}

// putNumber writes the low bytes of n.
func putNumber(b []byte, n int) {
	for i := range b {
		b[len(b)-1-i] = byte(n >> (8 * i))
	}
}

func (h Hello) encode() ([]byte, []Field) {
	const clientHello = 1
	w := &writer{b: []byte{clientHello}}
	w.vector("message", 3, func() {
		w.b = binary.BigEndian.AppendUint16(w.b, h.Version)
		w.b = append(w.b, h.Random[:]...)
		w.vector("session id", 1, func() { w.b = append(w.b, h.SessionID...) })
		w.vector("cipher suites", 2, func() { w.b = append(w.b, numbers(h.Ciphers)...) })
		w.vector("compression methods", 1, func() { w.b = append(w.b, h.Compression...) })
		if h.Bare {
			return
		}
		w.vector("extensions", 2, func() {
			for _, e := range h.Extensions {
				w.extension(e)
			}
		})
	})
	return w.b, w.fields
}

// listWidth is the width of the length that begins the data of an extension.
var listWidth = map[uint16]int{
	typeServerName: 2, typeGroups: 2, typePointFormats: 1, typeAlgorithms: 2, typeALPN: 2,
	typeVersions: 1, typeKeyShare: 2,
}

func (w *writer) extension(e Extension) {
	w.b = binary.BigEndian.AppendUint16(w.b, e.Type)
	name := fmt.Sprintf("extension %04x", e.Type)
	w.vector(name, 2, func() {
		at := len(w.b)
		w.b = append(w.b, e.Data...)
		if width := listWidth[e.Type]; width > 0 && len(e.Data) >= width {
			w.fields = append(w.fields, Field{"list of " + name, at, width})
		}
		if e.Type == typeALPN && len(e.Data) > 2 {
			w.fields = append(w.fields, Field{"protocol name", at + 2, 1})
		}
	})
}

// numbers writes 16-bit values.
func numbers(values []uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// counted writes a length of width bytes and then the data.
func counted(width int, data []byte) []byte {
	b := make([]byte, width, width+len(data))
	putNumber(b, len(data))
	return append(b, data...)
}
