// SPDX-License-Identifier: Apache-2.0

package main

// changeRows are outages that came with the way in which a change was made, judged, and taken back.
var changeRows = []row{
	{
		id: "A14", class: "a change is well-formed and blocks everybody",
		guard: "a canary is compared with the others by a test that may be looked at after each source; a budget in the kernel ends it at once",
		tests: []tests{
			in("userspace/rollout", "TestA14BlocksEverythingCostsFewFlows TestTripTakesBack TestOneRealBrowserIsNamed"),
			in("userspace/stages", "TestUndeclaredBlocksAreHeldWithBlame TestProtectedSourceIsRefusedInShadow"),
			in("test/dataplane/progrun", "TestCandidateCountsOnlyUnderItsLease TestCanaryShareIsSticky "+
				"TestWhatIsBehindDecidesAsBefore TestPairsOfAHostFile"),
			in("loader/compile", "TestHostFileSinceAnother"),
			in("config", "TestMeetOfHostFiles"),
		},
		faults: []fault{
			{"a host file counts at once", "bpf/behind.h",
				"return g->host != h->number;", "return 0;", "test/dataplane/progrun", "TestWhatIsBehind"},
			{"all that is newly blocked counts as declared", "userspace/rollout/counts.go",
				"if intent.names(b.Label) {", "if true {", "userspace/rollout", "TestOneRealBrowser"},
		},
	},
	{
		id: "A15", class: "somebody reaches all hosts at once, past the stages", fleet: true,
		guard: "there is no way to reach more than one host: each takes a change by its own socket, and judges it itself",
		tests: []tests{
			in("userspace/rollout", "TestEmergency TestPeople"),
			in("loader/compile", "TestF15CanaryIsTheSameOnAllHosts"),
		},
	},
	{
		id: "A16", class: "the kill switch fails in a state that nobody had tried",
		guard: "it is the first thing that a packet meets, one word of the root program, which every build can switch",
		tests: []tests{
			in("test/dataplane/progrun", "TestBypass TestServiceBypass TestBypassSuspendsABlock"),
			in("cmd/spillway", "TestBypassWorksWhateverIsBroken TestBypassWithoutAgent TestBypassIsKnownToReachTheCard"),
			in("loader/root", "TestSwitchGetsWhatTheRootGets TestSwitchWithoutARoot"),
			in("userspace/bypass", "TestSet TestAdopt TestBypassSurvivesAReboot"),
		},
		faults: []fault{
			{"the switch is not thrown", "loader/root/switch.go",
				"atomic.StoreUint64(w, uint64(until))", "_ = w", "loader/root", "TestSwitch"},
			{"a service has no switch", "bpf/xdp.c",
				"if (is_bypassed(rt->service_bypass_until_ns[service]))", "if (0)", "test/dataplane/progrun",
				"TestServiceBypass|TestA16"},
		},
	},
	{
		id: "A17", class: "the emergency way skips the guards, or takes more than it should",
		guard: "one writer: only loader touches an interface; each door of the API has a role; what an emergency shortens is time, never a gate",
		tests: []tests{
			in("test", "TestA17ImportsRunOneWay TestWrongImportsAreFound TestEdgeImportsNoScanner"),
			in("userspace/api", "TestReadSocketChangesNothing TestOnlyRootAndGroupMayChange TestRoleIsNobodysClaim"),
			in("userspace/rollout", "TestEmergency TestFastTrackHasBounds"),
			in("test/system/fault", "TestRolloutBesideOthers"),
		},
		faults: []fault{
			{"every socket may do everything", "userspace/api/role.go",
				"return r == RoleOperate || r == needs", "return true", "userspace/api", "TestReadSocketChangesNothing|TestRole"},
		},
	},
	{
		id: "A18", class: "good and bad data alternate, and nobody can tell which is in force",
		guard: "what was rolled back is in quarantine by its digest and comes back only with a reason; two that were taken back within an hour freeze automation",
		tests: []tests{
			in("userspace/rollout", "TestTwoTakenBackFreeze"),
			in("userspace/agent", "TestSetQuarantine TestF15QuarantineIsNotPassedByAnAllowlistLine"),
			in("userspace/state", "TestQuarantineOfASet TestQuarantineOfANamelessBundle"),
		},
		faults: []fault{
			{"nobody asks the quarantine", "userspace/release/guard.go",
				"if q.Holds(name, digest) && gu.ledger.Now()", "if false && gu.ledger.Now()", "userspace/agent",
				"TestSetQuarantine|TestF15Quarantine"},
		},
	},
	{
		id: "A19", class: "the fault fires minutes after every gate was passed",
		guard: "a bundle becomes last-known-good only after guards.bake of deciding, in one piece, with the agent awake and traffic on the interface",
		tests: []tests{
			in("userspace/agent", "TestApplyBakesIntoLastKnownGood TestRollbackBeforeBakeKeepsLastKnownGood "+
				"TestRollbackAfterBakeMovesLastKnownGood TestA19NoBakeWithoutDeciding TestF14BakeWaitsForAStoppedAgent"),
			in("userspace/rollout", "TestBakeWithoutTrafficProvesNothing TestOneGenerationBakes"),
		},
		faults: []fault{
			{"nothing has to bake", "userspace/release/bake.go",
				"bk.ledger.Now().Before(r.BakeUntil)", "false", "userspace/agent", "TestApplyBakes|TestRollbackBeforeBake"},
			{"a bake counts while nothing is decided", "userspace/release/bake.go",
				"idle, was := bk.idleReason(d) != \"\", bk.idle", "idle, was := false, bk.idle", "userspace/agent",
				"TestA19NoBakeWithoutDeciding"},
		},
	},
	{
		id: "A20", class: "what one would go back to is bad as well",
		guard: "several generations stay resident and on disk, each with its digest; below them is the empty one, by which everything passes",
		tests: []tests{
			in("userspace/state", "TestDamagedBundleIsNotAvailable TestDamageOfEachFileIsSetAside TestDamagedRecordIsSetAside"),
			in("userspace/agent", "TestA20DamagedDisk TestSetWithALostBundle TestF19RollbackToAnyGeneration"),
			in("loader", "TestNothingPublishedPasses TestRollbackIsOneStep"),
		},
		faults: []fault{
			{"a damaged bundle is taken for whole", "userspace/state/bundle.go",
				"if err == nil && sha256.Sum256(data) != d {", "if false {", "userspace/state", "TestDamagedBundle"},
		},
	},
	{
		id: "A21", class: "two builds read each other's data differently",
		guard: "maps and files carry the number of their layout; earlier ones are converted, later ones are left alone and told",
		tests: []tests{
			in("test/system/upgrade",
				"TestF2UpgradeUnderTraffic TestF2UpgradeFromEarlierLayouts TestF2UpgradeFromLayout2 TestF2UpgradeIsHeld"),
			in("loader", "TestF2UpgradeIsOneStore TestA21ForeignABIIsRefused"),
			in("userspace/state", "TestSchema1IsConverted TestSchema1AgainAfterADowngrade TestALaterSchemaIsLeftAlone"),
		},
		faults: []fault{
			{"a dataplane of another layout is adopted", "loader/open.go",
				"if number != 0 && number != pins.Layout {", "if false {", "loader", "TestA21ForeignABI|TestF2Upgrade"},
		},
	},
	{
		id: "A22", class: "data wakes code that nobody had run",
		guard: "every bundle begins as a candidate that can be taken back; all kinds of rules and options are run in random combinations beside a model",
		tests: []tests{
			in("test/dataplane/oracle", "TestA22ProgramAndModelAgree TestCorpus"),
			in("test/dataplane/matrix", "TestVerdicts"),
			in("userspace/agent", "TestConfirm TestConfirmDeadline"),
		},
		faults: []fault{
			{"a policy's fragments pass", "bpf/judge.h",
				"if (p->flags & PACKET_CUT && p->verdict == VERDICT_PASS &&", "if (0 && p->verdict == VERDICT_PASS &&",
				"test/dataplane/matrix", "TestVerdicts"},
			{"a limit admits one more", "bpf/limit.h",
				"__u64 tolerance = (l->burst - 1) * l->interval;", "__u64 tolerance = l->burst * l->interval;",
				"test/dataplane/progrun", "TestALimitLetsConnectionsWait"},
			{"a key of two processors has two rates", "bpf/limit.h",
				"if (is_twice(at)) {", "if (0) {", "test/dataplane/limit", "Test"},
		},
	},
	{
		id: "A23", class: "a writer that was delayed overwrites what is newer",
		guard: "the control word changes by compare-and-swap on the state that was looked at; its epoch only grows; numbers are never used twice",
		tests: []tests{
			in("loader", "TestConcurrentChangesAreAllMade TestRolesMoveTogether"),
			in("userspace/agent", "TestF14HungInAnApply TestRollbackDuringAnApply TestF6ApplyAfterAReload TestF6TheLastFileWins"),
			in("userspace/release", "TestSimulation"),
			in("test/system/fault", "TestF18StoppedAgent TestRolloutOfAStoppedAgent"),
		},
		faults: []fault{
			{"what was prepared for another word is published", "loader/control.go",
				"if change.Seen != nil && *change.Seen != c.Epoch {", "if false {", "userspace/agent",
				"TestF14HungInAnApply|TestRollbackDuringAnApply"},
			{"the word is stored whatever it is by now", "loader/control.go",
				"if err != nil || atomic.CompareAndSwapUint64(&ws.at.Control, old, next.pack()) {",
				"if err == nil {\n\t\t\tatomic.StoreUint64(&ws.at.Control, next.pack())\n\t\t}\n\t\tif true {",
				"loader", "TestA23WhoWasDelayed"},
		},
	},
	{
		id: "A24", class: "the clean-up takes away what is in use",
		guard: "a slot that a role names is never filled, a bundle that anything refers to is never pruned, a layout that decides is never swept",
		tests: []tests{
			in("userspace/state", "TestA24PruneKeepsWhatIsReferenced TestF10NothingIsPrunedForWhatCannotBeRead"),
			in("loader", "TestSlotsAreUsedAgain TestF2UpgradeGivenUp"),
			in("userspace/agent", "TestStableIsVerifiableAfterManyCandidates"),
			in("userspace/release", "TestSimulation"),
		},
		faults: []fault{
			{"a slot in use is filled", "loader/slot.go", "slices.Contains(used, slot)",
				"slices.Contains(used[:0], slot)", "loader",
				"TestSlotsAreUsedAgain|TestRollbackIsOneStep"},
		},
	},
	{
		id: "A25", class: "an empty result is taken for the wish to have nothing",
		guard: "a list file without a row is refused, and a list of a bundle that becomes empty has shrunk by 100 % and waits; " +
			"a bundle leaves the set only by its name",
		tests: []tests{
			in("config", "TestHolds TestSetHolds TestBundleFaults"),
			in("userspace/agent", "TestSetRefusals"),
		},
		faults: []fault{
			{"a list that became empty is no change", "config/hold.go",
				"if max(before, after) < holdFromRows || before == after {",
				"if max(before, after) < holdFromRows || after == 0 {", "config", "TestHolds|TestSetHolds"},
		},
	},
	{
		id: "A26", class: "all come back at once, and take down what they wait for", fleet: true,
		guard: "attempts wait longer each time, by chance within a ceiling; a start that fails is paced over its life",
		tests: []tests{
			in("userspace/retry", "TestRetryHasJitterAndACeiling"),
			in("userspace/agent", "TestF16RenewalIsPaced TestAdoptionIsTriedAgain"),
		},
		faults: []fault{
			{"all wait equally long", "userspace/retry/retry.go",
				"time.Duration(rand.Int64N(int64(r.ceiling)) + 1)", "r.ceiling + time.Duration(rand.Int64N(1))",
				"userspace/retry", "TestRetry"},
		},
	},
	{
		id: "A27", class: "the control plane is gone, and with it the way to recover",
		guard: "there is none to lose: bundles are on disk, and bypass, rollback, status, verify and unban work on the pins without any agent",
		tests: []tests{
			in("cmd/spillway",
				"TestA27RollbackWithoutAgent TestBypassWithoutAgent TestStatusWithoutAgent "+
					"TestF18UnbanWithoutAgent"),
			in("userspace/agent", "TestAdoptsWhatWasDoneWithoutAgent TestA46RebootComesBackWithLastKnownGood"),
		},
		faults: []fault{
			{"what was done without an agent is undone", "userspace/release/adopt.go",
				"return lease > 0 && int64(lease)", "return lease == 0 && int64(lease)", "userspace/agent",
				"TestRestartWithACandidate"},
		},
	},
	{
		id: "A28", class: "no word of health is taken for bad health, and everything is taken back", fleet: true,
		guard: "not known is neither health nor harm: it waits",
		tests: []tests{
			in("userspace/rollout", "TestNothingKnownIsNeitherHealthNorHarm TestHealth TestLapseIsHeld"),
			in("userspace/health", "TestAnswers TestLatestForgets TestServersThatHarmWhoAsks"),
			in("userspace/stages", "TestStoppedAgentHoldsTheCandidate"),
		},
		faults: []fault{
			{"no data is health", "userspace/rollout/progress.go",
				"(!j.turn.e.Health.Known || j.turn.e.Health.Bad)", "j.turn.e.Health.Bad", "userspace/rollout", "TestHealth"},
		},
	},
	{
		id: "A29", class: "a canary that nobody met is called a success",
		guard: "a stage waits for votes, then is held; time counts only with traffic, and only while the candidate decides",
		tests: []tests{
			in("userspace/rollout",
				"TestWithoutEvidenceItIsHeld TestA29ShadowWaitsForVotes TestSmallSite "+
					"TestTimeCountsBetweenTwoLooksThatDecide"),
			in("userspace/stages", "TestBundleGoesThroughAllStages"),
		},
		faults: []fault{
			{"shadow does not wait for votes", "userspace/rollout/progress.go",
				"case !shown && !judgeOf(t).timeOnly(r):", "case !shown && false:", "userspace/rollout",
				"TestA29ShadowWaits|TestSmallSite"},
			{"time counts while another decides", "userspace/rollout/step.go",
				"decided := k.Deciding && t.s.Decided", "decided := true", "userspace/rollout", "TestTimeCounts"},
		},
	},
	{
		id: "A30", class: "the canary is not like the others, so it proves nothing",
		guard: "a hash of prefix and salt chooses it, another one for each attempt; its share of the sources is tested, and a broken split is held",
		tests: []tests{
			in("userspace/rollout", "TestA30BrokenSplitIsHeld TestStickySourcesDoNotFoolTheArms TestShareThatComesLate"),
			in("test/dataplane/progrun", "TestCanarySaltMovesTheShare TestCanaryShareIsSticky"),
			in("test/dataplane/ja4", "TestCanary"),
		},
		faults: []fault{
			{"sources of another share count", "userspace/rollout/step.go",
				"r.Split.Base = r.Split.Last // these", "_ = r // these", "userspace/rollout", "TestShareThatComesLate"},
			{"every attempt has the same canary", "bpf/authority.h",
				"return (hash_prefix(p, salt, salt) >> 32) % CANARY_ALL < control_canary(p->control);",
				"return (hash_prefix(p, 1, 1) >> 32) % CANARY_ALL < control_canary(p->control);",
				"test/dataplane/progrun", "TestCanarySalt"},
		},
	},
	{
		id: "A31", class: "the judge cries wolf, and people stop to listen",
		guard: "tests that may be looked at after each vote; the alarms of a whole rollout add up to less than 1 %",
		tests: []tests{
			in("userspace/rollout", "TestSimulation TestAlphaIsSpentOnce"),
			in("userspace/stages", "TestSimulation"),
			in("userspace/rollout/sequential", "TestA31ManyLooksRejectAtMostAlpha TestRateThatMovesWithinItsSide"),
		},
		faults: []fault{
			{"alpha is not spent: each look rejects at even odds", "userspace/rollout/sequential/rate.go",
				"return l.LnE >= l.Limit", "return l.LnE >= 0.7", "userspace/rollout/sequential", "TestA31ManyLooks"},
		},
	},
}
