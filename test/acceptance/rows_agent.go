// SPDX-License-Identifier: Apache-2.0

package main

// agentRows are outages of time, trust, and of those who look.
var agentRows = []row{
	{
		id: "A41", class: "something expires, or a clock jumps, and what was right yesterday blocks today",
		guard: "leases and ends of rules are on the monotonic clock; an expired rule no longer counts; deadlines of the record move with the wall clock",
		tests: []tests{
			in("test/dataplane/progrun",
				"TestRulesExpire TestABlockEndsWithItsRule TestF7LapsedLeaseTripsItsGeneration TestBansEnd"),
			in("userspace/agent",
				"TestA41DeadlinesMoveWithTheWallClock TestExpiriesAreRenewed "+
					"TestClockDoesNotMatterWithoutExpiries"),
			in("userspace/plane", "TestF7LapsedLeaseStaysLapsed TestF7DeadlineIsNoLapse"),
			in("loader/compile", "TestClockConversions"),
		},
		faults: []fault{
			{"a rule has no end", "bpf/features.h",
				"if (p->now_ns < rule->expires_ns)", "if (1)", "test/dataplane/progrun", "TestRulesExpire"},
			{"a lease has no end", "bpf/authority.h",
				"return p->now_ns < rt->lease_ns && rt->ended != generation", "return rt->ended != generation",
				"test/dataplane/progrun", "TestCandidateCountsOnlyUnderItsLease|TestF7Lapsed"},
		},
	},
	{
		id: "A42", class: "old data is played again, or numbers run away, or a key is lost",
		guard: "numbers of generations only grow, and none is used twice; a bundle that was rolled back needs a reason",
		tests: []tests{
			in("userspace/release", "TestSimulation"),
			in("userspace/agent", "TestSetQuarantine TestA46RebootComesBackWithLastKnownGood"),
		},
		open: "bundles are not signed yet, so there are no keys and no epochs",
	},
	{
		id: "A43", class: "the distribution forgets what it had acknowledged", fleet: true,
		guard: "there is no hub: a bundle is named by the digest of its content, and applying it again changes nothing",
		tests: []tests{
			in("config", "TestDigestStays TestCanonicalComesBack"),
			in("userspace/state", "TestA40DiskFullAtEveryOperation"),
		},
	},
	{
		id: "A44", class: "a new kernel is under the program, everywhere at once",
		guard: "suites run on Debian's 6.1 and 6.12 and on this host's kernel; what a kernel lacks is named, and then nothing is attached",
		tests: []tests{
			in("test/system/kernels", "TestKernels TestCompareCounts"),
			in("test/system/fault", "TestA44WhatIsMissingIsNamed TestLockedDownKernel"),
			in("loader/kernel", "TestExplainNamesTheCause TestVerifierLogIsNotTheMessage"),
			in("userspace/agent", "TestKernelThatCannotBeOpened"),
		},
		faults: []fault{
			{"a refusal for lack of rights is told like any other", "loader/kernel/explain.go",
				"\tcase denied:\n", "\tcase false:\n", "loader/kernel", "TestExplain"},
		},
	},
	{
		id: "A45", class: "those who look go blind together with what they look at",
		guard: "status reads the kernel itself, with an agent and without; what cannot be read is said to be unknown; looks have a socket and a budget of their own",
		tests: []tests{
			in("userspace/view", "TestF5OneMeaning TestReadKeepsWhatItCannotRead"),
			in("userspace/api", "TestLooksThroughTheReadSocket TestF18FullBacklog"),
			in("userspace/metrics", "TestWithoutKernel TestSnapshotIsFresh"),
			in("userspace/agent", "TestA45StatusOfWhatCanBeRead TestStateFolderThatCannotBeUsed"),
			in("cmd/spillway", "TestF18NoCommandHangs TestF17TrueWords"),
		},
		faults: []fault{
			{"what cannot be read is passed over", "userspace/view/reading.go",
				"\t\tif err != nil {\n\t\t\tr.Unread[p] = err\n\t\t}\n", "\t\t_, _ = p, err\n", "userspace/view",
				"TestF5OneMeaning|TestRead"},
		},
	},
	{
		id: "A46", class: "a reboot takes everything out of the kernel",
		guard: "the host serves meanwhile; the agent brings the last-known-good set back from disk, with bans, bypasses and mode",
		tests: []tests{
			in("userspace/agent",
				"TestA46RebootComesBackWithLastKnownGood TestSetIsLastKnownGood "+
					"TestObservingHostComesBackWithTheApplied TestF19ObserveOutlivesAReboot "+
					"TestQueueOutlivesTheAgent"),
			in("userspace/bypass", "TestBypassSurvivesAReboot"),
			in("userspace/bans", "TestBansComeBackAfterAReboot TestAdoptionOfBansWritesNothing"),
			in("test/system/fault", "TestDamagedStateAfterReboot TestReadOnlyStateAfterReboot"),
		},
		faults: []fault{
			{"a ban is not written down", "userspace/bans/ban.go",
				"s.write([]state.Ban{{Prefix: p, Expires: expires, Made: e.At.UTC(), By: e.User, Reason: e.Reason}}, nil))",
				"error(nil))\n\t_ = state.Ban{Prefix: p}", "userspace/bans", "TestBansComeBack|TestBan"},
		},
	},
	{
		id: "A47", class: "data for another site, another ring or another schema is taken",
		guard: "a bundle names the services that it is for, and one that this host has not is told; a later version of the file is refused",
		tests: []tests{
			in("config", "TestBundleFaults TestJA4NeedsATLSService TestWarnings"),
		},
		open: "a bundle has no audience yet",
	},
	{
		id: "A48", class: "a change, or taking it back, breaks connections that were under way",
		guard: "a connection has one verdict; a swap only relaxes it, and new blocks begin at a SYN or a first payload",
		tests: []tests{
			in("test/dataplane/progrun", "TestA48EstablishedConnectionsAreNotNewlyBlocked TestEpochOnlyRelaxes TestAnEvictedFlowIsNotCutByASwap "+
				"TestSwapDoesNotCutAClientThatOnlyListens TestNewBlocksBeginAtASYNOrAFirstPayload TestRaisingTheModeCutsNobody TestConntrackSwapCutsNobody"),
			in("test/system/upgrade", "TestA34UpgradeInMidHello"),
			in("test/dataplane/ja4", "TestRollbackHeals"),
		},
		faults: []fault{
			{"what is under way is judged like what begins", "bpf/flow.h",
				"if (p->outcome == OUTCOME_PASS || p->reason == REASON_BAN)\n\t\treturn;\n\tp->flags &= ~PACKET_EVENT;",
				"if (1)\n\t\treturn;\n\tp->flags &= ~PACKET_EVENT;",
				"test/dataplane/progrun", "TestSwapDoesNotCut|TestNewBlocksBegin|TestAnEvictedFlow"},
		},
	},
}

// sample are the rows whose first fault is planted in each run of the tests.
var sample = []string{"A04", "A16"}
