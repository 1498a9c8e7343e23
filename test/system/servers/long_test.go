// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// helloMax are the bytes of a hello that are read, record headers included: a full record has five more.
const helloMax = int(bpf.HelloMax)

// more is a message with more cipher suites, and with more extensions behind its own.
func more(message []byte, ciphers []uint16, extensions []byte) []byte {
	at := 4 + 2 + 32
	at += 1 + int(message[at]) // its session id
	end := at + 2 + int(binary.BigEndian.Uint16(message[at:]))
	list := slices.Clone(message[at+2 : end])
	for _, c := range ciphers {
		list = binary.BigEndian.AppendUint16(list, c)
	}
	behind := end + 1 + int(message[end]) // its compression methods
	all := slices.Concat(message[behind+2:], extensions)
	body := slices.Concat(message[4:at], binary.BigEndian.AppendUint16(nil, uint16(len(list))), list, message[end:behind],
		binary.BigEndian.AppendUint16(nil, uint16(len(all))), all)
	return slices.Concat([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body)
}

// unknown are n values of a kind that no server knows.
func unknown(n int) (all []uint16) {
	for v := uint16(0xb001); len(all) < n; v++ {
		if v&0x0f0f != 0x0a0a {
			all = append(all, v)
		}
	}
	return all
}

// extensionsOf are extensions of these types, with nothing in them.
func extensionsOf(types []uint16) (all []byte) {
	for _, kind := range types {
		all = binary.BigEndian.AppendUint32(all, uint32(kind)<<16)
	}
	return all
}

// sized is the hello of a message in records of at most 16,384 bytes, filled up by padding (RFC 7685) to so many bytes.
func sized(message []byte, bytes int) []byte {
	records := (bytes + 16388) / 16389
	padding := bytes - 5*records - len(message) - 4
	filled := more(message, nil,
		slices.Concat([]byte{0, 21}, binary.BigEndian.AppendUint16(nil, uint16(padding)), make([]byte, padding)))
	var stream []byte
	for part := range slices.Chunk(filled, 16384) {
		stream = append(stream, record(22, 3, 1, part)...)
	}
	return stream
}

// fullLists are hellos up to the limits, which are read.
func fullLists(message []byte) map[string][]byte {
	return map[string][]byte{
		"80 more ciphers":                     record(22, 3, 1, more(message, unknown(80), nil)),
		"80 more extensions":                  record(22, 3, 1, more(message, nil, extensionsOf(unknown(80)))),
		fmt.Sprintf("%d bytes", helloMax):     sized(message, helloMax),
		fmt.Sprintf("%d bytes", helloMax-100): sized(message, helloMax-100),
	}
}

// overlong are hellos beyond the limits: they have no JA4 of three parts, and a policy decides what becomes of them.
func overlong(message []byte) map[string][]byte {
	return map[string][]byte{
		"100 more ciphers":                  record(22, 3, 1, more(message, unknown(100), nil)),
		"3,000 more ciphers":                record(22, 3, 1, more(message, unknown(3000), nil)),
		"100 more extensions":               record(22, 3, 1, more(message, nil, extensionsOf(unknown(100)))),
		"3,000 more extensions":             record(22, 3, 1, more(message, nil, extensionsOf(unknown(3000)))),
		fmt.Sprintf("%d bytes", helloMax+1): sized(message, helloMax+1),
		"a full record":                     sized(message, 5+16384),
		"20,000 bytes in two records":       sized(message, 20000),
		"40,000 bytes in three records":     sized(message, 40000),
	}
}

// What exceeds a limit is served and told as hello_too_long; on a host that accepts the reason it is blocked, and
// others are served all the same. Every server, local and behind DNAT.
func (s *site) overlong(t *testing.T) {
	all := overlong(goHello(t, "http/1.1"))
	ordinary := hello(t, "http/1.1")
	host := *s.Host
	defer func() { s.Host = &host }()
	for _, isAccepted := range []bool{false, true} {
		b := deny(t)
		if isAccepted {
			accepting := host
			accepting.AcceptReasons = []string{"hello_too_long"}
			s.Host = &accepting
			b.Reasons = []config.ReasonFeature{{Rule: "bad", Reason: "hello_too_long"}}
		}
		s.publish(b)
		var wg sync.WaitGroup
		for _, p := range places {
			for _, v := range servers {
				wg.Go(func() {
					for name, stream := range all {
						if err := s.overlongAt(p, v, stream, isAccepted); err != nil {
							t.Errorf("%s, %s, %s, accepted %t: %v", name, v.name, p.name, isAccepted, err)
						}
					}
					for _, f := range families {
						if err := s.visitor(p, v, f, ordinary); isAccepted && err != nil {
							t.Errorf("%s, %s, %s: %v", v.name, p.name, f.name, err)
						}
					}
				})
			}
		}
		wg.Wait()
	}
}

func (s *site) overlongAt(p place, v server, stream []byte, isAccepted bool) error {
	var errs []error
	if isAccepted { // whether the server would serve it or not
		for _, f := range families {
			errs = append(errs, s.bot(p, v, f, stream))
		}
		return errors.Join(errs...)
	}
	ok, err := s.serves(p, v, stream)
	if !ok || err != nil {
		return err
	}
	for _, f := range families {
		read, err := s.served(p, v, f, stream)
		if err == nil && read != "none: hello_too_long" {
			err = fmt.Errorf("%s: read of the visitor: %s", f.name, read)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
