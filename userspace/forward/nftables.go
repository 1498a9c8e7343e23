// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Messages and attributes of include/uapi/linux/netfilter/nf_tables.h.
const (
	getChain, getRule, getSetElem = 4, 7, 13

	chainTable, chainName, chainHook, chainType = 1, 3, 4, 7
	hookNumber                                  = 1
	prerouting                                  = 0

	ruleTable, ruleChain, ruleExpressions = 1, 2, 4
	listElement                           = 1
	exprName, exprData                    = 1, 2

	setTable, setName, setElements = 1, 2, 3
	elemKey, elemData, elemFlags   = 1, 2, 3
	intervalEnd                    = 1
	dataValue, dataVerdict         = 1, 2
	verdictCode, verdictChain      = 1, 2
)

// chainKey names a chain, or a set, of one table.
type chainKey struct {
	family      uint8
	table, name string
}

// ruleset is what counts here of all tables.
type ruleset struct {
	base  []chainKey // base chains that see packets on their way in
	rules map[chainKey][]expressions
	sets  map[chainKey][]element
}

// expressions are those of one rule, in order.
type expressions []expression

type expression struct {
	name  string
	attrs attributes
}

// element is one of a set: ports, or an interval of them, and where a verdict map goes from there.
type element struct {
	key   []byte
	end   bool // the interval of the element before ends in front of it
	chain string
}

// attributes are the first of each type.
type attributes map[uint16][]byte

func parseAttributes(b []byte) (attributes, error) {
	all, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, err
	}
	m := attributes{}
	for _, a := range all {
		if kind := a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER); m[kind] == nil {
			m[kind] = a.Value
		}
	}
	return m, nil
}

func (a attributes) in(kind uint16) attributes {
	inner, err := parseAttributes(a[kind])
	if err != nil {
		return attributes{}
	}
	return inner
}

func (a attributes) text(kind uint16) string { return strings.TrimRight(string(a[kind]), "\x00") }

// number reads a value in network order; -1 when there is none.
func (a attributes) number(kind uint16) int64 {
	if len(a[kind]) != 4 {
		return -1
	}
	return int64(int32(binary.BigEndian.Uint32(a[kind])))
}

// netfilter reads the rules of this network namespace. A kernel without nftables has none.
func netfilter() ([]Rule, error) {
	rs, err := readRuleset()
	if err != nil {
		return nil, err
	}
	return rs.forwards(), nil
}

func readRuleset() (*ruleset, error) {
	rs := &ruleset{rules: map[chainKey][]expressions{}, sets: map[chainKey][]element{}}
	err := dump(getChain, 0, nil, func(family uint8, a attributes) {
		if a[chainHook] != nil && a.in(chainHook).number(hookNumber) == prerouting {
			rs.base = append(rs.base, chainKey{family, a.text(chainTable), a.text(chainName)})
		}
	})
	if err != nil || len(rs.base) == 0 {
		return rs, err
	}
	err = dump(getRule, 0, nil, func(family uint8, a attributes) {
		key := chainKey{family, a.text(ruleTable), a.text(ruleChain)}
		rs.rules[key] = append(rs.rules[key], parseExpressions(a[ruleExpressions]))
	})
	return rs, err
}

func parseExpressions(b []byte) (all expressions) {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil
	}
	for _, e := range list {
		a, err := parseAttributes(e.Value)
		if err == nil && a[exprName] != nil {
			all = append(all, expression{a.text(exprName), a.in(exprData)})
		}
	}
	return all
}

// elements reads a set, once.
func (rs *ruleset) elements(set chainKey) []element {
	if all, known := rs.sets[set]; known {
		return all
	}
	var all []element
	of := []*nl.RtAttr{nl.NewRtAttr(setTable, nl.ZeroTerminated(set.table)),
		nl.NewRtAttr(setName, nl.ZeroTerminated(set.name))}
	_ = dump(getSetElem, set.family, of, func(_ uint8, a attributes) {
		list, err := nl.ParseRouteAttr(a[setElements])
		if err != nil {
			return
		}
		for _, e := range list {
			if a, err := parseAttributes(e.Value); err == nil {
				all = append(all,
					element{key: a.in(elemKey)[dataValue], end: a.number(elemFlags)&intervalEnd != 0 && a[elemFlags] != nil,
						chain: a.in(elemData).in(dataVerdict).text(verdictChain)})
			}
		}
	})
	slices.SortStableFunc(all, func(a, b element) int { return slices.Compare(a.key, b.key) })
	rs.sets[set] = all
	return all
}

func dump(what int, family uint8, of []*nl.RtAttr, visit func(family uint8, a attributes)) error {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|what, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family})
	for _, a := range of {
		req.AddData(a)
	}
	replies, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT),
		errors.Is(err, unix.ENOENT):
		return nil // no nftables
	case errors.Is(err, unix.EPERM):
		return errors.New("this needs root (CAP_NET_ADMIN)")
	case err != nil:
		return fmt.Errorf("ask netfilter: %w", err)
	}
	for _, r := range replies {
		if len(r) < nl.SizeofNfgenmsg {
			continue
		}
		a, err := parseAttributes(r[nl.SizeofNfgenmsg:])
		if err != nil {
			return fmt.Errorf("read what netfilter says: %w", err)
		}
		visit(r[0], a)
	}
	return nil
}
