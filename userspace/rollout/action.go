// SPDX-License-Identifier: Apache-2.0

package rollout

// Verbs of the engine: what the agent carries out. Each is asked for again until the evidence shows that it was done,
// so an action that failed, or whose effect a crash hid, is repeated, and all of them must bear that.
type Do uint8

const (
	DoNote      Do = iota // nothing but the decision, for the history
	DoTaste               // build and try the generation of ID in a child, on what is stable
	DoPublish             // make Number the candidate, which decides for Share
	DoBeside              // make Number the second candidate, which decides for nobody
	DoShare               // let the candidate decide for Share
	DoLease               // renew the candidate's lease
	DoPromote             // make Number stable, under the budget, if On is stable now; else nothing
	DoTakeBack            // Number leaves: a candidate is withdrawn, a stable generation gives way to To
	DoKnownGood           // Number is last-known-good, and its budget ends
)

var does = [...]string{"note", "taste", "publish", "beside", "share", "lease", "promote", "take_back", "known_good"}

// String returns the verb as the history writes it.
func (d Do) String() string { return does[d] }

// Action is one thing that the agent must do now.
type Action struct {
	Do       Do
	ID       string // of the rollout
	Number   uint32
	On       uint32    // the stable generation that Number was built on
	To       uint32    // of take_back: the generation that is stable then, where Number is stable
	Share    uint16    // thousandths of the source prefixes
	Observes bool      // of promote: only while the host observes
	Decision *Decision // what was decided; nil when the action only repeats or renews
}
