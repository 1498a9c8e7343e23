// SPDX-License-Identifier: Apache-2.0

package taste

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch args := os.Args[2:]; os.Args[1] {
	case fakeChild:
		err = beAFake(args[0], memoryOf(args))
	case realChild:
		err = Run(os.Stdin, os.Stdout, memoryOf(args), slices.Contains(args, goldenFlag))
	case deedsChild:
		tryDeeds(args[0], args[1], args[2] == "filtered")
	case standInChild:
		hang()
	case agentChild:
		var o order
		if err = json.Unmarshal([]byte(args[0]), &o); err == nil {
			var r report
			if r, err = beAnAgent(o); err == nil {
				err = json.NewEncoder(os.Stdout).Encode(r)
			}
		}
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func memoryOf(args []string) uint64 {
	for _, a := range args {
		if n, err := strconv.ParseUint(strings.TrimPrefix(a, memoryFlag+"="), 10, 64); err == nil {
			return n
		}
	}
	return 1 << 30
}

func beAFake(name string, memory uint64) error {
	var r Request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return err
	}
	if err := limit(memory); err != nil {
		return err
	}
	fakes[name](&r)
	return nil
}
