// SPDX-License-Identifier: Apache-2.0

// Package fingerprints compares what `spillway fingerprint` says of captures with what others found in them, and with
// the reference reading of generated connections. It sends what the catalogue publishes of TCP stacks as SYNs.
package fingerprints
