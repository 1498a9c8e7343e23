// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"errors"
	"fmt"
)

// What a stream is when it is no ClientHello. Errors of this package wrap one of them.
var (
	// ErrNotHello: the stream begins with something other than a handshake record with a ClientHello.
	ErrNotHello = errors.New("not a ClientHello")
	// ErrIncomplete: nothing is wrong so far, and more bytes are needed.
	ErrIncomplete = errors.New("incomplete")
	// ErrMalformed: a length contradicts the one around it, or has a value that TLS forbids.
	ErrMalformed = errors.New("malformed")
	// ErrNotSYN: the packet opens no connection, or p0f would not look at it.
	ErrNotSYN = errors.New("not a SYN")
)

// Where names the structure in which reading ended.
type Where string

// The structures of a ClientHello, from the outside in.
const (
	InRecordHeader Where = "record header"
	InRecordLength Where = "record length"
	InHandshake    Where = "handshake header"
	InFixedPart    Where = "version and random"
	InSessionID    Where = "session id"
	InCiphers      Where = "cipher suites"
	InCompression  Where = "compression methods"
	InExtensions   Where = "extensions"
	InExtension    Where = "extension"
	InAlgorithms   Where = "signature algorithms"
	InVersions     Where = "supported versions"
	InProtocols    Where = "protocol names"
	InGroups       Where = "supported groups"
	InPointFormats Where = "point formats"
)

// Error says what is wrong with a stream, and where.
type Error struct {
	Kind  error // ErrNotHello, ErrIncomplete or ErrMalformed
	Where Where
	// Offset counts from the beginning of the stream (of the message, from ParseMessage; of the extension, from JA3). Of
	// ErrMalformed it is where the length stands that does not fit, of ErrIncomplete what has come.
	Offset int
}

func (e *Error) Error() string { return fmt.Sprintf("%v: %s at byte %d", e.Kind, e.Where, e.Offset) }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }
