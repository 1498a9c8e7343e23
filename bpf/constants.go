// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

package bpf

// The constants of types.h and fingerprint.h under Go's names: QUIRK_DF is QuirkDF. The generated file has their
// values, and a test finds one that is missing here.

// What is known of a connection.
const (
	FlowConfirmed      = DataplaneFlowFlagsFLOW_CONFIRMED
	FlowFirstPayload   = DataplaneFlowFlagsFLOW_FIRST_PAYLOAD
	FlowHasFingerprint = DataplaneFlowFlagsFLOW_HAS_FINGERPRINT
	FlowHasTLS         = DataplaneFlowFlagsFLOW_HAS_TLS
	FlowCounted        = DataplaneFlowFlagsFLOW_COUNTED
	FlowCut            = DataplaneFlowFlagsFLOW_CUT
	FlowRead           = DataplaneFlowFlagsFLOW_READ
	FlowGap            = DataplaneFlowFlagsFLOW_GAP
)

// Limits of a ClientHello.
const (
	HelloMax           = DataplaneHelloLimitHELLO_MAX
	HelloCiphersMax    = DataplaneHelloLimitHELLO_CIPHERS_MAX
	HelloExtensionsMax = DataplaneHelloLimitHELLO_EXTENSIONS_MAX
	HelloSignaturesMax = DataplaneHelloLimitHELLO_SIGNATURES_MAX
	HelloRecordsMax    = DataplaneHelloLimitHELLO_RECORDS_MAX
	HelloRoundsMax     = DataplaneHelloLimitHELLO_ROUNDS_MAX
)

// What an interface is.
const (
	InterfacePartialSums = DataplaneInterfaceFlagsINTERFACE_PARTIAL_SUMS
	InterfaceNoTX        = DataplaneInterfaceFlagsINTERFACE_NO_TX
	InterfaceFresh       = DataplaneInterfaceFlagsINTERFACE_FRESH
)

// Which parts a JA4 feature has.
const (
	JA4FormA      = DataplaneJa4FormJA4A
	JA4FormB      = DataplaneJa4FormJA4B
	JA4FormC      = DataplaneJa4FormJA4C
	JA4FormStable = DataplaneJa4FormJA4STABLE
)

// Whether anything is blocked.
const (
	ModeObserve = DataplaneModeMODE_OBSERVE
	ModeEnforce = DataplaneModeMODE_ENFORCE
)

// What became of a packet.
const (
	OutcomePass       = DataplaneOutcomeOUTCOME_PASS
	OutcomeTag        = DataplaneOutcomeOUTCOME_TAG
	OutcomeLimit      = DataplaneOutcomeOUTCOME_LIMIT
	OutcomeReset      = DataplaneOutcomeOUTCOME_RESET
	OutcomeDrop       = DataplaneOutcomeOUTCOME_DROP
	OutcomeWouldLimit = DataplaneOutcomeOUTCOME_WOULD_LIMIT
	OutcomeWouldReset = DataplaneOutcomeOUTCOME_WOULD_RESET
	OutcomeWouldDrop  = DataplaneOutcomeOUTCOME_WOULD_DROP
)

// How two verdicts on one first payload differ.
const (
	PairNone      = DataplanePairPAIR_NONE
	PairBothPass  = DataplanePairPAIR_BOTH_PASS
	PairBothBlock = DataplanePairPAIR_BOTH_BLOCK
	PairNewPass   = DataplanePairPAIR_NEW_PASS
	PairNewBlock  = DataplanePairPAIR_NEW_BLOCK
)

// Why a source is protected.
const (
	ClassNone      = DataplaneClassCLASS_NONE
	ClassAllowlist = DataplaneClassCLASS_ALLOWLIST
	ClassGolden    = DataplaneClassCLASS_GOLDEN
	ClassHealth    = DataplaneClassCLASS_HEALTH
	ClassCrawler   = DataplaneClassCLASS_CRAWLER
	ClassVouched   = DataplaneClassCLASS_VOUCHED
	ClassLeaves    = DataplaneClassCLASS_LEAVES
)

// What a rule of a pair is that is none of the bundle's.
const (
	RuleNone    = DataplaneNoRuleRULE_NONE
	RuleSeveral = DataplaneNoRuleRULE_SEVERAL
)

// RuleDeclared is set in a rule that the bundle names in its intent; the others in those with a verdict.
const (
	RuleDeclared = DataplaneRuleFlagsRULE_DECLARED
	RuleAllow    = DataplaneRuleFlagsRULE_ALLOW
	RuleTag      = DataplaneRuleFlagsRULE_TAG
)

// What a limit counts together.
const (
	LimitBySource      = DataplaneLimitKeyLIMIT_BY_SOURCE
	LimitByPrefix      = DataplaneLimitKeyLIMIT_BY_PREFIX
	LimitByFingerprint = DataplaneLimitKeyLIMIT_BY_FINGERPRINT
)

// The strongest verdict that a host file leaves to bundles.
const (
	MostPass  = DataplaneMostMOST_PASS
	MostTag   = DataplaneMostMOST_TAG
	MostLimit = DataplaneMostMOST_LIMIT
	MostDrop  = DataplaneMostMOST_DROP
	MostReset = DataplaneMostMOST_RESET
)

// Families of TCP stacks, and where values of the JA4 table have the family and kind of a client.
const (
	FamilyWindows = DataplaneFamilyFAMILY_WINDOWS
	FamilyApple   = DataplaneFamilyFAMILY_APPLE
	FamilyLinux   = DataplaneFamilyFAMILY_LINUX
	FamilyAndroid = DataplaneFamilyFAMILY_ANDROID
	FamilyRaw     = DataplaneFamilyFAMILY_RAW
	TCPFamilies   = DataplaneFamilyTCP_FAMILIES
	TLSFamilies   = DataplaneFamilyTLS_FAMILIES
	ValueFamily   = DataplaneFamilyVALUE_FAMILY
	ValueKind     = DataplaneFamilyVALUE_KIND
)

// What a policy does beside its scores.
const (
	PolicyDropFragments = DataplanePolicyFlagsPOLICY_DROP_FRAGMENTS
	PolicyDropTiny      = DataplanePolicyFlagsPOLICY_DROP_TINY
)

// Why a packet passed or not; ReasonName has their names.
const (
	ReasonContinue       = DataplaneReasonREASON_CONTINUE
	ReasonNotIP          = DataplaneReasonREASON_NOT_IP
	ReasonNotService     = DataplaneReasonREASON_NOT_SERVICE
	ReasonOtherProtocol  = DataplaneReasonREASON_OTHER_PROTOCOL
	ReasonMalformed      = DataplaneReasonREASON_MALFORMED
	ReasonTooDeep        = DataplaneReasonREASON_TOO_DEEP
	ReasonFragment       = DataplaneReasonREASON_FRAGMENT
	ReasonNoGeneration   = DataplaneReasonREASON_NO_GENERATION
	ReasonNoPolicy       = DataplaneReasonREASON_NO_POLICY
	ReasonServiceBypass  = DataplaneReasonREASON_SERVICE_BYPASS
	ReasonAgentLost      = DataplaneReasonREASON_AGENT_LOST
	ReasonKnownFlow      = DataplaneReasonREASON_KNOWN_FLOW
	ReasonMidstream      = DataplaneReasonREASON_MIDSTREAM
	ReasonHandshake      = DataplaneReasonREASON_HANDSHAKE
	ReasonNoMatch        = DataplaneReasonREASON_NO_MATCH
	ReasonPrefix         = DataplaneReasonREASON_PREFIX
	ReasonTCPFingerprint = DataplaneReasonREASON_TCP_FINGERPRINT
	ReasonBan            = DataplaneReasonREASON_BAN
	ReasonProtected      = DataplaneReasonREASON_PROTECTED
	ReasonBelowThreshold = DataplaneReasonREASON_BELOW_THRESHOLD
	ReasonWeak           = DataplaneReasonREASON_WEAK
	ReasonUnconfirmed    = DataplaneReasonREASON_UNCONFIRMED
	ReasonSYNOptions     = DataplaneReasonREASON_SYN_OPTIONS
	ReasonInternal       = DataplaneReasonREASON_INTERNAL
	ReasonJA4            = DataplaneReasonREASON_JA4
	ReasonTCPSignature   = DataplaneReasonREASON_TCP_SIGNATURE
	ReasonHelloPartial   = DataplaneReasonREASON_HELLO_PARTIAL
	ReasonHelloOrder     = DataplaneReasonREASON_HELLO_ORDER
	ReasonHelloOverlap   = DataplaneReasonREASON_HELLO_OVERLAP
	ReasonHelloTooLong   = DataplaneReasonREASON_HELLO_TOO_LONG
	ReasonHelloMalformed = DataplaneReasonREASON_HELLO_MALFORMED
	ReasonHelloBusy      = DataplaneReasonREASON_HELLO_BUSY
	ReasonNotHello       = DataplaneReasonREASON_NOT_HELLO
	ReasonNotTaken       = DataplaneReasonREASON_NOT_TAKEN
	ReasonHelloHidden    = DataplaneReasonREASON_HELLO_HIDDEN
	ReasonHelloUnseen    = DataplaneReasonREASON_HELLO_UNSEEN
	ReasonHelloUrgent    = DataplaneReasonREASON_HELLO_URGENT
	ReasonMPTCPStripped  = DataplaneReasonREASON_MPTCP_STRIPPED
	ReasonOnTrial        = DataplaneReasonREASON_ON_TRIAL
	ReasonAllowed        = DataplaneReasonREASON_ALLOWED
	ReasonPair           = DataplaneReasonREASON_PAIR
)

// How a service is judged.
const (
	ServiceProxyProtocol = DataplaneServiceFlagsSERVICE_PROXY_PROTOCOL
	ServiceStripMPTCP    = DataplaneServiceFlagsSERVICE_STRIP_MPTCP
	ServiceAsksConntrack = DataplaneServiceFlagsSERVICE_ASKS_CONNTRACK
	ServiceAsksEgress    = DataplaneServiceFlagsSERVICE_ASKS_EGRESS
)

// The parts of a service's number in a place of addresses.
const (
	ServiceRemote = DataplaneServiceIdFlagsSERVICE_REMOTE
	ServiceFresh  = DataplaneServiceIdFlagsSERVICE_FRESH
	ByInterface   = DataplaneServiceIdFlagsSERVICE_BY_INTERFACE
	ServiceID     = DataplaneServiceIdFlagsSERVICE_ID
)

// The kinds of services.
const (
	KindTLS  = DataplaneServiceKindKIND_TLS
	KindHTTP = DataplaneServiceKindKIND_HTTP
	KindTCP  = DataplaneServiceKindKIND_TCP
	KindQUIC = DataplaneServiceKindKIND_QUIC
	KindUDP  = DataplaneServiceKindKIND_UDP
)

// What was judged.
const (
	StagePacket  = DataplaneStageSTAGE_PACKET
	StageSYN     = DataplaneStageSTAGE_SYN
	StagePayload = DataplaneStageSTAGE_PAYLOAD
)

// Which options a TCP fingerprint has.
const (
	TCPHasMSS   = DataplaneTcpPresentTCP_HAS_MSS
	TCPHasScale = DataplaneTcpPresentTCP_HAS_SCALE
)

// The quirks of a SYN, as p0f names them.
const (
	QuirkDF         = DataplaneTcpQuirkQUIRK_DF
	QuirkID         = DataplaneTcpQuirkQUIRK_ID
	QuirkZeroID     = DataplaneTcpQuirkQUIRK_ZERO_ID
	QuirkECN        = DataplaneTcpQuirkQUIRK_ECN
	QuirkReserved   = DataplaneTcpQuirkQUIRK_RESERVED
	QuirkFlow       = DataplaneTcpQuirkQUIRK_FLOW
	QuirkZeroSeq    = DataplaneTcpQuirkQUIRK_ZERO_SEQ
	QuirkACK        = DataplaneTcpQuirkQUIRK_ACK
	QuirkZeroACK    = DataplaneTcpQuirkQUIRK_ZERO_ACK
	QuirkURGPointer = DataplaneTcpQuirkQUIRK_URG_POINTER
	QuirkURG        = DataplaneTcpQuirkQUIRK_URG
	QuirkPush       = DataplaneTcpQuirkQUIRK_PUSH
	QuirkZeroTS     = DataplaneTcpQuirkQUIRK_ZERO_TS
	QuirkPeerTS     = DataplaneTcpQuirkQUIRK_PEER_TS
	QuirkAfterEOL   = DataplaneTcpQuirkQUIRK_AFTER_EOL
	QuirkScale      = DataplaneTcpQuirkQUIRK_SCALE
	QuirkBadOptions = DataplaneTcpQuirkQUIRK_BAD_OPTIONS
	QuirkPayload    = DataplaneTcpQuirkQUIRK_PAYLOAD
	QuirkTimestamp  = DataplaneTcpQuirkQUIRK_TIMESTAMP
)

// What a p0f signature leaves open.
const (
	SignatureAnyMSS     = DataplaneTcpSignatureFlagsSIGNATURE_ANY_MSS
	SignatureAnyScale   = DataplaneTcpSignatureFlagsSIGNATURE_ANY_SCALE
	SignatureAnyPayload = DataplaneTcpSignatureFlagsSIGNATURE_ANY_PAYLOAD
	SignatureRandomTTL  = DataplaneTcpSignatureFlagsSIGNATURE_RANDOM_TTL
)

// How a p0f signature writes a window.
const (
	WindowAny    = DataplaneTcpWindowWINDOW_ANY
	WindowValue  = DataplaneTcpWindowWINDOW_VALUE
	WindowModulo = DataplaneTcpWindowWINDOW_MODULO
	WindowMSS    = DataplaneTcpWindowWINDOW_MSS
	WindowMTU    = DataplaneTcpWindowWINDOW_MTU
)

// What a policy says.
const (
	VerdictPass  = DataplaneVerdictVERDICT_PASS
	VerdictTag   = DataplaneVerdictVERDICT_TAG
	VerdictLimit = DataplaneVerdictVERDICT_LIMIT
	VerdictReset = DataplaneVerdictVERDICT_RESET
	VerdictDrop  = DataplaneVerdictVERDICT_DROP
)

// Where the parts of the control word begin.
const (
	ControlMode      = DataplaneControlShiftCONTROL_MODE
	ControlStable    = DataplaneControlShiftCONTROL_STABLE
	ControlCandidate = DataplaneControlShiftCONTROL_CANDIDATE
	ControlPrevious  = DataplaneControlShiftCONTROL_PREVIOUS
	ControlHost      = DataplaneControlShiftCONTROL_HOST
	ControlShadow    = DataplaneControlShiftCONTROL_SHADOW
	ControlPair      = DataplaneControlShiftCONTROL_PAIR
	ControlBudget    = DataplaneControlShiftCONTROL_BUDGET
	ControlCanary    = DataplaneControlShiftCONTROL_CANARY
	ControlEpoch     = DataplaneControlShiftCONTROL_EPOCH
)

// What may have become of a connection since its verdict.
const (
	HintSYN      = DataplaneFlowHintsHINT_SYN
	HintEnd      = DataplaneFlowHintsHINT_END
	HintNoSocket = DataplaneFlowHintsHINT_NO_SOCKET
	HintHealed   = DataplaneFlowHintsHINT_HEALED
	HintTagged   = DataplaneFlowHintsHINT_TAGGED
	HintCharged  = DataplaneFlowHintsHINT_CHARGED
	HintOver     = DataplaneFlowHintsHINT_OVER
)

// ControlShift is a place in the control word.
type ControlShift = DataplaneControlShift
