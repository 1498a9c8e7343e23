// SPDX-License-Identifier: Apache-2.0

// Package kernel is what every room of loader asks the running kernel in the same way: what it is, which rights this
// process has, what time its programs tell, what the number of a map or program is, all rows of a map, and what an
// error of it means for a person. It knows no map of ours by name.
package kernel
