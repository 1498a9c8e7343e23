// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spillway/spillway/config/words"
)

// noCiphers is the second or third part of a JA4 when there is nothing to hash.
const noCiphers = "000000000000"

// JA4 is what a JA4 feature matches: the three parts of a JA4 (FoxIO technical_details/JA4.md), "" for a part that is
// open. At least one part is not.
type JA4 struct{ A, B, C string }

// ParseJA4 reads the match of a JA4 feature. Its errors say what would be valid.
func ParseJA4(s string) (JA4, error) {
	parts := strings.Split(s, "_")
	if len(parts) != 3 {
		return JA4{}, fmt.Errorf("a JA4 has three parts joined by _; this has %d", len(parts))
	}
	for i, check := range []func(string) error{checkJA4Hello, checkJA4Hash, checkJA4Hash} {
		if parts[i] == "*" {
			parts[i] = ""
			continue
		}
		if err := check(parts[i]); err != nil {
			return JA4{}, fmt.Errorf("the %s part %w", []string{"first", "second", "third"}[i], err)
		}
	}
	j := JA4{parts[0], parts[1], parts[2]}
	return j, j.check()
}

// check refuses what matches every ClientHello, or none.
func (j JA4) check() error {
	switch {
	case j == JA4{}:
		return errors.New("all three parts are open, and that matches everything")
	case j.A == "":
		return nil
	case j.B != "" && (j.A[4:6] == "00") != (j.B == noCiphers):
		return fmt.Errorf("00 ciphers and %s go together", noCiphers)
	case j.C != "" && j.A[6:8] == "00" && j.C != noCiphers:
		return fmt.Errorf("00 extensions need %s", noCiphers)
	}
	return nil
}

// checkJA4Hello reads what is clear text: t13d1516h2.
func checkJA4Hello(s string) error {
	if s != "" && (s[0] == 'q' || s[0] == 'd') {
		return fmt.Errorf("begins with %c, and JA4 of %s %w", s[0], map[byte]string{'q': "QUIC", 'd': "DTLS"}[s[0]],
			words.ErrLater)
	}
	switch {
	case len(s) != 10:
		return fmt.Errorf("has %d characters, not 10 as t13d1516h2", len(s))
	case s[0] != 't':
		return errors.New("begins with the protocol, t for TLS over TCP")
	case !slices.Contains([]string{"13", "12", "11", "10", "s3", "s2", "d1", "d2", "d3", "00"}, s[1:3]):
		return fmt.Errorf("has the version %q, which is none of 13, 12, 11, 10, s3, s2, d1, d2, d3 and 00", s[1:3])
	case s[3] != 'd' && s[3] != 'i':
		return fmt.Errorf("has %q where d (a server name) or i (none) stands", s[3:4])
	case strings.Trim(s[4:8], "0123456789") != "":
		return fmt.Errorf("has %q where two digits count the ciphers and two the extensions", s[4:8])
	case !alphanumeric(s[8]) || !alphanumeric(s[9]):
		return fmt.Errorf("ends with %q, which are not two letters or digits of an ALPN", s[8:])
	}
	return nil
}

func checkJA4Hash(s string) error {
	if len(s) != 12 || strings.Trim(s, "0123456789abcdef") != "" {
		return fmt.Errorf("%q is not 12 hexadecimal digits in lower case", words.Shorten(s))
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// String returns the three parts, open ones as *. ParseJA4(j.String()) equals j.
func (j JA4) String() string {
	open := func(part string) string {
		if part == "" {
			return "*"
		}
		return part
	}
	return open(j.A) + "_" + open(j.B) + "_" + open(j.C)
}

// Named returns the JA4 of the same ClientHello with a server name, Unnamed that without one: the host was an address.
// Whether there is a name says what the client was asked for, not who it is: part c leaves it out, part a does not.
// From 99 extensions on a JA4 does not tell how many there are, and stays as it is.
func (j JA4) Named() JA4 { return j.rename('i', 'd', 1) }

// Unnamed is the opposite of Named.
func (j JA4) Unnamed() JA4 { return j.rename('d', 'i', -1) }

// rename changes the letter of the server name, and the number of extensions by what it adds.
func (j JA4) rename(from, to byte, adds int) JA4 {
	if j.A == "" || j.A[3] != from {
		return j
	}
	count, err := strconv.Atoi(j.A[6:8])
	if err != nil || count == 99 || count+adds < 0 {
		return j
	}
	j.A = fmt.Sprintf("%s%c%s%02d%s", j.A[:3], to, j.A[4:6], count+adds, j.A[8:])
	return j
}

// Wider returns the matches that cover all that j matches, j first, in the order in which the dataplane prefers them.
func (j JA4) Wider() []JA4 {
	out := []JA4{}
	for _, w := range []JA4{j, {j.A, j.B, ""}, {j.A, "", j.C}, {"", j.B, j.C}, {j.A, "", ""}, {"", j.B, ""},
		{"", "", j.C}} {
		if w != (JA4{}) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}
