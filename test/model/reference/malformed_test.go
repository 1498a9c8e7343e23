// SPDX-License-Identifier: Apache-2.0

package reference_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/spillway/spillway/test/model/reference"
	"github.com/spillway/spillway/test/support/clienthello"
)

// fixed is the part of a hello before the session id.
var fixed = "0303" + strings.Repeat("ab", 32)

// Offsets of the lengths in a message with an empty session id and one cipher suite.
const (
	atSession    = 4 + 2 + 32
	atCiphers    = atSession + 1
	atCompressed = atCiphers + 2 + 2
	atBlock      = atCompressed + 1 + 1
	atExtension  = atBlock + 2 // its type; the length follows after two bytes
	atList       = atExtension + 4
)

// message writes a handshake message around a body in hexadecimal.
func message(t *testing.T, body string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{1, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
}

func TestMalformedMessages(t *testing.T) {
	// until the block of extensions, then with a block around e
	const head = " 00 0002 002f 01 00 "
	type row struct {
		name, body string
		where      reference.Where
		offset     int
	}
	for _, c := range []row{
		{"no room for a version", "03", reference.InFixedPart, 1},
		{"a short random", "0303" + strings.Repeat("00", 31), reference.InFixedPart, 1},
		{"no session id", fixed, reference.InSessionID, 1},
		{"session id over the end", fixed + "02 00", reference.InSessionID, atSession},
		{"session id of 255 bytes over the end", fixed + "ff" + strings.Repeat("00", 254), reference.InSessionID, atSession},
		{"no cipher suites", fixed + "00", reference.InCiphers, 1},
		{"half a length of cipher suites", fixed + "00 00", reference.InCiphers, 1},
		{"cipher suites over the end", fixed + "00 0004 002f", reference.InCiphers, atCiphers},
		{"odd cipher suites", fixed + "00 0003 002f00 01 00", reference.InCiphers, atCiphers},
		{"no compression methods", fixed + "00 0002 002f", reference.InCompression, 1},
		{"compression methods over the end", fixed + "00 0002 002f 02 00", reference.InCompression, atCompressed},
		{"one byte instead of a block", fixed + head + "00", reference.InExtensions, 1},
		{"block over the end", fixed + head + "0005 00170000", reference.InExtensions, atBlock},
		{"bytes after the block", fixed + head + "0003 00170000", reference.InExtensions, atBlock},
		{"bytes after an empty block", fixed + head + "0000 00", reference.InExtensions, atBlock},
		{"half an extension type", fixed + head + "0001 00", reference.InExtension, atBlock},
		{"no extension length", fixed + head + "0003 001700", reference.InExtension, atBlock},
		{"extension over the block", fixed + head + "0004 00170001", reference.InExtension, atExtension + 2},
		{"extension of 65535", fixed + head + "0004 0017ffff", reference.InExtension, atExtension + 2},
		{"GREASE over the block", fixed + head + "0004 0a0a0001", reference.InExtension, atExtension + 2},
		{"algorithms: half a length", fixed + head + "0005 000d0001 00", reference.InAlgorithms, atExtension + 2},
		{"algorithms over the extension", fixed + head + "0008 000d0004 0004 0403", reference.InAlgorithms, atList},
		{"algorithms short of the extension", fixed + head + "0008 000d0004 0000 0403", reference.InAlgorithms, atList},
		{"odd algorithms", fixed + head + "0009 000d0005 0003 040300", reference.InAlgorithms, atList},
		{"versions over the extension", fixed + head + "0007 002b0003 04 0304", reference.InVersions, atList},
		{"versions short of the extension", fixed + head + "0007 002b0003 00 0304", reference.InVersions, atList},
		{"odd versions", fixed + head + "0006 002b0002 01 03", reference.InVersions, atList},
		{"protocols: half a length", fixed + head + "0005 00100001 00", reference.InProtocols, atExtension + 2},
		{"protocols over the extension", fixed + head + "0009 00100005 0004 026832", reference.InProtocols, atList},
		{"protocols short of the extension", fixed + head + "000a 00100006 0003 026832 00", reference.InProtocols, atList},
		{"protocol over its list", fixed + head + "0009 00100005 0003 036832", reference.InProtocols, atList + 2},
	} {
		_, err := reference.ParseMessage(message(t, c.body))
		var got *reference.Error
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := reference.Error{Kind: reference.ErrMalformed, Where: c.where, Offset: c.offset}
		if *got != want {
			t.Errorf("%s: %v, want %v", c.name, got, &want)
		}
	}
}

// What no fingerprint needs may lie.
func TestOpaqueContent(t *testing.T) {
	for name, data := range map[string]clienthello.Extension{
		"server_name": ext(0, "ffff 00"), "key_share": ext(0x33, "ffff"), "groups": ext(0x0a, "ff"),
		"padding": ext(0x15, "01"),
		"GREASE":  ext(0x0a0a, "ffffff"), "delegated_credentials": ext(0x22, "00ff"), "pre_shared_key": ext(0x29, "ffff"),
	} {
		if _, err := reference.ParseMessage(hello(one, data).Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStreams(t *testing.T) {
	whole := hello(one, ext(0x0017, "")).Bytes()
	stream := func(kind, major byte, length uint16, data []byte) []byte {
		return append([]byte{kind, major, 1, byte(length >> 8), byte(length)}, data...)
	}
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	n := uint16(len(whole))
	first := stream(22, 3, 10, whole[:10])
	for _, c := range []struct {
		name   string
		stream []byte
		want   string // "": a hello
	}{
		{"whole", stream(22, 3, n, whole), ""},
		{"with more in the record, which has not come", stream(22, 3, 1<<14, whole), ""},
		{"nothing", nil, "incomplete: record header at byte 0"},
		{"half a header", []byte{22, 3, 1}, "incomplete: record header at byte 3"},
		{"HTTP", []byte("GET /"), "not a ClientHello: record header at byte 0"},
		{"application data", stream(23, 3, n, whole), "not a ClientHello: record header at byte 0"},
		{"a hello of SSL 2", []byte{0x80, 0x2e, 1, 3, 1}, "incomplete: handshake header at byte 5"},
		{"an answer of SSL 2", []byte{0x80, 0x2e, 4, 3, 1}, "not a ClientHello: handshake header at byte 2"},
		{"record version 2.0", stream(22, 2, n, whole), ""},
		{"record version 15.1", stream(22, 15, n, whole), ""},
		{"record version 16.1", stream(22, 16, n, whole), "not a ClientHello: record header at byte 0"},
		{"a ServerHello", stream(22, 3, 4, []byte{2, 0, 0, 0}), "not a ClientHello: handshake header at byte 5"},
		{"an empty record", stream(22, 3, 0, nil), "incomplete: record header at byte 5"},
		{"an empty record, then all", join(stream(22, 3, 0, nil), stream(22, 3, n, whole)), ""},
		{"a record over 16 KiB", stream(22, 3, 1<<14+1, whole), "malformed: record length at byte 3"},
		{"an empty record later", join(first, stream(22, 3, 0, nil), stream(22, 3, n-10, whole[10:])), ""},
		{"a warning between", join(first, stream(21, 3, 2, []byte{1, 0}), stream(22, 3, n-10, whole[10:])), ""},
		{"change_cipher_spec between", join(first, stream(20, 3, 1, []byte{1}), stream(22, 3, n-10, whole[10:])), ""},
		{"a fatal alert between", join(first, stream(21, 3, 2, []byte{2, 0})), "malformed: record header at byte 20"},
		{"a fatal alert before", join(stream(21, 3, 2, []byte{2, 0}), first), "not a ClientHello: record header at byte 5"},
		{"an alert of one byte between", join(first, stream(21, 3, 1, []byte{1})), "malformed: record length at byte 18"},
		{"half an alert", stream(21, 3, 2, nil), "incomplete: record header at byte 5"},
		{"another version between", join(first, stream(22, 16, 2, whole)), "malformed: record header at byte 15"},
		{"the rest is missing", first, "incomplete: record header at byte 15"},
		{"anything after the hello", join(stream(22, 3, n, whole), []byte{0xff, 0xff}), ""},
	} {
		h, err := reference.ParseStream(c.stream)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if end := bytes.Index(c.stream, whole[len(whole)-5:]) + 5; c.want == "" && err == nil && h.End != end {
			t.Errorf("%s: ends at %d, want %d", c.name, h.End, end)
		}
	}
}

func FuzzParseStream(f *testing.F) {
	f.Add(clienthello.Records(hello(one, alpn("6832"), ext(0x000d, "0002 0403")).Bytes()))
	f.Fuzz(func(t *testing.T, stream []byte) {
		h, err := reference.ParseStream(stream)
		if err != nil {
			if !errors.Is(err, reference.ErrNotHello) && !errors.Is(err, reference.ErrIncomplete) &&
				!errors.Is(err, reference.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(h.JA4()) != 36 || len(h.StableJA4()) != 36 || h.End > len(stream) {
			t.Errorf("%s, %s, ends at %d of %d", h.JA4(), h.StableJA4(), h.End, len(stream))
		}
		_, _, _ = h.JA3()
	})
}
