// SPDX-License-Identifier: Apache-2.0

package ja4

import (
	"errors"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/test/model/reference"
)

// Classes of a stream beside the reasons that have the kernel's names.
const (
	whole   = "whole"
	partial = "hello_partial"
	odd     = "odd" // hello_order or hello_overlap, and no fingerprint
)

// Limits of enum hello_limit in bpf/types.h.
const (
	maxStream     = 16384
	maxValues     = 128 // of one list, before GREASE is dropped
	maxCiphers    = 99
	maxExtensions = 99
	maxAlgorithms = 64
	maxRecords    = 64
)

const (
	recordHeader  = 5
	messageHeader = 4
)

// expectation is what the kernel may make of a stream that came from its beginning on.
type expectation struct {
	hello   *reference.Hello // of class whole
	classes []string         // any of them; mostly there is one
}

// expect says what the specification and the kernel's stated limits make of a stream.
func expect(stream []byte) expectation {
	hello, err := reference.ParseStream(stream)
	length := declared(stream)
	switch {
	case errors.Is(err, reference.ErrNotHello):
		return expectation{classes: []string{"not_hello"}}
	case length.tooLong:
		return expectation{classes: length.long(stream)}
	case err == nil:
		return expectWhole(hello, length)
	case errors.Is(err, reference.ErrIncomplete), !length.complete && !length.broken:
		// The kernel reads a message when all of it is there; until then it may still be anything.
		return expectation{classes: []string{partial}}
	}
	e := expectation{classes: []string{"hello_malformed"}}
	if len(stream) > recordHeader && stream[recordHeader] != 1 {
		e.classes = append(e.classes, "not_hello") // the first record's length is wrong, and so is what is in it
	}
	if len(stream) < recordHeader+messageHeader {
		e.classes = append(e.classes, partial) // the kernel looks at lengths when both headers are there
	}
	if length.complete && mayBeTooLong(stream[:length.end]) {
		e.classes = append(e.classes, "hello_too_long") // what is wrong lies behind what is too long
	}
	return e
}

// expectWhole is for hellos that the specification has a fingerprint for.
func expectWhole(h *reference.Hello, length declaredLength) expectation {
	e := expectation{hello: h}
	count := func(values []uint16) int {
		return len(slices.DeleteFunc(slices.Clone(values), reference.IsGREASE))
	}
	var types []uint16
	for _, x := range h.Extensions {
		types = append(types, x.Type)
	}
	if count(h.Ciphers) > maxCiphers || len(h.Ciphers) > maxValues || count(types) > maxExtensions ||
		len(types) > maxValues ||
		count(h.Algorithms) > maxAlgorithms || len(h.Algorithms) > maxValues {
		e.classes = append(e.classes, "hello_too_long")
	}
	for _, once := range []uint16{reference.ExtALPN, reference.ExtSignatureAlgorithms, reference.ExtSupportedVersions} {
		first := slices.Index(types, once)
		if first >= 0 && slices.Contains(types[first+1:], once) {
			e.classes = append(e.classes, "hello_malformed")
		}
	}
	if len(e.classes) == 0 {
		e.classes = []string{whole}
	}
	return e
}

// mayBeTooLong says whether a list in a malformed hello may exceed a limit.
func mayBeTooLong(stream []byte) bool { return len(stream) > 2*maxAlgorithms }

// declaredLength is what a stream says about the length of its first message.
type declaredLength struct {
	complete bool // all bytes of the message are there
	broken   bool // the records end before the message does
	tooLong  bool // more bytes, or records, than the kernel reads
	end      int  // of the message in the stream
}

// long is the class of what is too long. Only where the length of the message stands in several records itself, the
// kernel waits for the end of what it can hold.
func (l declaredLength) long(stream []byte) []string {
	if first := int(stream[3])<<8 | int(stream[4]); first < messageHeader || stream[0] != 22 {
		return []string{"hello_too_long", partial}
	}
	return []string{"hello_too_long"}
}

// declared walks the records.
func declared(stream []byte) declaredLength {
	var message []byte
	records := 0
	for at := 0; ; {
		if len(stream)-at < recordHeader {
			return declaredLength{tooLong: at+recordHeader > maxStream && len(stream) > maxStream}
		}
		kind, length := stream[at], int(stream[at+3])<<8|int(stream[at+4])
		if kind < 20 || kind > 22 || stream[at+1] >= 16 || length > 1<<14 {
			return declaredLength{broken: true}
		}
		if kind == 21 && (length != 2 || len(stream) > at+recordHeader && stream[at+recordHeader] != 1) {
			return declaredLength{broken: true}
		}
		at += recordHeader
		records++
		if kind != 22 {
			if records > maxRecords {
				return declaredLength{tooLong: true}
			}
			if at+length > len(stream) {
				return declaredLength{tooLong: len(stream) >= maxStream}
			}
			at += length
			continue
		}
		from := len(message)
		message = append(message, stream[at:min(len(stream), at+length)]...)
		if len(message) >= messageHeader {
			need := messageHeader + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
			end := at + need - from
			if recordHeader+need > maxStream || records > maxRecords {
				return declaredLength{tooLong: true}
			}
			if need <= len(message) {
				return declaredLength{complete: true, end: end, tooLong: end > maxStream}
			}
		} else if records > maxRecords {
			return declaredLength{tooLong: true}
		}
		if at+length > len(stream) {
			return declaredLength{tooLong: len(stream) >= maxStream}
		}
		at += length
	}
}

// classOf says what the kernel holds a stream for.
func classOf(flow bpf.Flow) string {
	if flow.Flags&uint8(bpf.FlowHasTLS) != 0 {
		return whole
	}
	switch reason := weakOf(flow.Score); reason {
	case "":
		return partial
	case "hello_order", "hello_overlap":
		return odd
	default:
		return reason
	}
}
