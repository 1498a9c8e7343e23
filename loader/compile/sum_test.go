// SPDX-License-Identifier: Apache-2.0

package compile

import "testing"

// The sum does not depend on the order of rows, and each byte counts.
func TestF11SumOfRows(t *testing.T) {
	var a, b, c rowSum
	for _, row := range []string{"one", "two", "three"} {
		a.add([]byte(row))
	}
	for _, row := range []string{"three", "one", "two"} {
		b.add([]byte(row))
	}
	for _, row := range []string{"three", "one", "twO"} {
		c.add([]byte(row))
	}
	if a.text(inRows) != b.text(inRows) || a.text(inRows) == c.text(inRows) {
		t.Errorf("%+v, %+v, %+v", a, b, c)
	}
}
