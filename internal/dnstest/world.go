package dnstest

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The names of the zones.
const (
	Signed   = "example."
	Unsigned = "unsigned.example."
	Bogus    = "bogus.example."
)

// Options are the contents of the zones, as lines of a zone file with complete
// names. SOA and NS records are added.
type Options struct {
	Signed, Unsigned string
	// Bogus are the records of the zone with bad signatures. Each set of records
	// is signed well, and then given to Damage, which may change the signature,
	// remove it (nil), or sign the set anew with another time by Sign.
	Bogus  string
	Damage func(set []dns.RR, sig *dns.RRSIG, sign func(*dns.RRSIG) error) (*dns.RRSIG, error)

	// NoExtendedErrors makes the resolver keep to itself why it fails.
	NoExtendedErrors bool
	// Port53 has the resolver listen at port 53, for programs that know no other. It
	// takes root, and Linux, where all of 127.0.0.0/8 is there.
	Port53 bool
	// NSEC3 has the signed zone deny by hashed names.
	NSEC3 bool
}

// A World is the running servers.
type World struct {
	// Authority is the address of Knot DNS, and Resolver that of Unbound.
	Authority, Resolver netip.AddrPort

	dir string
}

// patience is how long a server may take to be ready.
const patience = 10 * time.Second

// Start starts the servers and waits until the signed zone can be validated. The
// test is skipped, or fails with CI=true in the environment, if a program is not
// installed.
func Start(tb testing.TB, opts *Options) *World {
	tb.Helper()
	for _, program := range []string{"knotd", "unbound"} {
		if _, err := find(program); err != nil {
			if os.Getenv("CI") == "true" {
				tb.Fatalf("missing: %s is not installed", program)
			}
			tb.Skipf("missing: %s is not installed (Debian packages knot and unbound)", program)
		}
	}
	w := &World{dir: tb.TempDir()}
	w.startKnot(tb, opts)
	w.startUnbound(tb, opts)
	return w
}

// find also looks where daemons are, which is not in the path of every user.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

// freePort returns an address of a port that is free for UDP and TCP now. Where
// the system has more loopback addresses than one, it is a random one, so that
// nobody else takes the port before the server does.
func freePort(tb testing.TB) netip.AddrPort {
	tb.Helper()
	for range 100 {
		var noise [3]byte
		_, _ = rand.Read(noise[:]) // never fails
		host := netip.AddrFrom4([4]byte{127, noise[0], noise[1], noise[2]&0x7f + 1})
		l, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
		if err != nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			tb.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		p, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		_ = l.Close()
		if err == nil {
			_ = p.Close()
			return addr
		}
	}
	tb.Fatal("no free port")
	return netip.AddrPort{}
}

func (w *World) write(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// untilEOF runs a program until its own input ends, so that no server outlives the
// test, however that ends.
const untilEOF = `"$@" </dev/null & cat >/dev/null; kill -9 $!; wait $!`

// run starts a server in the foreground and stops it when the test ends. What it
// says is shown if the test fails.
func (w *World) run(tb testing.TB, program string, args ...string) {
	tb.Helper()
	path, err := find(program)
	if err != nil {
		tb.Fatal(err)
	}
	log, err := os.Create(filepath.Join(w.dir, program+".log"))
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{"-c", untilEOF, "sh", path}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.dir, log, log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // killed, in any case
		_ = log.Close()
		if text, readErr := os.ReadFile(log.Name()); tb.Failed() && readErr == nil {
			tb.Logf("%s:\n%s", program, text)
		}
	})
}

// soa returns the records that every zone has.
func soa(zone string) string {
	return fmt.Sprintf("%[1]s 3600 IN SOA ns.%[1]s hostmaster.%[1]s 1 3600 600 86400 60\n%[1]s 3600 IN NS ns.%[1]s\nns.%[1]s 3600 IN A 127.0.0.1\n", zone)
}

// knotConfig has the folder, the address, whether NSEC3 is used, the three zones
// and the port in it.
const knotConfig = `
server:
    rundir: %[1]q
    listen: %[2]v@%[7]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    version: ""
    identity: ""
database:
    storage: %[1]q
log:
  - target: stderr
    any: info
policy:
  - id: own
    algorithm: ecdsap256sha256
    single-type-signing: on
    nsec3: %[3]s
template:
  - id: default
    storage: %[1]q
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    semantic-checks: off
zone:
  - domain: %[4]s
    file: signed.zone
    dnssec-signing: on
    dnssec-policy: own
  - domain: %[5]s
    file: unsigned.zone
  - domain: %[6]s
    file: bogus.zone
`

func (w *World) startKnot(tb testing.TB, opts *Options) {
	tb.Helper()
	bogus, ds, err := signedZone(Bogus, soa(Bogus)+opts.Bogus, opts.Damage)
	if err != nil {
		tb.Fatal(err)
	}
	delegations := fmt.Sprintf("%[1]s 3600 IN NS ns.%[1]s\nns.%[1]s 3600 IN A 127.0.0.1\n%[2]s 3600 IN NS ns.%[2]s\nns.%[2]s 3600 IN A 127.0.0.1\n%[3]s\n",
		Unsigned, Bogus, ds)
	w.write(tb, "signed.zone", soa(Signed)+delegations+opts.Signed)
	w.write(tb, "unsigned.zone", soa(Unsigned)+opts.Unsigned)
	w.write(tb, "bogus.zone", bogus)
	w.Authority = freePort(tb)
	nsec3 := "off"
	if opts.NSEC3 {
		nsec3 = "on"
	}
	config := w.write(tb, "knot.conf", fmt.Sprintf(knotConfig, w.dir, w.Authority.Addr(), nsec3, Signed, Unsigned, Bogus, w.Authority.Port()))
	w.run(tb, "knotd", "-c", config)
}

func (w *World) startUnbound(tb testing.TB, opts *Options) {
	tb.Helper()
	var anchor string
	key := wait(tb, w.Authority, Signed, dns.TypeDNSKEY, func(m *dns.Msg) bool { return len(m.Answer) > 0 })
	for _, rr := range key.Answer {
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags&dns.SEP != 0 {
			anchor = k.ToDS(dns.SHA256).String()
		}
	}
	if anchor == "" {
		tb.Fatal("the zone has no key")
	}
	ede := "yes"
	if opts.NoExtendedErrors {
		ede = "no"
	}
	w.Resolver = freePort(tb)
	if opts.Port53 {
		w.Resolver = netip.AddrPortFrom(w.Resolver.Addr(), 53) // a random address, where nobody is
	}
	var config strings.Builder
	fmt.Fprintf(&config, `
server:
    directory: %[1]q
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    interface: %[6]v@%[2]d
    port: %[2]d
    do-ip6: no
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    module-config: "validator iterator"
    trust-anchor: %[3]q
    local-zone: %[4]q nodefault
    val-log-level: 2
    ede: %[5]s
    num-threads: 1
    so-reuseport: no
    edns-buffer-size: 1232
remote-control:
    control-enable: no
`, w.dir, w.Resolver.Port(), strings.ReplaceAll(anchor, "\t", " "), Signed, ede, w.Resolver.Addr())
	for _, zone := range []string{Signed, Unsigned, Bogus} {
		fmt.Fprintf(&config, "stub-zone:\n    name: %q\n    stub-addr: %v@%d\n", zone, w.Authority.Addr(), w.Authority.Port())
	}
	w.run(tb, "unbound", "-d", "-c", w.write(tb, "unbound.conf", config.String()))
	wait(tb, w.Resolver, Signed, dns.TypeSOA, func(m *dns.Msg) bool { return m.AuthenticatedData && len(m.Answer) > 0 })
}

// wait asks a server until an answer is as wanted.
func wait(tb testing.TB, server netip.AddrPort, name string, kind uint16, wanted func(*dns.Msg) bool) *dns.Msg {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	client := dns.Client{Net: "tcp", Timeout: time.Second}
	for {
		m := new(dns.Msg).SetQuestion(name, kind)
		m.SetEdns0(1232, true)
		answer, _, err := client.ExchangeContext(ctx, m, server.String())
		if err == nil && wanted(answer) {
			return answer
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("%v is not ready: %v %v", server, err, answer)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// signedZone returns a zone file with signatures, and the DS record of its key. It
// has no NSEC records: what is not there cannot be denied.
func signedZone(zone, text string, damage func([]dns.RR, *dns.RRSIG, func(*dns.RRSIG) error) (*dns.RRSIG, error)) (file, ds string, err error) {
	key := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	private, err := key.Generate(256)
	if err != nil {
		return "", "", err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return "", "", fmt.Errorf("a key of type %T", private)
	}
	sets, err := split(zone, text)
	if err != nil {
		return "", "", err
	}
	var out strings.Builder
	for _, set := range append(sets, []dns.RR{key}) {
		sig := &dns.RRSIG{Algorithm: key.Algorithm, KeyTag: key.KeyTag(), SignerName: zone,
			Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(24 * time.Hour).Unix())}
		sign := func(s *dns.RRSIG) error { return s.Sign(signer, set) }
		if err = sign(sig); err != nil {
			return "", "", err
		}
		if damage != nil {
			if sig, err = damage(set, sig, sign); err != nil {
				return "", "", err
			}
		}
		for _, rr := range set {
			fmt.Fprintln(&out, rr)
		}
		if sig != nil {
			fmt.Fprintln(&out, sig)
		}
	}
	return out.String(), key.ToDS(dns.SHA256).String(), nil
}

// split sorts the records of a zone into sets of one name and type.
func split(zone, text string) ([][]dns.RR, error) {
	var sets [][]dns.RR
	at := map[dns.RR_Header]int{}
	parser := dns.NewZoneParser(strings.NewReader(text), zone, "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		h := dns.RR_Header{Name: rr.Header().Name, Rrtype: rr.Header().Rrtype}
		i, known := at[h]
		if !known {
			i = len(sets)
			at[h] = i
			sets = append(sets, nil)
		}
		sets[i] = append(sets[i], rr)
	}
	return sets, parser.Err()
}
