// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

import "fmt"

// Shorter names for the generated types; the generated file has their layout.
type (
	Ban            = DataplaneBan
	BlameKey       = DataplaneBlameKey
	BlockNames     = DataplaneBlockNames
	Class          = DataplaneClass
	Conntrack      = ConntrackConntrack
	Counts         = DataplaneCounter
	Event          = DataplaneEvent
	EventBudget    = DataplaneEventBudget
	Flow           = DataplaneFlow
	FlowKey        = DataplaneFlowKey
	FlowName       = DataplaneFlowName
	Generation     = DataplaneGeneration
	Hello          = DataplaneHello
	HelloSet       = DataplaneHelloSet
	Hit            = DataplaneHit
	Host           = DataplaneHost
	Interface      = DataplaneInterface
	JA4Key         = DataplaneJa4Key
	Lane           = DataplaneLane
	LimitCount     = DataplaneLimitCount
	LimitSet       = DataplaneLimitSet
	LaneCount      = DataplaneLaneCount
	Mode           = DataplaneMode
	NameKeys       = DataplaneNameKeys
	Outcome        = DataplaneOutcome
	PairKey        = DataplanePairKey
	Policy         = DataplanePolicy
	Port           = DataplanePort
	PrefixPage     = DataplanePrefixPage
	Prefix6Key     = DataplanePrefix6Key
	Reason         = DataplaneReason
	RootWords      = RootRootWords
	RuleNode       = DataplaneRuleNode
	Runtime        = DataplaneRuntime
	Service        = DataplaneService
	ServiceAddress = DataplaneServiceAddress
	ServiceKind    = DataplaneServiceKind
	Settings       = DataplaneDataplaneSettings
	Shape          = DataplaneShape
	ShapeBudget    = DataplaneShapeBudget
	ShapeKey       = DataplaneShapeKey
	SocketQuestion = DataplaneSocketQuestion
	Stage          = DataplaneStage
	SynRecord      = DataplaneSynRecord
	TCPFacts       = DataplaneTcpFacts
	TCPFingerprint = DataplaneTcpFingerprint
	TCPLayout      = DataplaneTcpLayout
	TCPSignature   = DataplaneTcpSignature
	TCPSignatures  = DataplaneTcpSignatures
	TLSFingerprint = DataplaneTlsFingerprint
	Trial          = DataplaneTrial
	Verdict        = DataplaneVerdict
	VoteSet        = DataplaneVoteSet
	VouchedKey     = DataplaneVouchedKey
)

// Limits and constants of types.h that user space needs.
const (
	ABIVersion    = 8
	ServicesMax   = 33
	FirstBytes    = 5
	Slots         = 8
	HelloWays     = 8
	RuleChainMax  = 8
	TCPOptionsMax = 24
	SignaturesMax = 8 // p0f signatures of one IP version and option layout
	ReasonMax     = int(DataplaneReasonREASON_MAX)
	Outcomes      = int(DataplaneOutcomeOUTCOMES)
	ScoreNone     = 255
	Never         = ^uint64(0)

	// RootMagic is the first of the root's words: "spillway".
	RootMagic = 0x7961776c6c697073

	// What the maps of limits hold: ways of a set, sets of keys, sets of addresses; and how many bits of nanoseconds
	// the time of a limit leaves out.
	LimitWays  = 8
	LimitSets  = 32768
	SharerSets = 16384
	LimitUnit  = 10

	// Tables of prefixes: bits of an address within its chunk, steps of a search, words of a page, and the flag of a
	// chunk's word that says where its ranges lie.
	PrefixKey4      = 14
	PrefixKey6      = 41
	PrefixSteps6    = 22
	PrefixPageWords = 65536
	PrefixSplit     = 0x80000000

	// Lanes in which generations are compared, and what their maps hold.
	LaneMain    = 0
	LaneFast    = 1
	Lanes       = 2
	VoteWays    = 8
	VoteSets    = 65536
	BudgetLeast = 20
	BudgetShare = 1000
	PartsMax    = 8

	// CanaryAll is the share of everybody. Where words of a lane have their parts, and ways of the votes.
	CanaryAll   = 1000
	LaneNewSlot = 8
	LaneRun     = 16
	LaneAllowed = 32
	WayRun      = 24
	WayDay      = 9
	WayDays     = 0x7fff

	// Places of the counters beside the slots.
	CounterLeft  = Slots
	CounterAlone = Slots + 1
	CounterSlots = Slots + 2

	SlotEmpty        = 0
	ProgramDataplane = 0
	ProgramPayload   = 1
	ProgramConntrack = 2
	ProgramPair      = 3

	// ConntrackNextMax is how many loads may ask connection tracking at once.
	ConntrackNextMax = 64

	// What p0f believes of a SYN: how far it came, which MSS a window may be a multiple of, what a timestamp takes.
	HopsMax        = 35
	MultipleMSSMin = 100
	TimestampBytes = 12
	EthernetMTU    = 1500
)

var reasonNames = [...]string{
	DataplaneReasonREASON_CONTINUE:        "continue",
	DataplaneReasonREASON_NOT_IP:          "not_ip",
	DataplaneReasonREASON_NOT_SERVICE:     "not_service",
	DataplaneReasonREASON_OTHER_PROTOCOL:  "other_protocol",
	DataplaneReasonREASON_MALFORMED:       "malformed",
	DataplaneReasonREASON_TOO_DEEP:        "too_deep",
	DataplaneReasonREASON_FRAGMENT:        "fragment",
	DataplaneReasonREASON_NO_GENERATION:   "no_generation",
	DataplaneReasonREASON_NO_POLICY:       "no_policy",
	DataplaneReasonREASON_SERVICE_BYPASS:  "service_bypass",
	DataplaneReasonREASON_AGENT_LOST:      "agent_lost",
	DataplaneReasonREASON_KNOWN_FLOW:      "known_flow",
	DataplaneReasonREASON_MIDSTREAM:       "midstream",
	DataplaneReasonREASON_HANDSHAKE:       "handshake",
	DataplaneReasonREASON_NO_MATCH:        "no_match",
	DataplaneReasonREASON_PREFIX:          "prefix",
	DataplaneReasonREASON_TCP_FINGERPRINT: "tcp_fingerprint",
	DataplaneReasonREASON_BAN:             "ban",
	DataplaneReasonREASON_PROTECTED:       "protected",
	DataplaneReasonREASON_BELOW_THRESHOLD: "below_threshold",
	DataplaneReasonREASON_WEAK:            "weak",
	DataplaneReasonREASON_UNCONFIRMED:     "unconfirmed",
	DataplaneReasonREASON_SYN_OPTIONS:     "syn_options",
	DataplaneReasonREASON_INTERNAL:        "internal",
	DataplaneReasonREASON_JA4:             "ja4",
	DataplaneReasonREASON_TCP_SIGNATURE:   "tcp_signature",
	DataplaneReasonREASON_HELLO_PARTIAL:   "hello_partial",
	DataplaneReasonREASON_HELLO_ORDER:     "hello_order",
	DataplaneReasonREASON_HELLO_OVERLAP:   "hello_overlap",
	DataplaneReasonREASON_HELLO_TOO_LONG:  "hello_too_long",
	DataplaneReasonREASON_HELLO_MALFORMED: "hello_malformed",
	DataplaneReasonREASON_HELLO_BUSY:      "hello_busy",
	DataplaneReasonREASON_NOT_HELLO:       "not_hello",
	DataplaneReasonREASON_NOT_TAKEN:       "not_taken",
	DataplaneReasonREASON_HELLO_HIDDEN:    "hello_hidden",
	DataplaneReasonREASON_HELLO_UNSEEN:    "hello_unseen",
	DataplaneReasonREASON_HELLO_URGENT:    "hello_urgent",
	DataplaneReasonREASON_MPTCP_STRIPPED:  "mptcp_stripped",
	DataplaneReasonREASON_ON_TRIAL:        "on_trial",
	DataplaneReasonREASON_ALLOWED:         "allowed",
	DataplaneReasonREASON_PAIR:            "pair",
}

var outcomeNames = [...]string{"pass", "tag", "limit", "reset", "drop", "would_limit", "would_reset", "would_drop"}

var stageNames = [...]string{"packet", "syn", "payload"}

// ReasonName returns the name of r in metrics, events and documents.
func ReasonName(r Reason) string { return nameOf(reasonNames[:], int(r)) }

// Reasons returns all reasons that leave the dataplane, in the order of their numbers.
func Reasons() []Reason {
	var all []Reason
	for r := range reasonNames {
		if r != int(DataplaneReasonREASON_CONTINUE) {
			all = append(all, Reason(r))
		}
	}
	return all
}

// ParseReason returns the reason of that name.
func ParseReason(name string) (Reason, error) {
	for r, n := range reasonNames {
		if n == name && r != int(DataplaneReasonREASON_CONTINUE) {
			return Reason(r), nil
		}
	}
	return 0, fmt.Errorf("reason %q is not known", name)
}

// OutcomeName returns pass, tag, limit, reset, drop, or would_… for what observe mode let pass.
func OutcomeName(o Outcome) string { return nameOf(outcomeNames[:], int(o)) }

// JA4Forms are the forms of a JA4 feature in the order in which the dataplane looks for them (ja4_forms of features.h):
// the first that a ClientHello meets counts.
var JA4Forms = []DataplaneJa4Form{
	JA4FormA | JA4FormB | JA4FormC,
	JA4FormStable | JA4FormA | JA4FormB | JA4FormC,
	JA4FormA | JA4FormB,
	JA4FormA | JA4FormC,
	JA4FormB | JA4FormC,
	JA4FormStable | JA4FormA | JA4FormB,
	JA4FormStable | JA4FormA | JA4FormC,
	JA4FormStable | JA4FormB | JA4FormC,
	JA4FormA,
	JA4FormB,
	JA4FormC,
	JA4FormStable | JA4FormA,
	JA4FormStable | JA4FormB,
	JA4FormStable | JA4FormC,
}

// StageName returns what was judged: syn, payload, or a packet by itself.
func StageName(s Stage) string { return nameOf(stageNames[:], int(s)) }

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("unknown_%d", i)
	}
	return names[i]
}
