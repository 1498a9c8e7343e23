// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"
	"testing"
	"time"

	"github.com/spillway/spillway/userspace/doctor"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0.4s", time.Second: "1s", 9950 * time.Millisecond: "9.9s", 59 * time.Second: "59s",
		time.Minute: "1m", 4*time.Minute + 20*time.Second: "4m 20s", time.Hour: "1h",
		26 * time.Hour: "1d 2h", -time.Minute: "-1m",
		3*time.Hour + 59*time.Minute + 59*time.Second: "3h 59m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{9_999: "9,999", 10_000: "10k", 999_999: "999k", 1_500_000: "1.5M",
		2_000_000_000: "2.0G"} {
		if got := short(n); got != want {
			t.Errorf("short(%d) = %q, want %q", n, got, want)
		}
	}
	// One packet in a million is not none, and all but one is not all.
	for _, c := range []struct {
		part, whole uint64
		want        string
	}{{0, 0, ""}, {0, 10, "0.0%"}, {1, 1_000_000, "<0.1%"}, {999_999, 1_000_000, ">99.9%"},
		{5, 5, "100.0%"}, {1, 3, "33.3%"}} {
		if got := share(c.part, c.whole); got != c.want {
			t.Errorf("share(%d, %d) = %q, want %q", c.part, c.whole, got, c.want)
		}
	}
}

func TestWrapKeepsTo80Columns(t *testing.T) {
	text := strings.Repeat("seven77 ", 40)
	for _, start := range []int{0, 2, 23} {
		lines := strings.Split(wrap(text, start), "\n")
		for i, l := range lines {
			n := len(l)
			if i == 0 {
				n += start
			} else if !strings.HasPrefix(l, strings.Repeat(" ", start)+"s") {
				t.Errorf("line %q is not indented by %d", l, start)
			}
			if n > 80 {
				t.Errorf("line %q ends in column %d", l, n)
			}
		}
		if got := strings.Join(strings.Fields(strings.Join(lines, " ")), " "); got != strings.TrimSpace(text) {
			t.Errorf("words were lost: %q", got)
		}
	}
	if got := wrap(strings.Repeat("x", 200), 5); got != strings.Repeat("x", 200) {
		t.Errorf("a long word was broken: %q", got)
	}
}

// Each finding has a mark, a word and, when it is no good news, its fix.
func TestDoctorScreen(t *testing.T) {
	var b strings.Builder
	Doctor(&b, doctor.Report{Findings: []doctor.Finding{
		{Check: "kernel", Level: doctor.OK, Says: "Linux 6.1"},
		{Check: "host_file", Level: doctor.Warning, Says: "there is none", Fix: "spillway init eth0"},
		{Check: "lro", Interface: "eth0", Level: doctor.Fault, Says: "on", Fix: "ethtool -K eth0 lro off"},
	}}, Style{})
	const want = `✓ ok      kernel       Linux 6.1
! warning host file    there is none
          fix: spillway init eth0

interface eth0
✗ fault   lro          on
          fix: ethtool -K eth0 lro off

1 fault, 1 warning.
`
	if b.String() != want {
		t.Errorf("screen is\n%s\nwant\n%s", b.String(), want)
	}
}
