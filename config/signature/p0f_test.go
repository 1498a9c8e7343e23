// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseP0F(t *testing.T) {
	for text, want := range map[string]string{ // "" for itself
		"4:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0":          "",
		"*:64:0:*:mss*10,6:mss,sok,ts,nop,ws:df,id+:0":          "",
		"4:54+10:0:1460:65535,0:mss,nop,nop,sok:df:0":           "4:64:0:1460:65535,0:mss,nop,nop,sok:df:0",
		"4:64+0:0:0:65535,0::df,id+:0":                          "4:64:0:0:65535,0::df,id+:0",
		"*:64-:0:265:%512,0:mss,sok,ts:seq-,ack+,uptr+:0":       "*:64-:0:265:%512,0:mss,sok,ts:seq-,ack+,uptr+:0",
		"6:128:0:*:mtu*4,8:mss,nop,ws,nop,nop,sok:flow:*":       "",
		"4:255:8:536:*,*:mss,?77,sack,eol+3:opt+,0+,bad:+":      "4:255:8:536:*,*:mss,?77,sack,eol+3:0+,opt+,bad:+",
		"4:1:0:0:0,0::pushf+,ecn,id-:0":                         "4:1:0:0:0,0::id-,ecn,pushf+:0",
		"4:64:0:*:*,15:mss,ws,ts:ts2+,ts1-,exws:0":              "4:64:0:*:*,15:mss,ws,ts:ts1-,ts2+,exws:0",
		"4:64:0:*:1,0:sack,sack,sack,sack,sack:bad:0":           "", // what cannot be read takes less room than it says
		"4:64:0:0:1,0:" + strings.Repeat("nop,", 23) + "nop::0": "",
	} {
		if want == "" {
			want = text
		}
		s, err := ParseP0F(text)
		if err != nil || s.String() != want {
			t.Errorf("%q is read as %q, %v; want %q", text, s, err, want)
		}
		if again, err := ParseP0F(want); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q comes back as %+v, %v; want %+v", want, again, err, s)
		}
	}
}

func TestParseP0FRefuses(t *testing.T) {
	// A valid signature with one field replaced.
	fields := []string{"4", "64", "0", "*", "mss*20,7", "mss,sok,ts,nop,ws", "df,id+", "0"}
	for _, c := range []struct {
		field       int
		value, want string
	}{
		{0, "5", "IP version"}, {0, "", "IP version"}, {0, "46", "IP version"}, {0, "6", "are IPv4's"},
		{1, "0", "is none"}, {1, "256", "over 255"}, {1, "200+56", "is none"}, {1, "64+?", "nobody knows"},
		{1, "54+10-", "is none"}, {1, "064", "no decimal"}, {1, "", "ttl"}, {1, "64+", "distance"},
		{2, "3", "multiple of 4"}, {2, "44", "over 40"}, {2, "*", "no decimal"},
		{3, "65536", "over 65535"}, {3, "-1", "no decimal"}, {3, "99", "at least 100"}, {3, "0", "at least 100"},
		{4, "mss*20", "scale"}, {4, "mss*0,7", "multiple"}, {4, "mss*1001,7", "over 1000"}, {4, "%1,7", "multiple"},
		{4, "65536,7", "over 65535"}, {4, "mss20,7", "no decimal"}, {4, "1,256", "over 255"},
		{4, "1,15", "exws"}, {4, ",7", "window"},
		{5, "mss,eol+1,nop,ws", "nothing can follow"}, {5, "mss,sok,ts,nop,wss", "no TCP option"},
		{5, "mss,ws,?2", "written mss"}, {5, "mss,ws,?256", "over 255"}, {5, "mss,ws,eol", "no TCP option"},
		{5, "mss,,ws", "no TCP option"},
		{5, "mss,sok", "a scale needs ws"}, {5, "ws", "need mss"}, {5, "mss,ws,sack,sack,sack,sack", "take 47 bytes"},
		{5, "mss,ws,eol+34", "take 42 bytes"}, {5, strings.Repeat("nop,", 24) + "ws", "25 TCP options"},
		{6, "df,df", "twice"}, {6, "fd", "no quirk"}, {6, "id+", "needs df"}, {6, "df,id-", "exclude"}, {6, "flow", "IPv6's"},
		{6, "uptr+,urgf+", "exclude"}, {6, "ack-", "a SYN has none"}, {6, "exws", "above 14"}, {6, "opt+", "after eol"},
		{6, "df,", "no quirk"},
		{7, "1", "payload"}, {7, "", "payload"}, {7, "0:", "has 9"},
	} {
		with := append([]string(nil), fields...)
		with[c.field] = c.value
		text := strings.Join(with, ":")
		if s, err := ParseP0F(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, s, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"6:64:4:*:1,0:::0": "the version must be 4", "*:64:4:*:1,0:::0": "the version must be 4", "": "has 1",
		"4:64:0:1460:1,0:::0": "an mss needs", "4:64:0:*:1,0::ts1-:0": "need ts", "4:64:0:*:1,*::exws:0": "needs ws",
	} {
		if s, err := ParseP0F(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, s, err, want)
		}
	}
}
