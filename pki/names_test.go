package pki

import (
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/postseal/postseal/internal/der"
	"github.com/postseal/postseal/internal/oid"
)

type av struct {
	typ   oid.OID
	tag   asn1.Tag
	value string
}

// name builds a Name of RDNs.
func name(t *testing.T, rdns ...[]av) []byte {
	t.Helper()
	out, err := der.Marshal(func(b *der.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
			for _, rdn := range rdns {
				b.AddASN1(asn1.SET, func(b *der.Builder) {
					for _, a := range rdn {
						b.AddASN1(asn1.SEQUENCE, func(b *der.Builder) {
							der.AddOID(b, a.typ)
							b.AddASN1(a.tag, func(b *der.Builder) { b.AddBytes([]byte(a.value)) })
						})
					}
				})
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const cn, org = oid.OID("2.5.4.3"), oid.OID("2.5.4.10")

func TestNameText(t *testing.T) {
	for _, c := range []struct {
		want string
		rdns [][]av
	}{
		{"", nil},
		{"CN=Alice,O=X", [][]av{{{org, 19, "X"}}, {{cn, 12, "Alice"}}}},
		{"CN=A+emailAddress=a@b.test,O=X", [][]av{{{org, 19, "X"}}, {{cn, 12, "A"}, {oid.DNEmailAddress, 22, "a@b.test"}}}},
		{`CN=\ a\,b\+c\"d\\e\<f\>g\;h\ `, [][]av{{{cn, 12, ` a,b+c"d\e<f>g;h `}}}},
		{`CN=\#1`, [][]av{{{cn, 12, "#1"}}}},
		{`CN=a\0A\1B[2J`, [][]av{{{cn, 12, "a\n\x1b[2J"}}}},
		{`CN=a\E2\80\AEb`, [][]av{{{cn, 12, "a\u202eb"}}}}, // right-to-left override
		{"CN=Müller", [][]av{{{cn, asn1.T61String, "M\xfcller"}}}},
		{"CN=Müller", [][]av{{{cn, tagBMPString, "\x00M\x00\xfc\x00l\x00l\x00e\x00r"}}}},
		{"CN=ü", [][]av{{{cn, tagUniversalString, "\x00\x00\x00\xfc"}}}},
		{"CN=#1e0161", [][]av{{{cn, tagBMPString, "a"}}}},
		{"CN=#0c01ff", [][]av{{{cn, 12, "\xff"}}}},
		{"1.2.3.4=x", [][]av{{{"1.2.3.4", 12, "x"}}}},
	} {
		if got := NameText(name(t, c.rdns...)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if got := NameText([]byte{0x30, 5, 1}); got != "#300501" {
		t.Errorf("a broken name is shown as %q", got)
	}
}

func TestNamesEqual(t *testing.T) {
	base := name(t, []av{{org, 19, "The Company"}}, []av{{cn, 12, "Alice"}, {"2.5.4.5", 19, "7"}})
	for what, other := range map[string][]byte{
		"other string types": name(t, []av{{org, tagBMPString, "\x00T\x00h\x00e\x00 \x00C\x00o\x00m\x00p\x00a\x00n\x00y"}}, []av{{cn, 19, "Alice"}, {"2.5.4.5", 12, "7"}}),
		"case and spaces":    name(t, []av{{org, 19, " the  COMPANY "}}, []av{{cn, 12, "ALICE"}, {"2.5.4.5", 19, "7"}}),
		"order in an RDN":    name(t, []av{{org, 19, "The Company"}}, []av{{"2.5.4.5", 19, "7"}, {cn, 12, "Alice"}}),
	} {
		if !NamesEqual(base, other) || !NamesEqual(other, base) {
			t.Errorf("%s: not equal", what)
		}
	}
	for what, other := range map[string][]byte{
		"nothing":           name(t),
		"another company":   name(t, []av{{org, 19, "TheCompany"}}, []av{{cn, 12, "Alice"}, {"2.5.4.5", 19, "7"}}),
		"other order":       name(t, []av{{cn, 12, "Alice"}, {"2.5.4.5", 19, "7"}}, []av{{org, 19, "The Company"}}),
		"one RDN":           name(t, []av{{org, 19, "The Company"}, {cn, 12, "Alice"}, {"2.5.4.5", 19, "7"}}),
		"an attribute less": name(t, []av{{org, 19, "The Company"}}, []av{{cn, 12, "Alice"}}),
		"another attribute": name(t, []av{{org, 19, "The Company"}}, []av{{cn, 12, "Alice"}, {"2.5.4.4", 19, "7"}}),
		"no name":           {0x30, 5},
	} {
		if NamesEqual(base, other) {
			t.Errorf("%s: equal", what)
		}
	}
	broken := []byte{0x30, 2, 0x31, 5}
	if !NamesEqual(broken, slices.Clone(broken)) || NamesEqual(broken, []byte{0x30, 2, 0x31, 6}) {
		t.Error("broken names are not compared by their octets")
	}
}

func TestNamesOfPKITS(t *testing.T) {
	// NIST's PKITS, Section 4.3: the issuer of each is written in another way.
	certs := readCerts(t, "pkits/certs/*.crt")
	for leaf, c := range map[string]struct {
		issuer string
		equal  bool
	}{
		"ValidNameChainingWhitespaceTest3EE.crt":                   {"GoodCACert.crt", true},
		"ValidNameChainingWhitespaceTest4EE.crt":                   {"GoodCACert.crt", true},
		"ValidNameChainingCapitalizationTest5EE.crt":               {"GoodCACert.crt", true},
		"ValidNameUIDsTest6EE.crt":                                 {"UIDCACert.crt", true},
		"ValidRolloverfromPrintableStringtoUTF8StringTest10EE.crt": {"RolloverfromPrintableStringtoUTF8StringCACert.crt", true},
		"ValidUTF8StringCaseInsensitiveMatchTest11EE.crt":          {"UTF8StringCaseInsensitiveMatchCACert.crt", true},
		"InvalidNameChainingTest1EE.crt":                           {"GoodCACert.crt", false},
		"InvalidNameChainingOrderTest2EE.crt":                      {"NameOrderingCACert.crt", false},
	} {
		child, parent := certs[leaf], certs[c.issuer]
		if child == nil || parent == nil {
			t.Errorf("%s or %s is missing", leaf, c.issuer)
			continue
		}
		if got := NamesEqual(child.RawIssuer, parent.RawSubject); got != c.equal {
			t.Errorf("%s: %v", leaf, got)
		}
	}
}

func TestHasEmail(t *testing.T) {
	c := &Certificate{}
	for _, e := range []string{
		"Alice@Example.test", "Alice@EXAMPLE.test", "bøb@example.test", "alice@example.test", `"a@b"@c.test`,
		"nothing", "@c.test", "a@", "a@b\x00.test", "a@b\n.test", "a\xff@b.test",
	} {
		c.addEmail(e)
	}
	want := []string{"Alice@Example.test", "bøb@example.test", "alice@example.test", `"a@b"@c.test`}
	if !slices.Equal(c.Emails, want) || len(c.Problems) != 6 {
		t.Errorf("addresses %q, %d problems", c.Emails, len(c.Problems))
	}
	for e, has := range map[string]bool{
		"Alice@EXAMPLE.TEST": true, "aLICE@example.test": false, "bøb@EXAMPLE.test": true, "": false, "Alice": false,
		"Alice@example.test.": false, `"a@b"@C.test`: true, "Alice@e\u212aample.test": false,
	} {
		if c.HasEmail(e) != has {
			t.Errorf("%q: %v", e, !has)
		}
	}
}
