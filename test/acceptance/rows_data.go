// SPDX-License-Identifier: Apache-2.0

package main

// dataRows are outages that came with the data: too large, damaged, or well-formed and wrong.
var dataRows = []row{
	{
		id: "A01", class: "data grows beyond a limit that a module had reserved, and the module fails",
		guard: "capacity is in the host file; the reader of bundles, the loader and the kernel's maps each refuse, and what is in force stays",
		tests: []tests{
			in("config",
				"TestNovember18 TestCapacityNamesBothNumbers TestFingerprintCapacities TestOtherCapacities "+
					"TestSetIsRefused"),
			in("loader", "TestOverCapacityIsRefusedAndNothingChanges"),
		},
		faults: []fault{
			{"the reader counts no prefixes", "config/prefixlist.go",
				"if f.kept <= f.room && f.cut == 0 {", "if true {", "config", "TestNovember18|TestCapacity"},
			{"the loader counts no rows", "loader/slot.go",
				"n, most := counts[room.Field], c.Room(room.Field); n > most {",
				"n, most := counts[room.Field], c.Room(room.Field); n > most && false {",
				"loader", "TestOverCapacityIsRefused"},
		},
	},
	{
		id: "A02", class: "rows come twice, because a query lost a filter",
		guard: "a duplicate refuses the bundle, and both places are named; of files of third parties up to 1 % are merged, and counted; nothing is thrown out in silence",
		tests: []tests{in("config", "TestBundleFaults TestDuplicateOverTwoFilesNamesBoth TestSameRowInTwoListsIsNoDuplicate TestNovember18")},
		faults: []fault{
			{"no list is looked at for duplicates", "config/prefixlist.go",
				"for i := 1; i < len(rows); i++ {", "for i := len(rows); i < len(rows); i++ {", "config",
				"TestDuplicate|TestNovember18"},
		},
	},
	{
		id: "A03", class: "half of the data is published, and the other half counts as gone",
		guard: "a bundle has a digest over its content; tables are filled aside, read back row by row, frozen, and published by one store",
		tests: []tests{
			in("config", "TestCanonicalRefusesDamage TestCutRowsRefuseTheBundle TestDigestStays"),
			in("loader", "TestPublishedMapsAreFrozen TestTwoCompilationsAgree"),
			in("userspace/state", "TestDamagedBundleIsNotAvailable"),
			in("userspace/api", "TestBundleTravelsWhole TestUploadRefusesWhatIsNoBundle"),
			in("test/system/swap", "TestSwapsUnderFullRateAreNeverMixed"),
		},
		faults: []fault{
			{"a bundle of another digest is taken from disk", "userspace/state/bundle.go",
				"if err == nil && sha256.Sum256(data) != d {", "if false {", "userspace/state", "TestDamagedBundle"},
			{"what is published stays writable", "loader/slot.go",
				"if err := m.Freeze(); err != nil {", "if err := error(nil); err != nil {", "loader", "TestPublishedMapsAreFrozen"},
		},
	},
	{
		id: "A04", class: "a list is suddenly much longer, much shorter, or covers much more",
		guard: "more than guards.max_change of a list, of rules or of a kind, or more than guards.max_coverage of a family, waits for a person with a reason",
		tests: []tests{
			in("config", "TestHolds TestSetHolds TestCoverageHolds"),
			in("userspace/agent", "TestSetRefusals TestRefusalKeepsEverything"),
		},
		faults: []fault{
			{"no growth is too much", "config/hold.go", "if change <= float64(limit) {", "if true {", "config",
				"TestHolds|TestSetHolds"},
			{"no coverage is too much", "config/hold.go", "if share*100 <= float64(limit) {", "if true {", "config",
				"TestCoverageHolds|TestHolds"},
		},
	},
	{
		id: "A05", class: "who writes the data and who reads it disagree on its fields",
		guard: "each layout of types and maps has a number and a committed digest; pinned maps of another shape are refused; indices are masked in the program",
		tests: []tests{
			in("bpf", "TestF2LayoutHasItsNumber TestA05RepeatedConstantsAreThoseOfTheC TestNamesAreThoseOfTheC"),
			in("loader",
				"TestF2MapOfAnotherShapeIsRefused TestA21ForeignABIIsRefused "+
					"TestQuirksAndWindowsHaveTheDataplanesNumbers"),
			in("loader/migrate", "TestFrozenShapes"),
			in("test", "TestNoGoConstantMirrorsTheC TestConstantsOfCHaveNamesInGo"),
		},
		faults: []fault{
			{"a limit of C has another value in Go", "bpf/names.go",
				"RuleChainMax  = 8", "RuleChainMax  = 9", "bpf", "TestA05RepeatedConstants"},
		},
	},
	{
		id: "A06", class: "the tests that let the data through used wildcards only",
		guard: "every kind of rule meets every kind of packet, hit and missed; a corpus notices each rule that is taken out or turned round; a golden client that would be blocked refuses the bundle before it is published",
		tests: []tests{
			in("test/dataplane/matrix", "TestVerdicts"),
			in("test/dataplane/progrun", "TestSignatureFields TestSignatureQuirks"),
			in("test/dataplane/ja4", "TestForms TestWildcardsInAFlood"),
			in("userspace/rollout", "TestTaste"),
			in("userspace/taste", "TestGoldenClients TestTasteShowsGoldenClients"),
		},
		faults: []fault{
			{"a golden client that is blocked is nobody's business", "userspace/taste/second.go",
				"if v.blocked != \"\" {", "if false {", "userspace/taste", "TestGoldenClients|TestTasteShowsGoldenClients"},
		},
	},
	{
		id: "A07", class: "a field is blank, missing, negative or at its maximum, and the reader falls over",
		guard: "the reader is total: each field is required or has a default, and has a range; all faults are told at once, and nothing half-read is used",
		tests: []tests{
			in("config",
				"TestBundleFaults TestHostFaults TestClientFeatureFaults TestSchemasRefuseWhatTheParserRefuses "+
					"TestDeepFilesAreRefused"),
			in("config/yaml", "TestEveryFaultHasItsPlace"),
			in("userspace/state", "TestF9SaveRefusesWhatLoadWould"),
		},
		faults: []fault{
			{"an unknown field is passed over", "config/yaml/decode.go",
				"\td.Fault(CodeUnknownField, at, join(path, key), \"\", problem, words.List(fs.names(), \"or\"))\n", "\t_ = problem\n",
				"config/yaml", "TestEveryFault"},
		},
	},
	{
		id: "A08", class: "a new kind of record appears, is not understood, and old data goes stale in silence",
		guard: "a field of a later release is told by its name and refuses the file; a record of a later schema is left alone; rules have an end, and an alarm tells of a bundle half of whose life is over",
		tests: []tests{
			in("config", "TestBundleFaults TestWarnings"),
			in("userspace/state", "TestALaterSchemaIsLeftAlone TestFieldsOfALaterReleaseSurvive"),
			in("userspace/metrics", "TestAlertRules"),
		},
		faults: []fault{
			{"a rule without an end ends with the others", "userspace/ledger/life.go",
				"IsZero():\n\t\t\treturn time.Time{}", "IsZero():\n\t\t\treturn end", "userspace/ledger", "TestA08Lives"},
		},
	},
	{
		id: "A09", class: "the check itself is wrong, and lets through what it should stop",
		guard: "reader, loader and kernel each refuse what the others let through; a child process tries a bundle before it is published",
		tests: []tests{
			in("loader",
				"TestOverCapacityIsRefusedAndNothingChanges TestF2MapOfAnotherShapeIsRefused "+
					"TestA09AdoptBelievesNothing"),
			in("config", "TestNovember18"),
			in("userspace/rollout", "TestTaste"),
			in("userspace/taste", "TestChildrenThatEndBadly TestAdopt TestGrandchildrenEnd TestTasteBuildsWhatTheAgentAdopts "+
				"TestChildHasNoRightsButToMakeMaps"),
		},
		faults: []fault{
			{"what a child says without end is believed", "userspace/taste/start.go",
				"case c.out.over:", "case false:", "userspace/taste", "TestChildrenThatEndBadly"},
			{"what a child built is not read again", "loader/adoptslot.go",
				"if sum != t.Sums[name] {", "if false {", "loader", "TestA09AdoptBelievesNothing"},
			{"what a child built otherwise than it said is taken", "userspace/taste/result.go",
				"case errors.Is(err, loader.ErrWrongTable):", "case false:", "userspace/taste", "TestAdopt"},
		},
	},
	{
		id: "A10", class: "a rule is so costly that it takes the machine, even where it only watches",
		guard: "a chain has at most eight rules, no loop depends on data, and new shapes, long hellos and what no socket vouches for have budgets",
		tests: []tests{
			in("loader/compile", "TestMoreListsThanAddUpAreRefused TestEveryPlaceIsUsable"),
			in("test/dataplane/ja4",
				"TestLimits TestBudgetOfAPrefix TestA10BudgetOfAProcessor TestBudgetOfLongHellos "+
					"TestForgedHellosSpendNoBudget"),
			in("test/system/kernels", "TestCompareCounts"),
		},
		faults: []fault{
			{"what no socket vouches for has no budget", "bpf/budget.h",
				"return p->flags & PACKET_PROVEN || spend(&ws->budgets[1], second_of(p), settings.unproven_per_second);", "return 1;",
				"test/dataplane/ja4", "TestBudgetOfLongHellos|TestA10BudgetOfAProcessor"},
		},
	},
	{
		id: "A11", class: "one row means everybody: 0.0.0.0/0, a private network, the host itself",
		guard: "prefixes wider than a floor are refused; own rows that lie in what the host protects refuse the bundle, rows of others are left out and told",
		tests: []tests{
			in("config", "TestBundleFaults TestOwnListMayNamePrivateAddresses TestOwnRowsAreNotLeftOut TestCoverageHolds"),
			in("userspace/agent", "TestAllowlistLineWhateverTheBundle"),
		},
		faults: []fault{
			{"a prefix may be of any width", "config/prefixload.go",
				"if prefix.Bits() < f.floor {", "if false {", "config", "TestBundleFaults|TestListFileFaults"},
		},
	},
	{
		id: "A12", class: "a bundle hits somebody who must never be blocked",
		guard: "the allowlist is the host's, in a map that no bundle touches, and is asked last, of whoever would be blocked",
		tests: []tests{
			in("test/dataplane/progrun", "TestProtectedAddedLaterRelaxes TestWhatIsDecided TestDroppedFragments"),
			in("userspace/agent", "TestAllowlistLineWhateverTheBundle TestF15QuarantineIsNotPassedByAnAllowlistLine"),
			in("userspace/rollout", "TestOneProtectedSourceEndsEachStage"),
		},
		faults: []fault{
			{"nobody is protected", "bpf/judge.h",
				"if (class && !(class & CLASS_LEAVES))", "if (0)",
				"test/dataplane/progrun", "TestProtectedAddedLater|TestWhatIsDecided|TestDroppedFragments"},
			{"a protected source that would be blocked is told to nobody", "bpf/compare.h",
				"if (key.class != CLASS_NONE)", "if (0)", "test/dataplane/progrun", "TestProtectedHitIsNamed"},
		},
	},
	{
		id: "A13", class: "no answer counts as the worst answer: a score of 0 meant a bot",
		guard: "what nothing matched has no score and passes; a policy without a threshold blocks nobody; weak reasons alone never block",
		tests: []tests{
			in("test/dataplane/progrun",
				"TestNothingPublishedPasses TestMissingMapPasses TestReasonsAloneNeverBlock TestNewServicePassesUntilABundleKnowsIt TestResetThresholds"),
			in("test/dataplane/ja4", "TestWeakReasonsNeverBlock"),
		},
		faults: []fault{
			{"weak reasons block alone", "bpf/judge.h", "} else if (!t->strong) {", "} else if (0) {",
				"test/dataplane/progrun", "TestReasonsAloneNeverBlock"},
			{"what a rule allows is judged by its score", "bpf/judge.h",
				"t->allowed ? VERDICT_PASS : choose_verdict(", "0 ? VERDICT_PASS : choose_verdict(",
				"test/dataplane/progrun", "TestAllowEndsTheQuestion"},
			{"the host's cap is not looked at", "bpf/behind.h",
				"return is_behind(g, h) ? s->most_before : s->most;", "return MOST_RESET;",
				"test/dataplane/progrun", "Cap"},
		},
	},
}
