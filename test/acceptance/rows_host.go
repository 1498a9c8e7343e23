// SPDX-License-Identifier: Apache-2.0

package main

// hostRows are outages of the one host: processes that die, kernels that refuse, disks that fill.
var hostRows = []row{
	{
		id: "A32", class: "the agent crashes, is killed, or runs out of memory",
		guard: "link, programs, maps and slots are pinned: what enforces goes on, and the next start adopts it without touching traffic",
		tests: []tests{
			in("test/system/fault", "TestBPFCallsOfStarts TestBPFCallsOfChanges TestBPFCallsOfQueue TestBPFCallsWithoutAgent "+
				"TestA32KilledTenTimesASecond TestStartsRecoverByThemselves TestFaultsOfARollout TestRolloutAfterAReboot"),
			in("loader", "TestOpenAdoptsWhatIsPinned TestAttachIsPinnedAndAdopted"),
			in("userspace/agent", "TestKernelKillAndAdopt TestKernelCandidateFallsBackWhenTheAgentDies"),
		},
		faults: []fault{
			{"who closes its handle takes the links along", "loader/open.go",
				"func (d *Dataplane) Close() error {\n\tvar errs []error\n",
				"func (d *Dataplane) Close() error {\n\tvar errs []error\n\tif d.pins.Path != \"\" {\n\t\terrs = append(errs, DetachPins(d.pins.Path))\n\t}\n",
				"loader", "TestOpenAdopts|TestAttachIsPinned"},
		},
	},
	{
		id: "A33", class: "a bad bundle crashes whoever reads it, at every start",
		guard: "starts that do not settle are counted on disk before anything is attached; the third condemns the bundle, then the one before, then nothing is loaded; an upgrade builds nothing of it",
		tests: []tests{
			in("userspace/rollout", "TestThirdCrash"),
			in("userspace/agent", "TestF11WorkThatKilledIsLeft TestF11RebuildThatKills TestStartsThatSettleAreNoDeaths "+
				"TestDeathsOfTheAgentAloneDoNotCountWhereChangesAreDirect TestStartThatCannotBeCounted"),
			in("userspace/ledger", "TestAttempt"),
		},
		faults: []fault{
			{"crashes are not counted", "userspace/rollout/boot.go",
				"if b.Starts++; b.Starts <= crashesMost {", "if b.Starts <= crashesMost {", "userspace/rollout", "TestThirdCrash"},
			{"what is condemned is told and not left", "userspace/agent/boot.go",
				"if err := a.release.LeaveCondemned(d, *leaves); err != nil {", "if err := error(nil); err != nil {",
				"userspace/agent", "TestA33Agent|TestA33Machine"},
			{"what is tried is taken for what is in force", "userspace/agent/boot.go",
				"if tries {\n\t\tcurrent, previous = trial", "if false {\n\t\tcurrent, previous = trial",
				"userspace/agent", "TestA33AgentThatDiesOfWhatItTries|TestA33MachineThatDiesOfWhatItTries"},
			{"an agent that is killed condemns where changes are direct", "userspace/agent/boot.go",
				"if again && a.opts.Host.Guards.Rollout != config.RolloutStaged {", "if false {", "userspace/agent",
				"TestDeathsOfTheAgentAlone"},
			{"an upgrade builds what is condemned", "userspace/agent/open.go",
				"a.release.TakeOver(d, a.boot.leaves.Load())", "a.release.TakeOver(d, nil)", "userspace/agent", "TestA33Upgrade"},
		},
	},
	{
		id: "A34", class: "a start or an upgrade leaves a moment without protection, or breaks connections",
		guard: "pinned objects are adopted; code is changed as a pair by one store behind the root program; no start or stop detaches",
		tests: []tests{
			in("loader", "TestF2StartsLoseNoPacket TestF2ProgramsChangeAsAPair TestF2UpgradeCutShort TestOpenAdoptsWhatIsPinned"),
			in("test/system/upgrade", "TestF2UpgradeUnderTraffic TestF2UpgradeKilledAtEveryCall TestA34UpgradeInMidHello"),
			in("test/system/swap", "TestSwapsUnderFullRateAreNeverMixed"),
		},
		faults: []fault{
			{"the two programs change one after the other", "loader/pair.go",
				"if err := ps.pair.fill(); err != nil {\n\t\treturn err\n\t}\n\tif err := pinPair", "defer func() { _ = ps.pair.fill() }()\n\tif err := pinPair",
				"loader", "TestF2StartsLoseNoPacket|TestF2Programs"},
		},
	},
	{
		id: "A35", class: "another daemon removes the program, or the device goes and comes back",
		guard: "a pinned link cannot be replaced by others; a foreign program is left alone and named; a look each second attaches again, three times in ten minutes at most",
		tests: []tests{
			in("loader",
				"TestForeignProgramIsLeftAlone TestA35DeviceThatComesBackIsAttachedAgain "+
					"TestF20RenamedDeviceKeepsItsLink TestEgressFilterLeavesOthersAlone"),
			in("userspace/agent",
				"TestKernelDeviceThatComesBack TestF4FlappingInterfaceWaits TestEmptiedProgramArrayIsFilled "+
					"TestKernelPinsThatWereRemoved"),
		},
		faults: []fault{
			{"a severed link stays in the way", "loader/attach.go",
				"if a.Pin == pin || a.State == StateSevered && a.Names(name) {", "if false {", "loader", "TestA35DeviceThatComesBack"},
		},
	},
	{
		id: "A36", class: "an upgrade of the program resets the card",
		guard: "the root program is attached once and its bytes never change; new code goes behind it, and the link is not touched",
		tests: []tests{
			in("bpf", "TestF2RootIsForEver"),
			in("loader", "TestF2UpgradeIsOneStore TestRootThatReadsOtherMapsIsReplaced TestA36PinnedRoot"),
			in("test/system/upgrade", "TestF2UpgradeUnderTraffic"),
		},
		faults: []fault{
			{"the root program becomes another one", "bpf/root.c",
				"if (!words || is_bypassed(words->bypass_until_ns))", "if (is_bypassed(words ? words->bypass_until_ns : 1))",
				"bpf", "TestF2RootIsForEver"},
		},
	},
	{
		id: "A37", class: "an error, an unknown code or a missing table ends in a drop",
		guard: "one exit for all packets, which knows drop by name and passes everything else; what cannot be read is judged by its addresses alone",
		tests: []tests{
			in("test/dataplane/progrun",
				"TestMissingMapPasses TestA37EveryTruncatedLength TestObserveCountsWhatItWouldDrop "+
					"TestNothingPublishedPasses"),
			in("test/dataplane/matrix", "TestVerdicts TestHeadersInTheSecondBuffer"),
			in("test/dataplane/oracle", "TestA22ProgramAndModelAgree"),
		},
		faults: []fault{
			{"what is no pass is a drop", "bpf/xdp.c",
				"if (outcome != OUTCOME_DROP)\n\t\treturn XDP_PASS;", "if (outcome == OUTCOME_PASS)\n\t\treturn XDP_PASS;",
				"test/dataplane/progrun", "TestObserveCounts"},
		},
	},
	{
		id: "A38", class: "what should explain the trouble adds to it",
		guard: "events have a budget of each second and processor, and are lost in the open; streams, looks and histories are bounded",
		tests: []tests{
			in("userspace/events", "TestA38SlowReadersLoseEventsAndSeeIt"),
			in("userspace/api",
				"TestStreamsAreBounded TestConnectionsAreCountedByRole TestHeavyRequestsAreBounded "+
					"TestReaderWhoTakesNothing"),
			in("userspace/metrics", "TestF14FiftyScrapersAtOnce TestRuleTotalsAreBounded"),
			in("userspace/state", "TestHistoryTurnsOver TestLongDetailsAreBounded"),
		},
		faults: []fault{
			{"a stranger may ask for as many streams as he likes", "userspace/api/role.go",
				"func (s slots) take() bool {\n", "func (s slots) take() bool {\n\tif true {\n\t\treturn true\n\t}\n",
				"userspace/api", "TestStreamsAreBounded|TestConnectionsAreCounted|TestHeavyRequests"},
		},
	},
	{
		id: "A39", class: "there is memory for one copy, and a swap needs two",
		guard: "memory is planned before it is taken; an error on the way leaves what is in force; work that killed an agent is not begun again by itself",
		tests: []tests{
			in("loader", "TestA39MemoryPlanHolds"),
			in("userspace/agent",
				"TestKernelF11LittleMemory TestF11WorkThatKilledIsLeft TestF8PeakOfUploads "+
					"TestF20LoweredCapacityIsToldBeforeTheReboot"),
			in("test/system/fault", "TestBPFCallsOfChanges"),
		},
		faults: []fault{
			{"what killed is begun again", "userspace/ledger/attempt.go",
				"times >= crashes {", "times >= crashes+100 {", "userspace/ledger", "TestAttempt"},
		},
	},
	{
		id: "A40", class: "the disk is full, a file is torn, or a bit has turned",
		guard: "files are written aside, synced and renamed, and carry a checksum; what is damaged is set aside and told, and what enforces goes on",
		tests: []tests{
			in("userspace/state",
				"TestA40DiskFullAtEveryOperation TestDamageOfEachFileIsSetAside TestTornAndChangedBans "+
					"TestTornAndChangedLinesAreSkipped"),
			in("test/system/fault",
				"TestDiskCallsOfStarts TestDiskCallsOfChanges TestDiskCallsOfQueue TestDamagedState "+
					"TestDamagedStateAfterReboot"),
			in("userspace/agent", "TestDiskFullDuringApply TestF10StartWithARecordThatCannotBeRead"),
		},
		faults: []fault{
			{"no checksum is compared", "userspace/state/seal.go",
				"if s.Checksum != checksum(s.Content) {", "if false {", "userspace/state", "TestDamage"},
		},
	},
}
