package dane_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postseal/postseal/internal/testpki"
	"github.com/postseal/postseal/pki"
	"github.com/postseal/postseal/pki/dane"
)

func leaf(tb testing.TB) *pki.Certificate {
	tb.Helper()
	ca, err := testpki.NewCA("CA")
	if err != nil {
		tb.Fatal(err)
	}
	person, err := ca.Issue(testpki.Profile{Key: testpki.P256})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := pki.ParseCertificate(person.Cert.Raw)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestMatches compares with the records that another implementation makes.
func TestMatches(t *testing.T) {
	a, b := leaf(t), leaf(t)
	count := 0
	for _, selector := range []dane.Selector{dane.FullCert, dane.SPKI} {
		for _, matching := range []dane.MatchingType{dane.Full, dane.SHA256, dane.SHA512} {
			count++
			want, err := dns.CertificateToDANE(uint8(selector), uint8(matching), a.X509)
			if err != nil {
				t.Fatal(err)
			}
			got, err := dane.New(a, dane.DANEEE, selector, matching)
			if err != nil || hex.EncodeToString(got.Data) != want {
				t.Errorf("%v %v: %v, %v", selector, matching, got, err)
			}
			if !got.Matches(a) || got.Matches(nil) || got.Check() != nil {
				t.Errorf("%v %v does not match its own certificate, or matches none", selector, matching)
			}
			// All test certificates of one process have the same key.
			if got.Matches(b) != (selector == dane.SPKI) {
				t.Errorf("%v %v matches another certificate: %v", selector, matching, got.Matches(b))
			}
			for i := range got.Data {
				flipped := got
				flipped.Data = bytes.Clone(got.Data)
				flipped.Data[i] ^= 1
				if flipped.Matches(a) {
					t.Fatalf("%v %v matches with octet %d changed", selector, matching, i)
				}
			}
			short := got
			short.Data = got.Data[:len(got.Data)-1]
			if matching != dane.Full && short.Check() == nil || short.Matches(a) {
				t.Errorf("%v %v is used without its last octet", selector, matching)
			}
		}
	}
	if count != 6 {
		t.Errorf("%d combinations", count)
	}
}

func TestUnusable(t *testing.T) {
	c := leaf(t)
	hash := bytes.Repeat([]byte{1}, 32)
	for _, test := range []struct {
		record dane.Record
		want   dane.Unusable
	}{
		{dane.Record{Usage: 4, Selector: 1, MatchingType: 1, Data: hash}, dane.UnknownUsage},
		{dane.Record{Usage: dane.PrivUsage, Selector: 1, MatchingType: 1, Data: hash}, dane.UnknownUsage},
		{dane.Record{Usage: 3, Selector: 2, MatchingType: 1, Data: hash}, dane.UnknownSelector},
		{dane.Record{Usage: 3, Selector: 1, MatchingType: 3, Data: hash}, dane.UnknownMatching},
		{dane.Record{Usage: 3, Selector: 1, MatchingType: 1, Data: hash[1:]}, dane.BadData},
		{dane.Record{Usage: 3, Selector: 1, MatchingType: 2, Data: hash}, dane.BadData},
		{dane.Record{Usage: 3, Selector: 1, MatchingType: 1}, dane.BadData},
		{dane.Record{Usage: 3, Selector: 0, MatchingType: 0, Data: hash}, dane.BadData},
		{dane.Record{Usage: 3, Selector: 0, MatchingType: 0, Data: append(bytes.Clone(c.Raw), 0)}, dane.BadData},
		{dane.Record{Usage: 2, Selector: 1, MatchingType: 0, Data: hash}, dane.BadData},
		{dane.Record{Usage: 2, Selector: 1, MatchingType: 0}, dane.BadData},
		{dane.Record{Usage: 2, Selector: 1, MatchingType: 1, Data: hash}, 0},
		{dane.Record{Usage: 2, Selector: 1, MatchingType: 0, Data: c.RawSPKI}, 0},
	} {
		err := test.record.Check()
		var unusable *dane.UnusableError
		if test.want == 0 {
			if err != nil {
				t.Errorf("%v: %v", test.record, err)
			}
		} else if !errors.As(err, &unusable) || unusable.Reason != test.want || unusable.Error() == "" {
			t.Errorf("%v: %v", test.record, err)
		}
		if n := len(dane.Usable([]dane.Record{test.record})); (n == 1) != (test.want == 0) {
			t.Errorf("%v: usable: %d", test.record, n)
		}
	}
	for _, numbers := range [][3]uint8{{4, 0, 0}, {3, 2, 0}, {3, 0, 3}} {
		_, err := dane.New(c, dane.Usage(numbers[0]), dane.Selector(numbers[1]), dane.MatchingType(numbers[2]))
		if !errors.As(err, new(*dane.UnusableError)) {
			t.Errorf("%v: %v", numbers, err)
		}
	}
}

func TestUsable(t *testing.T) {
	h256, h512 := strings.Repeat("ab", 32), strings.Repeat("cd", 64)
	var all []dane.Record
	for _, text := range []string{"0 1 1 " + h256, "1 1 1 " + h256, "2 1 1 " + h256, "3 1 1 " + h256, "3 1 2 " + h512, "2 0 2 " + h512,
		"2 0 1 " + h256, "2 1 0 300100", "1 1 2 ab", "9 1 1 " + h256} {
		r, err := dane.ParseText(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	numbers := func(records []dane.Record) (out []string) {
		for _, r := range records {
			out = append(out, r.String()[:5])
		}
		return out
	}
	before := numbers(all)
	for _, test := range []struct {
		got  []dane.Record
		want []string
	}{
		{dane.Usable(all), []string{"0 1 1", "1 1 1", "2 1 1", "3 1 1", "3 1 2", "2 0 2", "2 0 1", "2 1 0"}},
		{dane.Usable(all, dane.DANETA, dane.DANEEE), []string{"2 1 1", "3 1 1", "3 1 2", "2 0 2", "2 0 1", "2 1 0"}},
		{dane.Strongest(all), []string{"0 1 1", "1 1 1", "2 1 1", "3 1 2", "2 0 2", "2 1 0"}},
		{dane.Strongest(nil), nil},
	} {
		if got := numbers(test.got); !slices.Equal(got, test.want) {
			t.Errorf("%v, want %v", got, test.want)
		}
	}
	if !slices.Equal(before, numbers(all)) {
		t.Error("the caller's records were changed")
	}
}

// TestText reads zone files with another implementation.
func TestText(t *testing.T) {
	c := leaf(t)
	count := 0
	for _, kind := range []dane.Type{dane.TLSA, dane.SMIMEA} {
		for _, matching := range []dane.MatchingType{dane.Full, dane.SHA256, dane.SHA512} {
			for _, ttl := range []time.Duration{0, time.Hour, 1 << 62} {
				r, err := dane.New(c, dane.DANEEE, dane.FullCert, matching)
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range []string{kind.Text("name.example", ttl, r), kind.Generic("name.example", ttl, r)} {
					count++
					checkZone(t, text, kind, ttl, r)
				}
			}
		}
	}
	if count != 36 {
		t.Errorf("%d texts", count)
	}
	if got := dane.Type(1).String(); got != "TYPE1" {
		t.Error(got)
	}
}

func checkZone(t *testing.T, text string, kind dane.Type, ttl time.Duration, want dane.Record) {
	t.Helper()
	z := dns.NewZoneParser(strings.NewReader("$TTL 7\n"+text), "", "")
	rr, ok := z.Next()
	if !ok || rr.Header().Name != "name.example." || rr.Header().Rrtype != uint16(kind) {
		t.Errorf("%s: %v, %v", text, rr, z.Err())
		return
	}
	if got, wantTTL := int64(rr.Header().Ttl), map[time.Duration]int64{0: 7, time.Hour: 3600, 1 << 62: 1<<31 - 1}[ttl]; got != wantTTL {
		t.Errorf("a TTL of %d, want %d", got, wantTTL)
	}
	wire := make([]byte, 1<<16)
	n, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		t.Error(err)
		return
	}
	rdata, err := want.RData()
	if err != nil || !bytes.HasSuffix(wire[:n], rdata) || int(rr.Header().Rdlength) != len(rdata) && rr.Header().Rdlength != 0 {
		t.Errorf("%s is not %v", text, want)
	}
}

func TestAnswer(t *testing.T) {
	a := &dane.Answer[dane.MX]{Name: "b.example"}
	for name, alias := range map[string]bool{"b.example": false, "B.Example.": false, "a.example": true} {
		if a.Alias(name) != alias {
			t.Errorf("%s is an alias: %v", name, !alias)
		}
	}
	cause := errors.New("cause")
	err := error(&dane.LookupError{Name: "a.example", Type: "TLSA", Reason: dane.Bogus, Err: cause})
	if !errors.Is(err, cause) || err.Error() != "DNS: TLSA of a.example: the DNSSEC signatures are wrong: cause" {
		t.Error(err)
	}
}
