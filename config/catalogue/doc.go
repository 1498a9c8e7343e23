// SPDX-License-Identifier: Apache-2.0

// Package catalogue says whose fingerprints are known, and how that became known. It judges nobody: no rule is made
// of it.
package catalogue
