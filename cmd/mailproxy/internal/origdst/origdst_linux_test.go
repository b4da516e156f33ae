package origdst

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inNamespace makes the test program one that is in a network namespace of its
// own, with rules that lead connections elsewhere.
const inNamespace = "ORIGDST_TEST_NAMESPACE"

// rules lead what goes to port 143 of 192.0.2.1 and 2001:db8::1 to us by REDIRECT,
// and what goes to port 993 of anybody by TPROXY.
const rules = `
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip -6 addr add 2001:db8::1/128 dev lo nodad
nft -f - <<'END'
table inet t {
	chain outgoing {
		type nat hook output priority -100;
		ip daddr 192.0.2.1 tcp dport 143 redirect to :1143
		ip6 daddr 2001:db8::1 tcp dport 143 redirect to :1143
	}
	chain marking {
		type route hook output priority mangle;
		tcp dport 993 meta mark set 1
	}
	chain leading {
		type filter hook prerouting priority mangle;
		meta nfproto ipv4 tcp dport 993 tproxy ip to 127.0.0.1:1993 meta mark set 1 accept
		meta nfproto ipv6 tcp dport 993 tproxy ip6 to [::1]:1993 meta mark set 1 accept
	}
}
END
ip route add 198.51.100.0/24 dev lo src 192.0.2.1
ip -6 route add 2001:db8:1::/48 dev lo src 2001:db8::1
ip rule add fwmark 1 lookup 100
ip route add local 0.0.0.0/0 dev lo table 100
ip -6 rule add fwmark 1 lookup 100
ip -6 route add local ::/0 dev lo table 100
`

// TestNamespace runs the tests that need rules of netfilter, in a namespace.
func TestNamespace(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		t.Skip("this is it")
	}
	for _, program := range []string{"unshare", "nft", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, program+" is not installed", true)
		}
	}
	if out, err := exec.Command("unshare", "--net", "sh", "-ec", rules).CombinedOutput(); err != nil {
		// What the kernel or the rights of the user do not allow is not there in CI
		// either.
		missing(t, "no network namespace with rules can be made here: "+string(out), false)
	}
	cmd := exec.Command("unshare", "--net", "sh", "-ec", rules+`exec "$0" -test.run 'TestRedirected|TestTransparent' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
}

// missing skips a test, or fails it in CI.
func missing(t *testing.T, what string, fails bool) {
	t.Helper()
	if fails && os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func accept(t *testing.T, l net.Listener, to string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	go func() {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		if err != nil {
			_ = l.Close() // Accept tells
			return
		}
		_, _ = conn.Read(make([]byte, 1)) // until it is closed
		_ = conn.Close()
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("nothing came from dialling %s: %v", to, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRedirected(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		t.Skip("by TestNamespace")
	}
	l, err := net.Listen("tcp", ":1143")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, to := range []string{"192.0.2.1:143", "[2001:db8::1]:143"} {
		got, gotErr := Redirected(accept(t, l, to).(*net.TCPConn))
		if gotErr != nil || got != netip.MustParseAddrPort(to) {
			t.Errorf("%s: %v %v", to, got, gotErr)
		}
	}
}

func TestTransparent(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		t.Skip("by TestNamespace")
	}
	for listen, to := range map[string]string{"127.0.0.1:1993": "198.51.100.7:993", "[::1]:1993": "[2001:db8:1::2]:993"} {
		l, err := Listen(t.Context(), "tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if got := accept(t, l, to).LocalAddr().String(); got != to {
			t.Errorf("%s: %v", to, got)
		}
	}
}

// TestDirect is about connections that nobody led here.
func TestDirect(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, "localhost:0")
		if err != nil {
			t.Logf("%s: %v", network, err)
			continue
		}
		defer func() { _ = l.Close() }()
		got, err := Redirected(accept(t, l, l.Addr().String()).(*net.TCPConn))
		if err == nil && got.String() != l.Addr().String() || err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOPROTOOPT) {
			t.Errorf("%s: %v %v", network, got, err)
		}
	}
}
