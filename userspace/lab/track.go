// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Track makes the calling thread's network namespace track its connections: a
// kernel tracks for whom a rule asks. The rule looks at the state of each
// packet and does nothing with it. nft(8) would say it in a line; not every
// machine has it.
func Track() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netfilter socket: %w", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(linkReady.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	batch, asked := trackBatch()
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask netfilter for a rule: %w", err)
	}
	buf := make([]byte, 1<<14)
	for answered := 0; answered < asked; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("read what netfilter says: %w", err)
		}
		for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN; answered++ {
			size := int(binary.NativeEndian.Uint32(b))
			if binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR || size < unix.NLMSG_HDRLEN+4 || size > len(b) {
				return fmt.Errorf("netfilter says %x", b)
			}
			if code := int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); code != 0 {
				return fmt.Errorf("make a rule that tracks: %w", unix.Errno(-code))
			}
			b = b[min(len(b), align4(size)):]
		}
	}
	return nil
}

// trackBatch is a table, a chain and a rule, and how many answers come.
func trackBatch() (batch []byte, asked int) {
	const create = unix.NLM_F_CREATE | unix.NLM_F_ACK
	table := attribute(unix.NFTA_TABLE_NAME, []byte("lab\x00"))
	hook := append(attribute(unix.NFTA_HOOK_HOOKNUM, be32(unix.NF_INET_PRE_ROUTING)),
		attribute(unix.NFTA_HOOK_PRIORITY, be32(0))...)
	chain := append(attribute(unix.NFTA_CHAIN_TABLE, []byte("lab\x00")),
		attribute(unix.NFTA_CHAIN_NAME, []byte("in\x00"))...)
	chain = append(chain, attribute(unix.NFTA_CHAIN_HOOK|unix.NLA_F_NESTED, hook)...)
	chain = append(chain, attribute(unix.NFTA_CHAIN_TYPE, []byte("filter\x00"))...)
	state := append(attribute(unix.NFTA_CT_KEY, be32(unix.NFT_CT_STATE)),
		attribute(unix.NFTA_CT_DREG, be32(unix.NFT_REG_1))...)
	look := append(attribute(unix.NFTA_EXPR_NAME, []byte("ct\x00")),
		attribute(unix.NFTA_EXPR_DATA|unix.NLA_F_NESTED, state)...)
	rule := append(attribute(unix.NFTA_RULE_TABLE, []byte("lab\x00")),
		attribute(unix.NFTA_RULE_CHAIN, []byte("in\x00"))...)
	rule = append(rule,
		attribute(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, attribute(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, look))...)
	for _, m := range []struct {
		kind, flags int
		family      uint8
		resource    uint16
		body        []byte
	}{
		{unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil},
		{unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, create, unix.NFPROTO_INET, 0, table},
		{unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWCHAIN, create, unix.NFPROTO_INET, 0, chain},
		{unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE, create | unix.NLM_F_APPEND, unix.NFPROTO_INET, 0, rule},
		{unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil},
	} {
		if m.flags != 0 {
			asked++
		}
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+4+len(m.body)))
		b = binary.NativeEndian.AppendUint16(b, uint16(m.kind))
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLM_F_REQUEST|m.flags))
		b = binary.NativeEndian.AppendUint64(b, 0) // sequence and port
		b = append(b, m.family, 0)
		b = binary.BigEndian.AppendUint16(b, m.resource)
		batch = append(batch, append(b, m.body...)...)
	}
	return batch, asked
}

// attribute is one of netlink's, padded.
func attribute(kind int, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, uint16(kind)), value...)
	return append(b, make([]byte, align4(len(b))-len(b))...)
}

func align4(n int) int { return (n + 3) &^ 3 }

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
