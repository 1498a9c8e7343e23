// SPDX-License-Identifier: Apache-2.0

package reference

import "errors"

// The record layer, RFC 8446 section 5.1, as servers take it: OpenSSL steps over empty handshake records, GnuTLS over
// change_cipher_spec and Go over warnings, and Go looks at no version below 0x1000.
const (
	recordHeader    = 5
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordMajorEnd  = 16
	recordMax       = 1 << 14

	alertLen     = 2
	alertWarning = 1
)

// fragment is what one record holds of the handshake message.
type fragment struct {
	stream, message int // where it begins in both
}

// ParseStream reads the ClientHello at the beginning of a TLS byte stream, of as many records as it takes. What follows
// the message is not looked at. The error is an *Error.
func ParseStream(stream []byte) (*Hello, error) {
	message, fragments, framing := defragment(stream)
	var old *oldFormat
	if errors.As(framing, &old) {
		return parseSSLv2(stream, old.at)
	}
	hello, err := ParseMessage(message)
	var failure *Error
	switch {
	case errors.Is(err, ErrIncomplete) && framing != nil:
		return nil, framing // whatever came before it was right, and not enough
	case errors.As(err, &failure):
		failure.Offset = streamOffset(fragments, failure.Offset)
		return nil, failure
	case err != nil:
		return nil, err
	}
	hello.End = streamOffset(fragments, len(hello.Message)-1) + 1
	return hello, nil
}

// oldFormat is the error of a message that begins in the format of SSL 2.0.
type oldFormat struct{ at int }

func (*oldFormat) Error() string { return "the format of SSL 2.0" }

// defragment joins the contents of handshake records until the stream ends, or until an error that says why the records
// cannot go on. The contents of the last record may be cut short.
func defragment(stream []byte) (message []byte, fragments []fragment, err error) {
	for at := 0; ; {
		header := stream[at:min(len(stream), at+recordHeader+1)]
		if len(header) > 0 && header[0]&sslv2Mark != 0 && len(message) == 0 {
			return nil, nil, &oldFormat{at}
		}
		kind, length, err := readRecordHeader(header, at)
		if err != nil {
			return message, fragments, err
		}
		at += recordHeader
		if kind == recordHandshake {
			fragments = append(fragments, fragment{stream: at, message: len(message)})
			end := min(len(stream), at+length)
			message = append(message, stream[at:end]...)
		}
		at += length
		if at > len(stream) {
			return message, fragments, &Error{ErrIncomplete, InHandshake, len(stream)}
		}
	}
}

// readRecordHeader judges a header, and the level of an alert behind it, by as many bytes as there are.
func readRecordHeader(header []byte, at int) (kind byte, length int, err error) {
	foreign := ErrNotHello
	if at > 0 {
		foreign = ErrMalformed
	}
	n := len(header)
	switch {
	case n > 0 && (header[0] < recordCCS || header[0] > recordHandshake):
		return 0, 0, &Error{foreign, InRecordHeader, at}
	case n > 1 && header[1] >= recordMajorEnd:
		return 0, 0, &Error{foreign, InRecordHeader, at}
	case n < recordHeader:
		return 0, 0, &Error{ErrIncomplete, InRecordHeader, at + n}
	}
	kind, length = header[0], int(header[3])<<8|int(header[4])
	switch {
	case kind == recordAlert && length != alertLen:
		return 0, 0, &Error{foreign, InRecordLength, at + 3}
	case kind == recordAlert && n == recordHeader:
		return 0, 0, &Error{ErrIncomplete, InRecordHeader, at + n}
	case kind == recordAlert && header[recordHeader] != alertWarning:
		return 0, 0, &Error{foreign, InRecordHeader, at + recordHeader}
	case length > recordMax && kind != recordHandshake:
		return 0, 0, &Error{foreign, InRecordLength, at + 3}
	case length > recordMax && at == 0 && n == recordHeader: // the next byte says whether it begins a hello
		return 0, 0, &Error{ErrIncomplete, InRecordHeader, at + n}
	case length > recordMax && at == 0 && header[recordHeader] != clientHello:
		return 0, 0, &Error{ErrNotHello, InRecordLength, at + 3}
	case length > recordMax:
		return 0, 0, &Error{ErrMalformed, InRecordLength, at + 3}
	}
	return kind, length, nil
}

// streamOffset returns where in the stream a byte of the message is.
func streamOffset(fragments []fragment, message int) int {
	offset := 0
	for _, f := range fragments {
		if f.message > message {
			break
		}
		offset = f.stream + message - f.message
	}
	return offset
}
