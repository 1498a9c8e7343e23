// SPDX-License-Identifier: Apache-2.0

package kernels

// suite is a test binary that runs in the guests.
type suite struct {
	name string // the folder of its package, from the module's root
	// args and env make it fit: emulation is slow, and a guest has neither captures nor a web server.
	args []string
	env  []string
	data string // a folder that its tests read, below its own
}

// progrunTests are those in which kernels differ: which socket can confirm what, and what the clock says. Each loads the
// programs again, which takes seconds here; parser and decisions are the oracle's, on few loads.
const progrunTests = "^Test(CandidateCountsOnlyUnderItsLease|EstablishedSocketConfirms|RequestSocketConfirms|" +
	"MultipathSocketConfirms|DualStackSocketConfirms|FastOpenSocketConfirms|ForgedPayloadOnALiveConnection|" +
	"PortReuseHealsForANewVisitor|DataInASYN)$"

// suites is the one place that says what every kernel must pass. What is left out: test/e2e, test/fault and test/attack
// need nginx, nmap, masscan or strace, and test/swap a full rate; they run on the host's kernel.
var suites = []suite{
	{name: instructionSuite},
	{name: "loader"},
	{name: "test/progrun", args: []string{"-test.run", "'" + progrunTests + "'"}},
	{name: "test/oracle", env: []string{"SPILLWAY_ROUND=0", "SPILLWAY_SEED=20261121"}, data: "testdata"},
	{name: "test/kernels/smoke"},
}
