// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"slices"
	"strings"
)

// suite is a test binary that runs in the guests.
type suite struct {
	name string // the folder of its package, from the module's root
	// tests are those that run in a guest, "Name" or "Name/Subtest"; none is all. Each has to exist.
	tests []string
	more  []string // that make kernels runs, too
	// isLong leaves the whole suite to make kernels.
	isLong bool
	// env makes it fit: emulation is slow, and a guest has neither captures nor a web server.
	env  []string
	data string // a folder that its tests read, below its own
	// lockdown runs it, and what follows it, in a guest that is locked down for confidentiality: Linux goes no further.
	lockdown bool
}

// suites is the one place that says what every kernel must pass: where kernels differ in pins, links, frozen maps, what
// an outer map drops when, what goes with the last reference, which socket can confirm what, and what the clock says.
// Each load of the programs takes ten seconds of an emulated processor. What is left out: test/system/e2e,
// test/system/fault and test/system/attack need nginx, nmap or masscan, and test/system/swap a full rate; they run on
// the host's kernel.
var suites = []suite{
	{name: instructionSuite},
	{
		name:  "loader",
		tests: []string{"OpenAdoptsWhatIsPinned", "DetachLeavesNothing", "F2UpgradeIsOneStore"},
		more: []string{
			"A35DeviceThatComesBackIsAttachedAgain", "A39MemoryPlanHolds",
			"EmptyProgArrayPassesAndIsRefilled", "RollbackIsOneStep", "CountersOverARollback", "Vouched",
			"F1SlotsAreReadByTheirPins", "ConntrackByPins",
		},
	},
	{name: "loader/probe", tests: []string{"ProbeTellsOfEveryPort"}, isLong: true},
	{
		name:  "test/dataplane/progrun",
		tests: []string{"EstablishedSocketConfirms", "RequestSocketConfirms", "ConntrackConfirms/IPv4"},
		more: []string{
			"MultipathSocketConfirms/IPv6", "FastOpenSocketConfirms/IPv6",
			"ForgedPayloadOnALiveConnection/IPv4", "DataInASYN/IPv4",
			"ResetOfRequestSocket",
		},
	},
	{name: "test/dataplane/oracle", env: []string{"SPILLWAY_ROUND=0", "SPILLWAY_SEED=20261121"},
		data: "testdata", isLong: true},
	{
		name: "test/dataplane/ja4", env: []string{"SPILLWAY_HELLOS=1000"},
		tests: []string{"TheKernelIsTheJudge/IPv4"},
		more:  []string{"TheKernelIsTheJudge/IPv6", "KernelAndReferenceAgree", "FakesBlockNobody"},
	},
	{name: "test/system/kernels/smoke", lockdown: true},
}

// long is the suite with all that it has, for make kernels.
func (s suite) long() suite {
	s.tests, s.more = slices.Concat(s.tests, s.more), nil
	return s
}

// pattern is what -test.run gets.
func (s suite) pattern() string {
	if len(s.tests) == 0 {
		return "."
	}
	var all []string
	for _, test := range s.tests {
		name, under, found := strings.Cut(test, "/")
		p := "^Test" + name + "$"
		if found {
			p += "/^" + under + "$"
		}
		all = append(all, p)
	}
	return strings.Join(all, "|")
}

// missing returns those of the suite's tests that its binary, which lists names like "TestName", does not have.
func (s suite) missing(listed []string) (out []string) {
	for _, test := range s.long().tests {
		name, _, _ := strings.Cut(test, "/")
		if !slices.Contains(listed, "Test"+name) {
			out = append(out, "Test"+name)
		}
	}
	return out
}
