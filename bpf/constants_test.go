// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every constant of an enum has a name that Go files use, and they use no other.
func TestConstantsHaveNames(t *testing.T) {
	generated, err := os.ReadFile("dataplane_bpfel.go")
	if err != nil {
		t.Fatal(err)
	}
	ours := ""
	for _, name := range []string{"constants.go", "names.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ours += string(text)
	}
	sentinel := map[string]bool{"DataplaneJa4FormJA4FORMS": true, "DataplaneCounterSlotCOUNTER_LEFT": true,
		"DataplaneCounterSlotCOUNTER_ALONE": true, "DataplaneCounterSlotCOUNTER_SLOTS": true}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^\t(Dataplane\w+)\s+Dataplane\w+ = \d+$`).
		FindAllStringSubmatch(string(generated), -1) {
		seen++
		if !sentinel[m[1]] && !regexp.MustCompile(`\b`+m[1]+`\b`).MatchString(ours) {
			t.Errorf("%s has no name in constants.go", m[1])
		}
	}
	if seen < 100 {
		t.Errorf("%d constants found: the generated file looks otherwise now", seen)
	}
	const mirrored = `bpf\.Dataplane[A-Z][A-Za-z0-9]*(_|OUTCOMES)`
	out, err := exec.Command("git", "-C", "..", "grep", "-lE", mirrored, "--", "cmd/*.go", "config/*.go",
		"loader/*.go").Output()
	if err == nil && len(out) > 0 {
		t.Errorf("these files name constants as the generated file does: %s", out)
	}
}

// What names.go repeats of the headers, which have no enum for it, has their values.
func TestA05RepeatedConstantsAreThoseOfTheC(t *testing.T) {
	headers := ""
	names, err := filepath.Glob("*.h")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		headers += string(text)
	}
	for name, want := range map[string]uint64{
		"ABI_VERSION": ABIVersion, "SERVICES_MAX": ServicesMax,
		"FIRST_BYTES": FirstBytes, "SLOTS": Slots, "HELLO_WAYS": HelloWays,
		"RULE_CHAIN_MAX":  RuleChainMax,
		"TCP_OPTIONS_MAX": TCPOptionsMax, "TCP_SIGNATURES_MAX": SignaturesMax, "SCORE_NONE": ScoreNone,
		"ROOT_MAGIC": RootMagic,
		"SLOT_EMPTY": SlotEmpty, "PROGRAM_DATAPLANE": ProgramDataplane, "PROGRAM_PAYLOAD": ProgramPayload,
		"PROGRAM_CONNTRACK": ProgramConntrack, "PROGRAM_PAIR": ProgramPair, "CONNTRACK_NEXT_MAX": ConntrackNextMax,
		"HOPS_MAX": HopsMax, "MULTIPLE_MSS_MIN": MultipleMSSMin, "TIMESTAMP_BYTES": TimestampBytes,
		"ETHERNET_MTU": EthernetMTU,
		"LANE_MAIN":    LaneMain, "LANE_FAST": LaneFast, "LANES": Lanes, "VOTE_WAYS": VoteWays, "VOTE_SETS": VoteSets,
		"BUDGET_LEAST": BudgetLeast, "BUDGET_SHARE": BudgetShare, "PARTS_MAX": PartsMax,
		"CANARY_ALL": CanaryAll, "LANE_NEW_SLOT": LaneNewSlot, "LANE_RUN": LaneRun, "LANE_ALLOWED": LaneAllowed,
		"WAY_RUN": WayRun, "WAY_DAY": WayDay, "WAY_DAYS": WayDays,
		"LIMIT_WAYS": LimitWays, "LIMIT_SETS": LimitSets, "SHARER_SETS": SharerSets, "LIMIT_UNIT": LimitUnit,
		"PREFIX_KEY4": PrefixKey4, "PREFIX_KEY6": PrefixKey6, "PREFIX_STEPS6": PrefixSteps6,
		"PREFIX_PAGE": PrefixPageWords, "PREFIX_SPLIT": PrefixSplit,
	} {
		m := regexp.MustCompile(`\b` + name + `(?: =)? (0x[0-9a-f]+|[0-9]+)`).FindStringSubmatch(headers)
		if m == nil {
			t.Errorf("no header has a value of %s", name)
			continue
		}
		if got, err := strconv.ParseUint(strings.TrimSuffix(m[1], "ULL"), 0, 64); err != nil || got != want {
			t.Errorf("%s is %s in C and %d in Go", name, m[1], want)
		}
	}
	if CounterLeft != int(DataplaneCounterSlotCOUNTER_LEFT) || CounterAlone != int(DataplaneCounterSlotCOUNTER_ALONE) ||
		CounterSlots != int(DataplaneCounterSlotCOUNTER_SLOTS) {
		t.Error("the places of the counters beside the slots are others in C")
	}
}

// The order of the forms of JA4 features is the program's.
func TestJA4FormsAreThoseOfTheC(t *testing.T) {
	file, err := elf.NewFile(bytes.NewReader(_DataplaneBytes))
	if err != nil {
		t.Fatal(err)
	}
	all, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s elf.Symbol) bool { return s.Name == "ja4_forms" })
	if i < 0 {
		t.Fatal("the object has no ja4_forms")
	}
	data, err := file.Sections[all[i].Section].Data()
	if err != nil {
		t.Fatal(err)
	}
	var got []DataplaneJa4Form
	for _, form := range data[all[i].Value : all[i].Value+all[i].Size] {
		got = append(got, DataplaneJa4Form(form))
	}
	if !slices.Equal(got, JA4Forms) {
		t.Errorf("they are %v in C and %v in Go", got, JA4Forms)
	}
}
