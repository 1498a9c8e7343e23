// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader/compile"
)

// What is compiled is pure and has a package of its own. These are its names for those who build and read it back.
type (
	Image       = compile.Image
	HostImage   = compile.HostImage
	HostInfo    = compile.HostInfo
	ServiceInfo = compile.ServiceInfo
	Context     = compile.Context
	Clock       = compile.Clock
	Blocking    = compile.Blocking
	Drift       = compile.Drift
	Sums        = compile.Sums
)

// Where VerifyWiring found something, for callers that mend it.
const (
	WherePrograms = compile.WherePrograms
	WherePins     = compile.WherePins
)

func drifted(where, want, got string) Drift { return Drift{Where: where, Want: want, Got: got} }

// CompileBundle compiles a validated bundle for a host: see compile.Bundle.
func CompileBundle(b *config.Bundle, host *HostImage, number uint32, now Clock) (*Image, error) {
	return compile.Bundle(b, host, number, now)
}

// CompileHost compiles a host file: see compile.HostFile.
func CompileHost(h *config.Host, current *HostInfo, number uint32) (*HostImage, error) {
	return compile.HostFile(h, current, number)
}

// FormatFingerprint writes a fingerprint of the kernel as a MuonFP string.
func FormatFingerprint(f bpf.TCPFingerprint) string { return compile.FormatFingerprint(f) }

// FormatP0F returns what p0f v3 prints of a SYN: see compile.FormatP0F.
func FormatP0F(f bpf.TCPFingerprint, facts bpf.TCPFacts) string { return compile.FormatP0F(f, facts) }
