package dnstest

import (
	"testing"

	"github.com/miekg/dns"
)

func ask(t *testing.T, w *World, name string, kind uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	m.SetEdns0(1232, true)
	answer, err := dns.Exchange(m, w.Resolver.String())
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestStart(t *testing.T) {
	w := Start(t, &Options{
		Signed:   "good.example. 60 IN TXT yes\n",
		Unsigned: "plain.unsigned.example. 60 IN TXT yes\n",
		Bogus:    "good.bogus.example. 60 IN TXT yes\nbad.bogus.example. 60 IN TXT yes\n",
		Damage: func(set []dns.RR, sig *dns.RRSIG, _ func(*dns.RRSIG) error) (*dns.RRSIG, error) {
			if set[0].Header().Name == "bad.bogus.example." {
				return nil, nil
			}
			return sig, nil
		},
	})
	for _, test := range []struct {
		name   string
		code   int
		secure bool
	}{
		{"good.example.", dns.RcodeSuccess, true},
		{"none.example.", dns.RcodeNameError, true},
		{"plain.unsigned.example.", dns.RcodeSuccess, false},
		{"none.unsigned.example.", dns.RcodeNameError, false},
		{"good.bogus.example.", dns.RcodeSuccess, true},
		{"bad.bogus.example.", dns.RcodeServerFailure, false},
	} {
		m := ask(t, w, test.name, dns.TypeTXT)
		if m.Rcode != test.code || m.AuthenticatedData != test.secure {
			t.Errorf("%s: %v", test.name, m)
		}
	}
}
