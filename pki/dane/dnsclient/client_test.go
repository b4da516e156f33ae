package dnsclient_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/pki/dane"
	"github.com/postseal/postseal/pki/dane/dnsclient"
)

func TestNew(t *testing.T) {
	for _, test := range []struct {
		opts *dnsclient.Options
		want error
	}{
		{nil, dnsclient.ErrNoServers},
		{&dnsclient.Options{}, dnsclient.ErrNoServers},
		{&dnsclient.Options{Servers: []netip.AddrPort{{}}}, dnsclient.ErrServer},
		{&dnsclient.Options{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}, dnsclient.ErrServer},
	} {
		if c, err := dnsclient.New(test.opts); !errors.Is(err, test.want) || c != nil {
			t.Errorf("%+v: %v", test.opts, err)
		}
	}
	for addr, want := range map[string]bool{"127.0.0.1:53": true, "127.9.9.9:53": true, "[::1]:53": true, "[::ffff:127.0.0.1]:53": true,
		"192.0.2.1:53": false, "[::ffff:192.0.2.1]:53": false, "0.0.0.0:53": false, "[::]:53": false, "[fe80::1%lo]:53": false} {
		c, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{netip.MustParseAddrPort(addr)},
			DangerouslyTrust: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:54")}})
		if err != nil || c.Validating() != want {
			t.Errorf("%s is trusted: %v, %v", addr, !want, err)
		}
	}
}

func TestSystemServers(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
		err  error
	}{
		{"# a comment\nnameserver 192.0.2.1\noptions trust-ad\nsearch example\nnameserver fe80::1%eth0\n", []string{"192.0.2.1:53", "[fe80::1%eth0]:53"}, nil},
		{"", []string{"127.0.0.1:53"}, nil},
		{"nameserver nonsense\n", nil, dnsclient.ErrServer},
		{strings.Repeat("nameserver 127.0.0.1\n", 20), slices.Repeat([]string{"127.0.0.1:53"}, 8), nil},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := dnsclient.SystemServers(path)
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if !errors.Is(err, test.err) || !slices.Equal(text, test.want) {
			t.Errorf("%q: %v, %v", test.text, got, err)
		}
	}
	if _, err := dnsclient.SystemServers(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestBadNames(t *testing.T) {
	c, err := dnsclient.New(&dnsclient.Options{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "a..b", ".a", "a b", `a\.b`, "ä.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 128) + "a"} {
		_, err = c.LookupTXT(t.Context(), name)
		var fault *dane.LookupError
		if !errors.As(err, &fault) || fault.Reason != dane.BadName || !errors.Is(err, dane.ErrName) || fault.Temporary() {
			t.Errorf("%q: %v", name, err)
		}
	}
}
