// SPDX-License-Identifier: Apache-2.0

// Package yaml reads a YAML file into a struct, by the tags of its fields, and tells all that is wrong with it: each
// fault has file, line, column, the value as written, and what would be right. It knows no type of those who use it;
// nouns.go says which methods it looks for.
package yaml
