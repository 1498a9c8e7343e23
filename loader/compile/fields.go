// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"reflect"
)

// fieldDrifts says in which fields what the kernel holds differs, each by its path: Policies[1].Drop.
func fieldDrifts(path string, want, got reflect.Value) (drifts []Drift) {
	switch kind := want.Kind(); {
	case want.Equal(got):
	case kind == reflect.Struct:
		for i := range want.NumField() {
			drifts = append(drifts, fieldDrifts(path+"."+want.Type().Field(i).Name, want.Field(i), got.Field(i))...)
		}
	case kind == reflect.Array && want.Type().Elem().Kind() == reflect.Uint8:
		drifts = append(drifts, Drift{path, fmt.Sprintf("%x", want), fmt.Sprintf("%x", got)})
	case kind == reflect.Array:
		for i := range want.Len() {
			drifts = append(drifts, fieldDrifts(fmt.Sprintf("%s[%d]", path, i), want.Index(i), got.Index(i))...)
		}
	default:
		drifts = append(drifts, Drift{path, fmt.Sprint(want), fmt.Sprint(got)})
	}
	return drifts
}
