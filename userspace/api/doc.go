// SPDX-License-Identifier: Apache-2.0

// Package api is how people and programs talk to the agent: HTTP and JSON over a Unix socket. It holds the types of
// requests and replies, the client that the command line uses, and the server that the agent runs in front of its own
// methods.
//
// Every reply carries schemaVersion. Within one version fields are only added. Times are RFC 3339 in UTC; a duration is
// a number of seconds and says so in its name; digests are "sha256:" and 64 hexadecimal digits.
//
// It is made of resources: bundles in force, rollouts (each change of them, with an id and a state), bans, and what is
// read of the rest. The options of a change are in its body; a field that nobody knows refuses it, except that of a
// bypass, so that the command of a later release can stop an older agent. A socket has a role, and each role its
// limits: the role is the socket's, never the caller's claim.
//
// A bundle travels as a tar stream (bundle.yaml and its list files), because the agent may run confined and must not
// read files on a caller's behalf; what it accepts it has validated itself. Whatever changes something names its caller
// by the peer credentials of the socket, and is written into the history with uid, verb, reason and time.
package api

// SchemaVersion of every reply.
const SchemaVersion = 1

// Envelope is part of every reply.
type Envelope struct {
	SchemaVersion int `json:"schemaVersion"`
}

// NewEnvelope returns the envelope of this release.
func NewEnvelope() Envelope { return Envelope{SchemaVersion} }
