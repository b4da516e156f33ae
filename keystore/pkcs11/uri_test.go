package pkcs11

import (
	"errors"
	"fmt"
	"log"
	"strings"
	"testing"
)

// The examples of RFC 7512, Section 3, with their attributes.
var examples = []struct {
	uri  string
	path map[string]string
	q    map[string]string
}{
	{"pkcs11:", nil, nil},
	{"pkcs11:object=my-pubkey;type=public", map[string]string{AttrObject: "my-pubkey", AttrType: "public"}, nil},
	{"pkcs11:object=my-key;type=private?pin-source=file:/etc/token", map[string]string{AttrObject: "my-key", AttrType: "private"},
		map[string]string{QueryPINSource: "file:/etc/token"}},
	{"pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;" +
		"type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
		map[string]string{AttrToken: "The Software PKCS#11 Softtoken", AttrManufacturer: "Snake Oil, Inc.", AttrModel: "1.0",
			AttrObject: "my-certificate", AttrType: "cert", AttrID: "\x69\x95\x3e\x5c\xf4\xbd\xec\x91", AttrSerial: ""},
		map[string]string{QueryPINSource: "file:/etc/token_pin"}},
	{"pkcs11:object=my-sign-key;type=private?module-name=mypkcs11", map[string]string{AttrObject: "my-sign-key", AttrType: "private"},
		map[string]string{QueryModuleName: "mypkcs11"}},
	{"pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1", map[string]string{AttrObject: "my-sign-key"},
		map[string]string{QueryModulePath: "/mnt/libmypkcs11.so.1"}},
	{"pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
		map[string]string{AttrToken: "Software PKCS#11 softtoken"}, map[string]string{QueryPINValue: "the-pin"}},
	{"pkcs11:slot-description=Sun%20Metaslot", map[string]string{AttrSlotDescription: "Sun Metaslot"}, nil},
	{"pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
		map[string]string{AttrLibraryManufacturer: "Snake Oil, Inc.", AttrLibraryDescription: "Soft Token Library", AttrLibraryVersion: "1.23"}, nil},
	{"pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
		map[string]string{AttrToken: "My token% created by Joe", AttrLibraryVersion: "3", AttrID: "\x01\x02\x03\xba\xdd\xca\xfe\x04\x05\x06"}, nil},
	{"pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
		map[string]string{AttrToken: "A name with a substring %;"}, nil},
	{"pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
		map[string]string{AttrToken: "Name with a small A with acute: \u00e1"}, nil},
	{"pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
		map[string]string{AttrToken: "my-token", "vendor-aaa": "value-a"}, map[string]string{"vendor-bbb": "value-b"}},
}

func TestParseURIExamples(t *testing.T) {
	for _, c := range examples {
		u, err := ParseURI(c.uri)
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		for name, want := range c.path {
			if got, ok := u.Attribute(name); !ok || got != want {
				t.Errorf("%s: %s is %q, %v; want %q", c.uri, name, got, ok, want)
			}
		}
		for name, want := range c.q {
			if got, ok := u.Query(name); !ok || got != want {
				t.Errorf("%s: %s is %q, %v; want %q", c.uri, name, got, ok, want)
			}
		}
		// An id that came as it is is longer when it is encoded.
		if len(u.String()) > maxURI || len(u.Name()) > maxURI {
			return
		}
		again, err := ParseURI(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%s: the text form %s gives %v, %v", c.uri, u, again, err)
		}
	}
}

func TestParseURIForms(t *testing.T) {
	for _, c := range []struct{ in, out, name string }{
		{"PKCS11:", "pkcs11:", "pkcs11:"},
		{"pkcs11:?", "pkcs11:", "pkcs11:"},
		{"pkcs11:id=a%4a;token=%41%2F", "pkcs11:token=A%2F;id=%61%4A", "pkcs11:id=%61%4A;token=A%2F"},
		{"pkcs11:token=a&b=c", "pkcs11:token=a&b=c", "pkcs11:token=a&b=c"},
		{"pkcs11:x-y=1;serial=2", "pkcs11:serial=2;x-y=1", "pkcs11:x-y=1;serial=2"},
		{"pkcs11:?pin-source=|/bin/ask&module-name=a%26b", "pkcs11:?module-name=a%26b&pin-source=|/bin/ask", "pkcs11:"},
		{"pkcs11:token=t?pin-value=secret&a=1&a=2", "pkcs11:token=t?a=1&a=2", "pkcs11:token=t"},
		{"pkcs11:token=%ff", "pkcs11:token=%FF", "pkcs11:token=%FF"},
		{"pkcs11:slot-id=0;library-version=255.255", "pkcs11:library-version=255.255;slot-id=0", "pkcs11:slot-id=0;library-version=255.255"},
	} {
		u, err := ParseURI(c.in)
		if err != nil || u.String() != c.out || u.Name() != c.name {
			t.Errorf("%s: %v, %q, %v", c.in, u, u.Name(), err)
		}
	}
}

func TestParseURIMalformed(t *testing.T) {
	for in, offset := range map[string]int{
		"":                                    0,
		"pkcs1":                               0,
		"file:/x":                             0,
		"pkcs11:token":                        7,
		"pkcs11:token=a;":                     15,
		"pkcs11:;token=a":                     7,
		"pkcs11:=a":                           7,
		"pkcs11:to ken=a":                     7,
		"pkcs11:token=a b":                    14,
		"pkcs11:token=a/b":                    14,
		"pkcs11:token=a#b":                    14,
		"pkcs11:token=a%":                     14,
		"pkcs11:token=a%4":                    14,
		"pkcs11:token=a%4g":                   14,
		"pkcs11:token=ü":                      13,
		"pkcs11:token=a;token=b":              7,
		"pkcs11:x=a;x=b":                      7,
		"pkcs11:type=key":                     7,
		"pkcs11:type=":                        7,
		"pkcs11:slot-id=":                     7,
		"pkcs11:slot-id=-1":                   7,
		"pkcs11:slot-id=18446744073709551616": 7,
		"pkcs11:library-version=":             7,
		"pkcs11:library-version=1.":           7,
		"pkcs11:library-version=256":          7,
		"pkcs11:library-version=1.2.3":        7,
		"pkcs11:?pin-value=1&pin-value=1":     8,
		"pkcs11:?module-path=a&module-path=b": 8,
		"pkcs11:?pin-value=1&pin-source=/a":   8,
		"pkcs11:?pin-value=1;2":               19,
		"pkcs11:?a":                           8,
		"pkcs11:?a=1&":                        12,
		"pkcs11:token=" + strings.Repeat("a", maxURI): maxURI,
	} {
		u, err := ParseURI(in)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != offset || u != nil {
			t.Errorf("%.60s: %v, %v, want offset %d", in, u, err, offset)
		}
	}
}

// No form of a URI, and no error, has the PIN.
func TestURIHidesPIN(t *testing.T) {
	u, err := ParseURI("pkcs11:token=t?pin-value=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ U *URI }{u}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{u, holder} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "hunter2") {
				t.Errorf("%s: %s", format, text)
			}
		}
	}
	for _, in := range []string{"pkcs11:token=t?pin-value=hunter2&pin-value=hunter2", "pkcs11:?hunter2", "pkcs11:?pin-value=hunter2 ",
		"pkcs11:hunter2", "hunter2", "pkcs11:type=hunter2"} {
		if _, err = ParseURI(in); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

var someToken = TokenInfo{
	Library: Library{Manufacturer: "Maker", Description: "Lib", Version: Version{2, 0}},
	Slot:    Slot{ID: 17, Description: "Slot one", Manufacturer: "Slots Inc."},
	Label:   "Alice's card", Manufacturer: "Cards", Model: "M1", Serial: "0001",
}

func TestMatchToken(t *testing.T) {
	for uri, want := range map[string]bool{
		"pkcs11:":                                   true,
		"pkcs11:token=Alice's%20card":               true,
		"pkcs11:token=alice's%20card":               false,
		"pkcs11:token=":                             false,
		"pkcs11:token=Alice's%20card;serial=0001":   true,
		"pkcs11:token=Alice's%20card;serial=1":      false,
		"pkcs11:manufacturer=Cards;model=M1":        true,
		"pkcs11:manufacturer=Cards;model=M2":        false,
		"pkcs11:manufacturer=Maker":                 false,
		"pkcs11:library-manufacturer=Maker":         true,
		"pkcs11:library-manufacturer=Other":         false,
		"pkcs11:library-description=Lib":            true,
		"pkcs11:library-description=":               false,
		"pkcs11:library-version=2":                  true,
		"pkcs11:library-version=2.0":                true,
		"pkcs11:library-version=2.1":                false,
		"pkcs11:slot-id=17":                         true,
		"pkcs11:slot-id=017":                        true,
		"pkcs11:slot-id=18":                         false,
		"pkcs11:slot-description=Slot%20one":        true,
		"pkcs11:slot-description=Slot":              false,
		"pkcs11:slot-manufacturer=Slots%20Inc.":     true,
		"pkcs11:slot-manufacturer=Cards":            false,
		"pkcs11:object=o;type=cert;id=%01":          true,
		"pkcs11:vendor=1":                           false,
		"pkcs11:?vendor=1":                          true,
		"pkcs11:token=Alice's%20card?module-name=a": true,
	} {
		u, err := ParseURI(uri)
		if err != nil || u.MatchToken(&someToken) != want {
			t.Errorf("%s: %v, want %v", uri, err, want)
		}
	}
	if u := someToken.URI(); !u.MatchToken(&someToken) || u.String() != "pkcs11:manufacturer=Cards;model=M1;serial=0001;token=Alice's%20card" {
		t.Errorf("the URI of the token is %s", u)
	}
}

func TestMatchObject(t *testing.T) {
	for uri, want := range map[string]bool{
		"pkcs11:":                         true,
		"pkcs11:object=mail":              true,
		"pkcs11:object=":                  false,
		"pkcs11:object=Mail":              false,
		"pkcs11:id=%01%02":                true,
		"pkcs11:id=":                      false,
		"pkcs11:id=%01":                   false,
		"pkcs11:type=cert":                true,
		"pkcs11:type=private":             false,
		"pkcs11:type=cert;object=mail":    true,
		"pkcs11:token=other;object=mail":  true,
		"pkcs11:type=cert;id=%01%02%03":   false,
		"pkcs11:object=mail;id=%01%02":    true,
		"pkcs11:object=mail;id=%01%02%03": false,
	} {
		u, err := ParseURI(uri)
		if err != nil || u.MatchObject("cert", "mail", []byte{1, 2}) != want {
			t.Errorf("%s: %v, want %v", uri, err, want)
		}
	}
}

func TestIs(t *testing.T) {
	for text, want := range map[string]bool{"pkcs11:": true, "Pkcs11:token=a": true, "pkcs11": false, "key.pem": false, "": false} {
		if Is(text) != want {
			t.Errorf("Is(%q) is not %v", text, want)
		}
	}
}

// What is parsed is written so that it is parsed to the same; nothing matches
// more than its parts do.
// An id of 3,000 octets that are not encoded is a URI of 3,010, and of 9,010 as
// String has it, which is more than ParseURI takes.
func TestURIGrows(t *testing.T) {
	id := strings.Repeat("a", 3000)
	u, err := ParseURI(scheme + "id=" + id)
	if err != nil {
		t.Fatal(err)
	}
	if want := scheme + "id=" + strings.Repeat("%61", 3000); u.String() != want || u.Name() != want {
		t.Error("id is not encoded as a whole")
	}
	_, err = ParseURI(u.String())
	if syntax, ok := errors.AsType[*SyntaxError](err); !ok || syntax.Offset != maxURI {
		t.Errorf("got %v", err)
	}
}

func FuzzParseURI(f *testing.F) {
	for _, c := range examples {
		f.Add(c.uri)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURI(text)
		if err != nil {
			if u != nil || !errors.As(err, new(*SyntaxError)) {
				t.Fatalf("%v, %v", u, err)
			}
			return
		}
		// An id that came as it is is longer when it is encoded.
		if len(u.String()) > maxURI || len(u.Name()) > maxURI {
			return
		}
		again, err := ParseURI(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q: %q: %v", text, u, err)
		}
		if named, nameErr := ParseURI(u.Name()); nameErr != nil || named.Name() != u.Name() {
			t.Fatalf("%q: %q: %v", text, u.Name(), nameErr)
		}
		for _, name := range append(pathNames, "vendor") {
			before, ok := u.Attribute(name)
			after, okAfter := again.Attribute(name)
			if before != after || ok != okAfter {
				t.Fatalf("%s was %q, %v, and is %q, %v", name, before, ok, after, okAfter)
			}
		}
		if u.MatchToken(&someToken) != again.MatchToken(&someToken) {
			t.Fatalf("%s does not match as it did", u)
		}
	})
}

func ExampleParseURI() {
	u, err := ParseURI("pkcs11:token=Alice's%20card;id=%01%02?module-name=softhsm2&pin-source=/run/keys/pin")
	if err != nil {
		log.Fatal(err)
	}
	token, _ := u.Attribute(AttrToken)
	source, _ := u.Query(QueryPINSource)
	fmt.Println(token)
	fmt.Println(source)
	fmt.Println(u.Name())
	// Output:
	// Alice's card
	// /run/keys/pin
	// pkcs11:token=Alice's%20card;id=%01%02
}
