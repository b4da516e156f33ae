package mimeraw

import (
	"errors"
	"maps"
	"mime"
	"strings"
	"testing"
)

func TestParseMediaType(t *testing.T) {
	type params = map[string]string
	for _, test := range []struct {
		in     string
		typ    string
		params params
	}{
		{`text/plain`, "text/plain", nil},
		{` Text / PLAIN ; Charset = "UTF-8" `, "text/plain", params{"charset": "UTF-8"}},
		{`text/plain; charset=us-ascii (Plain text)`, "text/plain", params{"charset": "us-ascii"}},
		{`text/plain; charset=us-ascii(Plain; a=b)`, "text/plain", params{"charset": "us-ascii"}},
		{`(c) text (c (d)) / (e\)) plain (f); (g) charset (h) = (i) x (j)`, "text/plain", params{"charset": "x"}},
		{`multipart/mixed; boundary=----=_Part_1:2/3?4 5;`, "multipart/mixed", params{"boundary": "----=_Part_1:2/3?4 5"}},
		{`multipart/mixed; boundary="a b"; type = x/y`, "multipart/mixed", params{"boundary": "a b", "type": "x/y"}},
		{"multipart/mixed;\r\n\tboundary=\"a\r\n b\"", "multipart/mixed", params{"boundary": "a b"}},
		{`multipart/mixed boundary=x`, "multipart/mixed", params{"boundary": "x"}},
		{`multipart/signed; micalg=sha1 protocol="a/b" boundary=x`, "multipart/signed", params{"micalg": "sha1", "protocol": "a/b", "boundary": "x"}},
		{`multipart/signed; micalg=sha-1,md5; boundary=x`, "multipart/signed", params{"micalg": "sha-1,md5", "boundary": "x"}},
		{`multipart/mixed;; ; boundary=x;;`, "multipart/mixed", params{"boundary": "x"}},
		{`multipart/mixed; boundary=a; boundary=b; BOUNDARY=c`, "multipart/mixed", params{"boundary": "a"}},
		{`a/b; x="never closed; y=z`, "a/b", params{"x": "never closed", "y": "z"}},
		{`a/b; x="\"\\\a"; y=`, "a/b", params{"x": `"\a`, "y": ""}},
		{`a/b; name="C:\dir\"file\\.txt"`, "a/b", params{"name": `C:\dir"file\.txt`}},
		{`a/b; name=My Report (1).pdf`, "a/b", params{"name": `My Report (1).pdf`}},
		{`a/b; name=file(1).pdf; x=1`, "a/b", params{"name": `file(1).pdf`, "x": "1"}},
		{`a/b; novalue; x=1`, "a/b", params{"x": "1"}},
		{`a/b; x="1"junk"; y=2`, "a/b", params{"x": "1", "y": "2"}},
		{`a/b; x=1; (open y=2`, "a/b", params{"x": "1"}},
		{`a/b; 8bit="` + "\xe4\x00" + `"`, "a/b", params{"8bit": "\xe4\x00"}},
		{`a/b; name*=utf-8'en'%e2%82%ac%20x%zz%2`, "a/b", params{"name": "€ x%zz%2"}},
		{`a/b; name*=ISO-8859-1''%E4; name=plain`, "a/b", params{"name": "ä"}},
		{`a/b; name*=koi8-r''%C1`, "a/b", params{"name": "\xc1"}},
		{`a/b; name*=no%20charset`, "a/b", params{"name": "no charset"}},
		{`a/b; x*1=b; x*0="a;"; x*2*=%63; x*4=no`, "a/b", params{"x": "a;bc"}},
		{`a/b; x*0*=utf-8''%c3; x*1*=%a4; x*2=%20`, "a/b", params{"x": "ä%20"}},
		{`a/b; x*1=b; x*01=b; x**=c; *=d; *0=e; y*z=f; x*9999=g`, "a/b", nil},
	} {
		m, err := ParseMediaType(test.in)
		if err != nil || m.Type != test.typ || !maps.Equal(m.Params, test.params) {
			t.Errorf("%s: %q, %v", test.in, m, err)
		}
		again, err := ParseMediaType(m.String())
		if err != nil || again.Type != m.Type || !maps.Equal(again.Params, m.Params) {
			t.Errorf("%s: String gives %q, and that %q, %v", test.in, m.String(), again, err)
		}
		if typ, _, stdErr := mime.ParseMediaType(m.String()); stdErr != nil || typ != m.Type {
			t.Errorf("%s: the standard library reads %q as %q, %v", test.in, m.String(), typ, stdErr)
		}
	}
	for in, typ := range map[string]string{"": "", "; x=1": "", "text; x=1": "text", "text/; x=1": "text", "/plain; x=1": "",
		"attachment; x=1": "attachment", `"text/plain"; x=1`: "", "(text/plain; x=1": ""} {
		m, err := ParseMediaType(in)
		if !errors.Is(err, ErrMediaType) || m.Type != typ || m.Params == nil {
			t.Errorf("%q: %q, %v", in, m, err)
		}
		if strings.HasSuffix(in, "; x=1") && in[0] != '(' && m.Params["x"] != "1" {
			t.Errorf("%q: parameters %q", in, m.Params)
		}
	}
}

func TestMediaTypeString(t *testing.T) {
	m := MediaType{"multipart/signed", map[string]string{"protocol": "application/pkcs7-signature", "micalg": "sha-256",
		"boundary": `a"b\ c`, "empty": "", "name": "ä\r\nX: y", "no name": "x", "st*r": "x", "": "x"}}
	const want = `multipart/signed; boundary="a\"b\\ c"; empty=""; micalg=sha-256; name*=utf-8''%C3%A4%0D%0AX%3A%20y; protocol="application/pkcs7-signature"`
	if got := m.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestMediaTypeLinear gives inputs that make careless parsers quadratic.
func TestMediaTypeLinear(t *testing.T) {
	const n = 1 << 20
	for _, piece := range []string{"(", ")", `"`, `\`, " ", "a ", `a=";`, `a="\";`, "a=(b", "x=() ", ";", "="} {
		if _, err := ParseMediaType("a/b; x=" + strings.Repeat(piece, n/len(piece))); err != nil {
			t.Error(err)
		}
	}
	nested := strings.Repeat("(", n) + strings.Repeat(")", n)
	if _, err := ParseMediaType("a/b; x=y" + nested + "z"); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	for range n / 10 {
		b.WriteString("; a*999*=b")
	}
	if _, err := ParseMediaType("a/b" + b.String()); err != nil {
		t.Error(err)
	}
}

func FuzzMediaType(f *testing.F) {
	for _, seed := range []string{
		`text/plain; charset="utf-8"; name*0*=utf-8''%e2; name*1="x"`,
		`multipart/mixed (c); boundary=a b/c; x="\"`,
		`attachment; filename=file(1).txt; size=10`,
		`a/b; name="C:\x"; y*=iso-8859-1'de'%e4;;=`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		m, err := ParseMediaType(in)
		if m.Params == nil {
			t.Fatal("no map")
		}
		s := m.String()
		for i := range len(s) {
			if s[i] < ' ' || s[i] >= 0x7f {
				t.Fatalf("String gives %q", s)
			}
		}
		if err != nil {
			return
		}
		again, err := ParseMediaType(s)
		if err != nil || again.Type != m.Type || !maps.Equal(again.Params, m.Params) {
			t.Fatalf("%q became %q, %v", m, again, err)
		}
		// Whatever the standard library reads from what is written agrees.
		typ, params, err := mime.ParseMediaType(s)
		if err == nil && typ != m.Type {
			t.Fatalf("%q: the standard library reads %q, %q", s, typ, params)
		}
	})
}
