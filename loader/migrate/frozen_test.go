// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"testing"
	"unsafe"

	"github.com/spillway/spillway/bpf"
)

// What is frozen does not move with this build's types.
func TestFrozenShapes(t *testing.T) {
	for name, c := range map[string]struct{ got, want uintptr }{
		"words of layout 2":            {unsafe.Sizeof(rootlessWords{}), 8*9 + 8*33},
		"bypass of layout 2":           {WordsBypass, 0},
		"heartbeat of layout 2":        {WordsHeartbeat, 24},
		"words of layout 3":            {unsafe.Sizeof(rootedWords{}), 8*8 + 8*33},
		"flow of layouts 4 to 7":       {unsafe.Sizeof(flow120{}), 120},
		"its sight":                    {unsafe.Offsetof(flow120{}.Sight), 112},
		"key of flows, layouts 2 to 7": {unsafe.Sizeof(flowKey36{}), 36},
		"flow of layouts 2 and 3":      {unsafe.Sizeof(flow112{}), 112},
		"bypass of service, layout 3":  {unsafe.Offsetof(rootedWords{}.ServiceBypass), 56},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
}

func TestFrozenControlWords(t *testing.T) {
	two := rootlessWords{Control: 2 | 1<<2 | 3<<6 | 2<<8}
	if mode, stable, previous, host := two.control(); mode != bpf.Mode(2) || stable != 1 || previous != 3 || host != 2 {
		t.Errorf("layout 2: mode %d, stable %d, previous %d, host %d", mode, stable, previous, host)
	}
	three := rootedWords{Control: 1 | 5<<2 | 9<<6 | 6<<10 | 7<<14 | 77<<32}
	if mode, stable, previous, host := three.control(); mode != bpf.Mode(1) || stable != 5 || previous != 6 || host != 7 {
		t.Errorf("layout 3: mode %d, stable %d, previous %d, host %d", mode, stable, previous, host)
	}
}
