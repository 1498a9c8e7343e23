// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/words"
)

// describe says what would be valid for a field of the type.
func (l *limits) describe(t reflect.Type) string {
	switch {
	case l.valid != "":
		return l.valid
	case len(l.enum) > 0:
		return words.List(l.enum, "or")
	}
	switch v := reflect.Zero(t).Interface().(type) {
	case time.Duration:
		return fmt.Sprintf("%s to %s, with its unit (10m, 24h)", l.low, l.high)
	case Timeout:
		return fmt.Sprintf("%s to %s with its unit (15m), or never", l.low, l.high)
	case Percent:
		return fmt.Sprintf("%s to %s, with its sign (6%%)", l.low, l.high)
	case Threshold:
		return "1 to 100, or never"
	case time.Time:
		return "a time with its offset (2027-01-01T00:00:00Z)"
	case netip.Prefix:
		return "an address or a prefix (192.0.2.0/24)"
	case Address:
		return "any, or an IP address"
	case signature.Former:
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
	if l.minimum != nil && l.maximum != nil {
		return fmt.Sprintf("%d to %d", *l.minimum, *l.maximum)
	}
	return "a whole number"
}
