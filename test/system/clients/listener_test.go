// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// volatile extensions come and go with resumption, padding and tickets.
var volatile = []uint16{0x0015, 0x0023, 0x0029, 0x002a, 0x002c}

// heardByListener lets crypto/tls read the recorded bytes, as a listener of the standard library would have.
func heardByListener(first []byte) (fingerprint, error) {
	info, err := helloInfo(first)
	if err != nil {
		return fingerprint{}, err
	}
	raw, ja4 := ja4Of(info, info.Extensions)
	_, stable := ja4Of(info, without(info.Extensions, func(e uint16) bool { return slices.Contains(volatile, e) }))
	return fingerprint{ja4: ja4, raw: raw, stable: stable}, nil
}

var errSeen = errors.New("seen enough")

func helloInfo(first []byte) (info *tls.ClientHelloInfo, err error) {
	conf := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		info = h
		return nil, errSeen
	}}
	if err := tls.Server(&replay{Reader: bytes.NewReader(first)}, conf).
		HandshakeContext(context.Background()); !errors.Is(err, errSeen) {
		return nil, fmt.Errorf("read ClientHello: %w", err)
	}
	return info, nil
}

// ja4Of puts the parts together as the specification of JA4 says, from lists that the standard library has parsed.
func ja4Of(info *tls.ClientHelloInfo, extensions []uint16) (raw, ja4 string) {
	ciphers := without(info.CipherSuites, isGREASE)
	extensions = without(extensions, isGREASE)
	var schemes []uint16
	for _, s := range info.SignatureSchemes {
		schemes = append(schemes, uint16(s))
	}
	sni := "i"
	if slices.Contains(extensions, 0) {
		sni = "d"
	}
	a := fmt.Sprintf("t%s%s%02d%02d%s", versionOf(info), sni, min(len(ciphers), 99),
		min(len(extensions), 99), alpnOf(info))
	extensions = without(extensions, func(e uint16) bool { return e == 0x0000 || e == 0x0010 })
	b, c := hexes(sorted(ciphers)), hexes(sorted(extensions))
	if schemes = without(schemes, isGREASE); len(schemes) > 0 && c != "" {
		c += "_" + hexes(schemes)
	}
	return a + "_" + b + "_" + c, a + "_" + short(b) + "_" + short(c)
}

func versionOf(info *tls.ClientHelloInfo) string {
	names := map[uint16]string{tls.VersionTLS13: "13", tls.VersionTLS12: "12", tls.VersionTLS11: "11",
		tls.VersionTLS10: "10"}
	return names[slices.Max(without(info.SupportedVersions, isGREASE))]
}

func alpnOf(info *tls.ClientHelloInfo) string {
	if len(info.SupportedProtos) == 0 {
		return "00"
	}
	p := info.SupportedProtos[0] // real clients offer names of letters and digits
	return p[:1] + p[len(p)-1:]
}

func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

func without(list []uint16, drop func(uint16) bool) []uint16 {
	return slices.DeleteFunc(slices.Clone(list), drop)
}

func sorted(list []uint16) []uint16 { slices.Sort(list); return list }

func hexes(list []uint16) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprintf("%04x", v)
	}
	return strings.Join(words, ",")
}

func short(list string) string {
	if list == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:6])
}

// replay is a connection that has said all it will say.
type replay struct{ io.Reader }

func (*replay) Write(b []byte) (int, error)      { return len(b), nil }
func (*replay) Close() error                     { return nil }
func (*replay) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*replay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*replay) SetDeadline(time.Time) error      { return nil }
func (*replay) SetReadDeadline(time.Time) error  { return nil }
func (*replay) SetWriteDeadline(time.Time) error { return nil }
