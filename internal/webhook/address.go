package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

var (
	errMetadata = errors.New("Its address is reserved for the machines of a network, and is never called.")
	errPrivate  = errors.New("Its address is not public.")
	errBlocked  = errors.New("a connection that is not permitted") // marks what Control refuses
)

// azureAgent is where Azure's host agent answers: a public address that is none.
func azureAgent() netip.Prefix { return netip.MustParsePrefix("168.63.129.16/32") }

// neverCalled are the addresses that tell a machine in a cloud its secrets, and those of its link only.
func neverCalled() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"), // link-local, and nearly every cloud's metadata
		azureAgent(),
		netip.MustParsePrefix("100.100.100.200/32"),  // Alibaba
		netip.MustParsePrefix("192.0.0.192/32"),      // Oracle
		netip.MustParsePrefix("fe80::/10"),           // link-local
		netip.MustParsePrefix("fd00:ec2::/32"),       // Amazon
		netip.MustParsePrefix("fd20:ce::254/128"),    // Google
		netip.MustParsePrefix("64:ff9b::a9fe:0/112"), // 169.254.0.0/16 behind NAT64
	}
}

// checkAddr judges an address.
func (p *URLPolicy) checkAddr(ip netip.Addr) error {
	bare := ip.WithZone("").Unmap() // prefixes hold neither zones nor mapped addresses
	for _, prefix := range p.never {
		if prefix.Contains(bare) {
			return errMetadata
		}
	}
	if ip.Zone() == "" && p.guard.SafeAddr(ip) == nil {
		return nil
	}
	for _, prefix := range p.allowed {
		if prefix.Contains(bare) {
			return nil
		}
	}
	return errPrivate
}

// Control is for net.Dialer.Control. It refuses the address that a name has been resolved to, in the moment when
// it is about to be called, so that no resolver can show one address to Check and another one here.
func (p *URLPolicy) Control(network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("%w: over %q", errBlocked, network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q cannot be judged", errBlocked, address)
	}
	if err = p.checkAddr(to.Addr()); err != nil {
		return fmt.Errorf("%w: to %s: %w", errBlocked, to, err)
	}
	return nil
}
