// SPDX-License-Identifier: Apache-2.0

// Package words puts what a file says into the sentence of a fault: lists, what was probably meant, values cut short.
package words
