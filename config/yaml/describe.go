// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/spillway/spillway/config/words"
)

// describe says what would be valid for a field of the type.
func (l *Limits) describe(t reflect.Type) string {
	switch {
	case l.valid != "":
		return l.valid
	case len(l.Enum) > 0:
		return words.List(l.Enum, "or")
	}
	if v, ok := reflect.New(t).Interface().(Scalar); ok {
		return v.Describe(l)
	}
	switch v := reflect.Zero(t).Interface().(type) {
	case time.Duration:
		return fmt.Sprintf("%s to %s, with its unit (10m, 24h)", l.Low, l.High)
	case time.Time:
		return "a time with its offset (2027-01-01T00:00:00Z)"
	case netip.Prefix:
		return "an address or a prefix (192.0.2.0/24)"
	case words.Former:
		return v.Form().Field
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		if l.maxItems == 0 {
			return fmt.Sprintf("a list of at least %d", max(l.minItems, 1))
		}
		return fmt.Sprintf("a list of %d to %d rows", l.minItems, l.maxItems)
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "a mapping"
	case reflect.String:
		if l.maxLength > 0 {
			return fmt.Sprintf("a text of at most %d characters", l.maxLength)
		}
		return "a text"
	}
	if l.Minimum != nil && l.Maximum != nil {
		return fmt.Sprintf("%d to %d", *l.Minimum, *l.Maximum)
	}
	return "a whole number"
}
