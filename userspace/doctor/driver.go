// SPDX-License-Identifier: Apache-2.0

package doctor

import "slices"

// What drivers do when an XDP program comes and goes, read from the sources of Linux 6.12.
var (
	// resetsOnFirst rebuild their rings at the first attach and the last detach, not when one program follows another.
	resetsOnFirst = []string{"ixgbe", "i40e", "ice", "igb", "ena", "mlx5_core"}
	// resetsAlways close and open the NIC at every change of the program.
	resetsAlways = []string{"bnxt_en", "igc"}
	// pausesQueues stop their queues for a moment and reset nothing.
	pausesQueues = []string{"virtio_net"}
	// quiet are software interfaces, where an attach costs nothing that a visitor could see.
	quiet = []string{"veth", "tun", "tuntap"}
)

// nativeDrivers run XDP programs themselves. It is asked only when the kernel does not tell (before 6.3).
var nativeDrivers = []string{
	"atlantic", "bnxt_en", "dpaa2_eth", "ena", "enetc", "fec", "fsl_dpa", "fsl_enetc", "gve", "hv_netvsc", "i40e", "iavf",
	"ice", "igb", "igc", "ixgbe", "ixgbevf", "lan966x", "mana", "mlx4_core", "mlx4_en", "mlx5_core",
	"mtk_soc_eth", "mvneta",
	"mvpp2", "netsec", "nfp", "nicvf", "qede", "rvu_nicpf", "rvu_nicvf", "sfc", "stmmac", "ti_cpsw",
	"tsnep", "tun", "tuntap",
	"veth", "virtio_net", "xen_netfront", "vif",
}

// notNative are common drivers that never learned XDP.
var notNative = []string{"e1000", "e1000e", "r8169", "r8125", "tg3", "bnx2", "bnx2x", "be2net", "8139cp",
	"8139too", "forcedeth",
	"cdc_ether", "dummy"}

// fragsDrivers take frames over more than one buffer with XDP on. Asked only when the kernel does not tell.
var fragsDrivers = []string{"fsl_enetc", "i40e", "ice", "mlx5_core", "mvneta", "veth", "virtio_net"}

// native says whether the driver runs XDP programs itself.
func (i Interface) native() Tri {
	driver := i.driver()
	switch {
	case i.Native != Unknown:
		return i.Native
	case slices.Contains(nativeDrivers, driver):
		return Yes
	case slices.Contains(notNative, driver), slices.Contains(virtualKinds, i.Kind):
		return No
	}
	return Unknown
}

// virtualKinds are software interfaces without XDP of their own.
var virtualKinds = []string{"dummy", "gre", "gretap", "ifb", "ip6gre", "ip6tnl", "ipip", "ipvlan", "macvlan", "sit",
	"vrf", "vxlan", "wireguard",
	"xfrm"}

func (i Interface) frags() Tri {
	switch {
	case i.Frags != Unknown:
		return i.Frags
	case slices.Contains(fragsDrivers, i.driver()):
		return Yes
	}
	return Unknown
}

// driver is the driver's name, or the kind of a software interface.
func (i Interface) driver() string {
	if i.Driver != "" {
		return i.Driver
	}
	return i.Kind
}
