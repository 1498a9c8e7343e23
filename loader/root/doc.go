// SPDX-License-Identifier: Apache-2.0

// Package root is what never changes (bpf/root.h): the root program on the interfaces, the words that it reads, and the
// one entry that says which dataplane is in force. A command that does not understand the dataplane can still let
// everything pass by it. It knows no layout: a dataplane that has words of its own instead joins as a Switch.
package root
