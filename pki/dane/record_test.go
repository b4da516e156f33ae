package dane_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/postseal/postseal/pki/dane"
)

func TestParseRecord(t *testing.T) {
	for _, test := range []struct {
		rdata string
		text  string
		err   error
	}{
		{"", "", dane.ErrSyntax},
		{"0301", "", dane.ErrSyntax},
		{"030101", "3 1 1 ", nil},
		{"030101ab", "3 1 1 ab", nil},
		{"ff07c8abcd", "255 7 200 abcd", nil},
	} {
		raw, _ := hex.DecodeString(test.rdata)
		r, err := dane.ParseRecord(raw)
		if !errors.Is(err, test.err) || err == nil && r.String() != test.text {
			t.Errorf("%s: %v, %v", test.rdata, r, err)
		}
		if err == nil {
			if back, backErr := r.RData(); backErr != nil || !bytes.Equal(back, raw) {
				t.Errorf("%s becomes %x, %v", test.rdata, back, backErr)
			}
		}
	}
	most := bytes.Repeat([]byte{1}, 65535)
	r, err := dane.ParseRecord(most)
	if err != nil {
		t.Error(err)
	}
	most[3] = 2
	if r.Data[0] != 1 {
		t.Error("the record changes with what it was parsed from")
	}
	if _, err = dane.ParseRecord(append(most, 1)); !errors.Is(err, dane.ErrSyntax) {
		t.Error(err)
	}
	r.Data = append(r.Data, 1)
	if _, err = r.RData(); !errors.Is(err, dane.ErrSyntax) {
		t.Error(err)
	}
}

func TestParseText(t *testing.T) {
	for text, want := range map[string]string{
		"3 1 1 AB":                         "3 1 1 ab",
		" DANE-EE\tspki SHA2-256 (a\nb ) ": "3 1 1 ab",
		"pkix-ta Cert Full 00 01":          "0 0 0 0001",
		"PrivCert PrivSel PrivMatch 1f":    "255 255 255 1f",
		"2 0 2 ff":                         "2 0 2 ff",
		"":                                 "",
		"3 1 1":                            "",
		"3 1 1 a":                          "",
		"3 1 1 xy":                         "",
		"256 1 1 ab":                       "",
		"-1 1 1 ab":                        "",
		"3 DANE-EE 1 ab":                   "",
		"3 1 Cert ab":                      "",
	} {
		r, err := dane.ParseText(text)
		if want == "" {
			if !errors.Is(err, dane.ErrSyntax) {
				t.Errorf("%q: %v, %v", text, r, err)
			}
			continue
		}
		if err != nil || r.String() != want {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	for i, want := range []string{"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE", "4"} {
		if got := dane.Usage(i).String(); got != want {
			t.Errorf("usage %d: %s", i, got)
		}
	}
	for i, want := range []string{"Cert", "SPKI", "2"} {
		if got := dane.Selector(i).String(); got != want {
			t.Errorf("selector %d: %s", i, got)
		}
	}
	for i, want := range []string{"Full", "SHA2-256", "SHA2-512", "3"} {
		if got := dane.MatchingType(i).String(); got != want {
			t.Errorf("matching type %d: %s", i, got)
		}
	}
	for r := dane.Bogus; r <= dane.Canceled; r++ {
		if strings.HasPrefix(r.String(), "reason ") {
			t.Errorf("reason %d has no words", int(r))
		}
	}
	if !strings.HasPrefix(dane.Reason(0).String(), "reason ") || !strings.HasPrefix((dane.Canceled+1).String(), "reason ") {
		t.Error("words for what is no reason")
	}
}

func TestNames(t *testing.T) {
	const hugh = "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6._smimecert.example.com"
	for _, test := range []struct{ address, want string }{
		{"hugh@example.com", hugh}, // RFC 8162, Section 3
		{"hugh@EXAMPLE.com.", hugh},
		{`"hugh"@example.com`, hugh},
		{`"h\ugh"@example.com`, hugh},
		{"test@test.com", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15._smimecert.test.com"},
		{"Hugh@example.com", ""},
	} {
		got, err := dane.SMIMEAName(test.address)
		if test.want == "" {
			if err != nil || got == hugh {
				t.Errorf("%s: %s, %v", test.address, got, err)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: %s, %v", test.address, got, err)
		}
	}
	for _, address := range []string{"", "hugh", "@example.com", "hugh@", "hugh@.", "hugh@.com", "hugh@a..b", "hugh@exämple.com", "hu gh@example.com",
		`"@example.com`, `""@example.com`, `"a"b"@example.com`, `"a\"@example.com`, `a"@example.com`, "a\x00@example.com", "a\xff@example.com",
		"(c)hugh@example.com", "hugh@[192.0.2.1]", "hugh@" + strings.Repeat("a", 64), "hugh@" + strings.Repeat("a.", 120) + "a"} {
		if got, err := dane.SMIMEAName(address); !errors.Is(err, dane.ErrName) || got != "" {
			t.Errorf("%q: %s, %v", address, got, err)
		}
	}
	if got, err := dane.TLSAName("MX.Example.com.", "tcp", 25); err != nil || got != "_25._tcp.mx.example.com" {
		t.Error(got, err)
	}
	for _, bad := range [][2]string{{"", "tcp"}, {".", "tcp"}, {"mx.example", "TCP"}, {"mx.example", "x"}, {"a b", "tcp"}} {
		if got, err := dane.TLSAName(bad[0], bad[1], 25); !errors.Is(err, dane.ErrName) || got != "" {
			t.Errorf("%q: %s, %v", bad, got, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte{3, 1, 1, 0xab})
	f.Add(append([]byte{3, 0, 0}, leaf(f).Raw...))
	f.Add([]byte{2, 1, 0, 0x30, 1, 0})
	cert := leaf(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := dane.ParseRecord(raw)
		if err != nil {
			if len(raw) >= 3 && len(raw) <= 65535 {
				t.Errorf("%d octets: %v", len(raw), err)
			}
			return
		}
		if back, backErr := r.RData(); backErr != nil || !bytes.Equal(back, raw) {
			t.Errorf("%x becomes %x, %v", raw, back, backErr)
		}
		text, err := dane.ParseText(r.String())
		if len(r.Data) > 0 && (err != nil || text.String() != r.String()) {
			t.Errorf("%v becomes %v, %v", r, text, err)
		}
		if r.Check() != nil && (r.Matches(cert) || len(dane.Usable([]dane.Record{r})) != 0) {
			t.Errorf("%v is used", r)
		}
		if r.Matches(cert) {
			same, newErr := dane.New(cert, r.Usage, r.Selector, r.MatchingType)
			if newErr != nil || !bytes.Equal(same.Data, r.Data) {
				t.Errorf("%v matches, and is not %v", r, same)
			}
		}
	})
}

func FuzzSMIMEAName(f *testing.F) {
	f.Add(`"h\ugh"@example.com.`)
	f.Add("jürgen@example.com")
	f.Fuzz(func(t *testing.T, address string) {
		name, err := dane.SMIMEAName(address)
		if err != nil {
			return
		}
		clean, err := dane.CleanName(name)
		if labels := strings.Split(name, "."); err != nil || clean != name || len(labels) < 3 || len(labels[0]) != 56 || !slices.Contains(labels[1:2], "_smimecert") {
			t.Errorf("%q: %q, %v", address, name, err)
		}
	})
}
