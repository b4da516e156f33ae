package mtasts

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseRecord(t *testing.T) {
	for _, c := range []struct {
		texts []string
		id    string
		err   error
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z", nil},
		{[]string{"v=STSv1;id=1"}, "1", nil},
		{[]string{"v=STSv1 ; x.y=!~; id=a1 ;"}, "a1", nil},
		{[]string{"v=STSv1; id=1; id=2;"}, "1", nil},
		{[]string{"v=spf1 -all", "v=STSv1; id=1;", "v=STSv10; id=3"}, "1", nil},
		{nil, "", ErrNoRecord},
		{[]string{"V=STSv1; id=1;", " v=STSv1; id=1", "v=STSv1 id=1", ""}, "", ErrNoRecord},
		{[]string{"v=STSv1; id=1;", "v=STSv1; id=2;"}, "", ErrManyRecords},
		{[]string{"v=STSv1;"}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=;"}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=a b;"}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=a-b;"}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=1;; x=y"}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=1; -x=y"}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=" + strings.Repeat("1", 33)}, "", ErrRecordSyntax},
		{[]string{"v=STSv1; id=é;"}, "", ErrRecordSyntax},
	} {
		id, err := ParseRecord(c.texts)
		if id != c.id || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %v", c.texts, id, err)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	for _, c := range []struct {
		name, text, field string
		want              *Policy
	}{
		{"of the RFC", "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n", "",
			&Policy{Enforce, 604800 * time.Second, []string{"mail.example.com", "*.example.net", "backupmx.example.com"}}},
		{"LF, spaces, no end", "mode:testing\nmax_age:\t1 \n\nmx: MX.Example.Com.\nversion: STSv1", "", &Policy{Testing, time.Second, []string{"mx.example.com"}}},
		{"none without mx", "version: STSv1\nmode: none\nmax_age: 86400\n", "", &Policy{None, 24 * time.Hour, nil}},
		{"unknown and double fields", "version: STSv1\nmode: none\nmode: enforce\nx-y: é ü\nmax_age: 5\nmax_age: x\n", "", &Policy{None, 5 * time.Second, nil}},
		{"too old", "version: STSv1\nmode: none\nmax_age: 9999999999\n", "", &Policy{None, MaxMaxAge, nil}},
		{"empty", "", "version", nil},
		{"another version", "version: STSv2\nmode: none\nmax_age: 5\n", "version", nil},
		{"no mode", "version: STSv1\nmx: a.b\nmax_age: 5\n", "mode", nil},
		{"another mode", "version: STSv1\nmode: Enforce\nmx: a.b\nmax_age: 5\n", "mode", nil},
		{"no age", "version: STSv1\nmode: none\n", "max_age", nil},
		{"negative age", "version: STSv1\nmode: none\nmax_age: -5\n", "max_age", nil},
		{"huge age", "version: STSv1\nmode: none\nmax_age: 99999999999999999999\n", "max_age", nil},
		{"no mx", "version: STSv1\nmode: enforce\nmax_age: 5\n", "mx", nil},
		{"empty mx", "version: STSv1\nmode: enforce\nmax_age: 5\nmx:\n", "mx", nil},
		{"stars", "version: STSv1\nmode: enforce\nmax_age: 5\nmx: *.*.example\n", "mx", nil},
		{"star alone", "version: STSv1\nmode: enforce\nmax_age: 5\nmx: *\n", "mx", nil},
		{"many", "version: STSv1\nmode: enforce\nmax_age: 5\n" + strings.Repeat("mx: a.b\n", MaxPatterns+1), "mx", nil},
		{"not a field", "version: STSv1\nmode\n", "", nil},
		{"HTML", "<!DOCTYPE html>\n<p>: no\n", "", nil},
		{"control", "version: STSv1\nmode: none\x00\n", "", nil},
		{"not UTF-8", "version: STSv1\nx: \xff\n", "", nil},
		{"long", "version: STSv1\n" + strings.Repeat("x: y\n", MaxSize/5), "", nil},
	} {
		p, err := ParsePolicy([]byte(c.text))
		if c.want != nil {
			if err != nil || !reflect.DeepEqual(p, c.want) {
				t.Errorf("%s: %+v, %v", c.name, p, err)
			}
			continue
		}
		e, ok := errors.AsType[*PolicyError](err)
		if !ok || e.Field != c.field || p != nil {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
}

func TestMatches(t *testing.T) {
	p := &Policy{MX: []string{"mail.example.com", "*.example.net"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "a.example.net": true, "example.net": false, "a.b.example.net": false,
		"x.mail.example.com": false, "example.com": false, "": false, ".example.net": false, "a.example.net.evil.example": false,
	} {
		if p.Matches(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

// FuzzParsePolicy checks that what is read can be written and read again.
func FuzzParsePolicy(f *testing.F) {
	for _, text := range []string{good, "mode:testing\nmax_age:\t1 \n\nmx: MX.Example.Com.\nversion: STSv1", "version: STSv1\nmode: none\nmax_age: 9999999999\n", ":", "a:\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			if !errors.As(err, new(*PolicyError)) {
				t.Errorf("%T", err)
			}
			return
		}
		again, err := ParsePolicy([]byte(p.String()))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%+v became %+v, %v", p, again, err)
		}
	})
}
