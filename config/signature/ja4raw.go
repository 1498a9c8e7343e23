// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spillway/spillway/config/words"
)

// volatileExtensions come and go with padding, tickets, resumption, early data and a server's cookie; the stable JA4
// leaves them out.
var volatileExtensions = []string{"0015", "0023", "0029", "002a", "002c"}

// RawJA4 is a JA4_r in its parts.
type RawJA4 struct {
	a                               string
	ciphers, extensions, algorithms []string // four hexadecimal digits each
}

// ParseRawJA4 reads a JA4_r, and checks that its first part counts what follows.
func ParseRawJA4(text string) (RawJA4, error) {
	parts := strings.Split(text, "_")
	if len(parts) != 3 && len(parts) != 4 {
		return RawJA4{}, fmt.Errorf("it has %d parts joined by _, not 3 or 4", len(parts))
	}
	r := RawJA4{a: parts[0]}
	if err := checkJA4Hello(r.a); err != nil {
		return r, fmt.Errorf("the first part %w", err)
	}
	for i, into := range []*[]string{&r.ciphers, &r.extensions, &r.algorithms} {
		if i+1 >= len(parts) {
			break
		}
		list, err := parseHexes(parts[i+1], i < 2)
		if err != nil {
			return r, fmt.Errorf("the %s: %w", []string{"ciphers", "extensions", "signature algorithms"}[i], err)
		}
		*into = list
	}
	return r, r.checkCounts()
}

func parseHexes(text string, sorted bool) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	list := strings.Split(text, ",")
	for _, v := range list {
		switch {
		case len(v) != 4 || strings.Trim(v, "0123456789abcdef") != "":
			return nil, fmt.Errorf("%q is not four hexadecimal digits", words.Shorten(v))
		case v[1] == 'a' && v[3] == 'a' && v[0] == v[2]:
			return nil, fmt.Errorf("%s is GREASE, which no JA4 holds", v)
		}
	}
	if sorted && !slices.IsSorted(list) {
		return nil, errors.New("not sorted")
	}
	return list, nil
}

// checkCounts compares with the two numbers of the first part. Extensions are counted with the server name and ALPN,
// but listed without them.
func (r RawJA4) checkCounts() error {
	if got := digits(len(r.ciphers)); got != r.a[4:6] {
		return fmt.Errorf("%s ciphers are counted, and %s are listed", r.a[4:6], got)
	}
	if slices.Contains(r.extensions, "0000") || slices.Contains(r.extensions, "0010") {
		return errors.New("0000 and 0010 are counted, not listed")
	}
	if got := digits(r.extensionCount()); got != r.a[6:8] {
		return fmt.Errorf("%s extensions are counted, and with server name and ALPN there are %s", r.a[6:8], got)
	}
	return nil
}

func (r RawJA4) extensionCount() int {
	n := len(r.extensions)
	if r.a[3] == 'd' {
		n++
	}
	if r.a[8:] != "00" {
		n++
	}
	return n
}

func digits(n int) string { return fmt.Sprintf("%02d", min(n, 99)) }

// JA4 returns the JA4 that the lists make.
func (r RawJA4) JA4() JA4 {
	c := strings.Join(r.extensions, ",")
	if c != "" && len(r.algorithms) > 0 {
		c += "_" + strings.Join(r.algorithms, ",")
	}
	return JA4{A: r.a, B: ja4Hash(strings.Join(r.ciphers, ",")), C: ja4Hash(c)}
}

// Stable returns the stable JA4.
func (r RawJA4) Stable() JA4 {
	r.extensions = slices.DeleteFunc(slices.Clone(r.extensions),
		func(e string) bool { return slices.Contains(volatileExtensions, e) })
	r.a = r.a[:6] + digits(r.extensionCount()) + r.a[8:]
	return r.JA4()
}

// ja4Hash is the first 12 digits of the SHA-256; of nothing, zeros.
func ja4Hash(list string) string {
	if list == "" {
		return noCiphers
	}
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:6])
}
